#include "postrec/data/pacs_listen.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "child_process.hpp"
#include "descriptor.hpp"
#include "pacs_service.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"

namespace postrec {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kBacklog = 16, kTurnedAway = 4;  // callers that are told to try again, at the same time
constexpr std::uint64_t kChildMemory = std::uint64_t{1} << 30;
constexpr auto kTick = std::chrono::milliseconds(200);
constexpr const char* kNoRoom = "no room";

void say(const PacsListenOptions& options, const std::string& text) {
  if (options.hooks.say) options.hooks.say(text);
}

bool stop_asked(const PacsListenOptions& options) { return options.hooks.interrupted && options.hooks.interrupted(); }

int open_port(const PacsListenOptions& options, int& port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(options.port));
  if (::inet_pton(AF_INET, options.bind_address.c_str(), &address.sin_addr) != 1)
    throw Error(ErrorKind::kUsage, "--bind is not an IPv4 address", "write 127.0.0.1, the address of an interface, or 0.0.0.0 for all");
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  socklen_t length = sizeof address;
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(socket.get(), kBacklog) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0)
    throw Error(ErrorKind::kUnavailable, "cannot listen on " + options.bind_address + ":" + std::to_string(options.port) + ": " + std::strerror(errno),
                "give a free --port, above 1023 without privileges");
  port = ntohs(address.sin_port);
  return socket.release();
}

/// What the marker of a series says; empty without an instance.
nlohmann::ordered_json marker_of(const fs::path& series) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(series))
    if (entry.path().extension() == ".dcm") names.insert(entry.path().stem().string());
  if (names.empty()) return {};
  std::string all;
  for (const auto& name : names) all += name + "\n";
  return {{"format", "postrec-series/1"}, {"instances", names.size()}, {"sha256_of_names", sha256_hex(all.data(), all.size())}};
}

/// Which series are growing, and the marker of those that have stopped.
class SeriesWatch {
 public:
  SeriesWatch(fs::path folder, double stable_seconds) : folder_(std::move(folder)), stable_(stable_seconds) {
    // What an earlier process took and did not mark, or marked before it took the last instance.
    for (const auto& entry : fs::directory_iterator(folder_))
      if (entry.is_directory() && is_series(entry.path().filename().string()) && !is_complete_series(entry.path())) touch(entry.path().filename().string());
  }

  void touch(const std::string& series) { last_[series] = Clock::now(); }

  void mark_stable(const PacsListenOptions& options) {
    for (auto entry = last_.begin(); entry != last_.end();) {
      const bool stopped = Clock::now() - entry->second >= stable_ && mark(entry->first, options);
      entry = stopped ? last_.erase(entry) : std::next(entry);
    }
  }

  static bool is_series(const std::string& name) { return name.size() == 16 && name.find_first_not_of("0123456789abcdef") == std::string::npos; }

 private:
  /// False when the disk is full: what has arrived is safe, and the marker waits for room.
  bool mark(const std::string& series, const PacsListenOptions& options) {
    const auto marker = marker_of(folder_ / series);
    if (marker.empty()) return true;
    try {
      write_text_atomically(folder_ / series / kCompleteMarker, marker.dump() + "\n");
    } catch (const Error& error) {
      if (!std::exchange(told_of_no_room_, true)) say(options, std::string(error.what()) + "; it is tried again");
      return false;
    }
    told_of_no_room_ = false;
    say(options, "series " + series + " is complete: " + marker["instances"].dump() + " instances");
    return true;
  }

  fs::path folder_;
  bool told_of_no_room_ = false;
  std::chrono::duration<double> stable_;
  std::map<std::string, Clock::time_point> last_;
};

class Listener {
 public:
  explicit Listener(const PacsListenOptions& options)
      : options_(options), transport_(options.tls, NET_ACCEPTOR, options.answer_seconds, options.answer_seconds), reception_(options.folder, options.instance_bytes) {
    lock_folder();
    watch_.emplace(options.folder, options.stable_seconds);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(ErrorKind::kTemporary, std::string("no pipe can be made: ") + std::strerror(errno));
    news_.reset(ends[0]);
    news_end_.reset(ends[1]);
    ::fcntl(news_.get(), F_SETFL, O_NONBLOCK);
    socket_.reset(open_port(options, port_));
  }

  void run() {
    say(options_, "listening on " + options_.bind_address + ":" + std::to_string(port_) + " as " + options_.title + (transport_.secure() ? ", TLS" : ""));
    while (!stop_asked(options_)) {
      pollfd ready[] = {{socket_.get(), POLLIN, 0}, {news_.get(), POLLIN, 0}};
      ::poll(ready, 2, static_cast<int>(kTick.count()));
      read_news();
      bury_children();
      if (ready[0].revents & POLLIN) accept_caller();
      watch_->mark_stable(options_);
    }
    stop();
  }

 private:
  /// Two listeners in one folder would take each other's arrivals for leftovers.
  void lock_folder() {
    const fs::path incoming = options_.folder / PacsReception::kIncoming;
    lock_.reset(::open((incoming / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (const int error = errno; lock_.get() < 0)
      throw Error(write_error_kind(error), quoted_path(options_.folder) + " cannot be written: " + std::strerror(error), "give a folder that you may write to, with room");
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
      throw Error(ErrorKind::kTemporary, "another process listens into " + quoted_path(options_.folder), "stop it first, or give another folder");
    remove_leftovers();
  }

  void remove_leftovers() const {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(options_.folder / PacsReception::kIncoming))
      if (entry.path().extension() == ".part") fs::remove(entry.path(), ignored);
  }

  /// Children write a line in one piece: the digest of a series whenever something changes there, kNoRoom when an instance could not be kept.
  void read_news() {
    char bytes[17 * 64];
    for (ssize_t n; (n = ::read(news_.get(), bytes, sizeof bytes)) > 0;) pending_news_.append(bytes, static_cast<std::size_t>(n));
    for (std::size_t end; (end = pending_news_.find('\n')) != std::string::npos; pending_news_.erase(0, end + 1)) {
      const std::string news = pending_news_.substr(0, end);
      if (news == kNoRoom && !std::exchange(told_of_no_room_, true))
        say(options_, "an instance cannot be written into " + quoted_path(options_.folder) + ": the disk is full or failed; its sender is told so and may try again");
      if (!SeriesWatch::is_series(news)) continue;
      watch_->touch(news);
      told_of_no_room_ = false;
    }
  }

  void bury_children() {
    int status = 0;
    for (auto child = children_.begin(); child != children_.end();) {
      if (::waitpid(*child, &status, WNOHANG) != *child) {
        ++child;
        continue;
      }
      if (WIFSIGNALED(status)) say(options_, std::string("an association died (") + ::strsignal(WTERMSIG(status)) + "); its finished instances are kept");
      else if (WEXITSTATUS(status) == static_cast<int>(ServiceEnd::kRejected)) say(options_, "an association was rejected");
      else if (WEXITSTATUS(status) == static_cast<int>(ServiceEnd::kLost)) say(options_, "an association was lost");
      else if (WEXITSTATUS(status) == static_cast<int>(ServiceEnd::kTooLarge)) say(options_, "an association was ended: an instance is larger than --max-instance-mb");
      child = children_.erase(child);
    }
  }

  void accept_caller() {
    Descriptor socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.get() < 0) return;
    const bool busy = children_.size() >= static_cast<std::size_t>(options_.associations);
    if (children_.size() >= static_cast<std::size_t>(options_.associations + kTurnedAway)) return;
    const pid_t child = ::fork();
    if (child == 0) serve(socket.get(), busy);
    if (child > 0) children_.insert(child);
  }

  [[noreturn]] void serve(int socket, bool busy) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::signal(signal, SIG_DFL);
    const int nowhere = ::open("/dev/null", O_RDWR);
    for (const int fd : {0, 1, 2}) ::dup2(nowhere, fd);
    limit_memory(kChildMemory);
    socket_.reset();
    ServiceEnd end = ServiceEnd::kLost;
    try {
      const auto tell = [&](const std::string& news) {
        const std::string line = news + "\n";
        if (::write(news_end_.get(), line.data(), line.size()) < 0) return;
      };
      reception_.changes = tell;
      reception_.no_room = [&] { tell(kNoRoom); };
      end = serve_caller(socket, options_, transport_, reception_, busy);
    } catch (const std::exception&) {
      ::_exit(static_cast<int>(ServiceEnd::kLost));
    }
    ::_exit(static_cast<int>(end));
  }

  void stop() {
    socket_.reset();
    for (const pid_t child : children_) ::kill(child, SIGTERM);
    const auto end = Clock::now() + std::chrono::seconds(options_.answer_seconds);
    while (!children_.empty() && Clock::now() < end) {
      ::poll(nullptr, 0, 20);
      read_news();
      bury_children();
    }
    for (const pid_t child : children_) ::kill(child, SIGKILL);
    for (const pid_t child : children_) ::waitpid(child, nullptr, 0);
    remove_leftovers();
    say(options_, "stopped");
  }

  const PacsListenOptions& options_;
  PacsTransport transport_;
  PacsReception reception_;
  Descriptor lock_, news_, news_end_, socket_;
  std::optional<SeriesWatch> watch_;
  std::string pending_news_;
  bool told_of_no_room_ = false;
  std::set<pid_t> children_;
  int port_ = 0;
};

}  // namespace

bool is_pacs_inbox(const fs::path& folder) {
  std::error_code failure;
  return fs::is_directory(fs::symlink_status(folder / PacsReception::kIncoming, failure));
}

bool is_complete_series(const fs::path& folder) {
  std::ifstream file(folder / kCompleteMarker);
  const auto marker = file ? nlohmann::ordered_json::parse(file, nullptr, /*allow_exceptions=*/false) : nlohmann::ordered_json();
  return marker.is_object() && marker == marker_of(folder);
}

void listen_for_dicom(const PacsListenOptions& options) {
  check_pacs_tls(options.tls);
  if (options.tls.enabled() && options.tls.key.empty()) throw Error(ErrorKind::kUsage, "a listener needs a TLS key of its own", "give --tls-key and --tls-cert");
  check_pacs_title(options.title);
  for (const auto& caller : options.callers) check_pacs_title(caller);
  Listener(options).run();
}

}  // namespace postrec
