#include "batch/batch_worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

using nlohmann::ordered_json;

constexpr int kCannotExec = 127;
constexpr int kStopMilliseconds = 10000;       // a sampler looks for the signal once a noise level

/// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void become_worker(char* const* arguments, char* const* environment, int messages, int lock, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kCannotExec);
  const int nowhere = ::open("/dev/null", O_RDWR);
  if (nowhere < 0) ::_exit(kCannotExec);
  ::dup2(nowhere, STDIN_FILENO);
  ::dup2(nowhere, STDOUT_FILENO);
  ::dup2(messages, STDERR_FILENO);
  ::fcntl(lock, F_SETFD, 0);                   // the worker holds the lock, too: it is free when both are gone
  ::execve("/proc/self/exe", arguments, environment);
  ::_exit(kCannotExec);
}

std::vector<std::string> environment_for(int threads) {
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (std::string(*variable).rfind("OMP_", 0) != 0) environment.emplace_back(*variable);
  environment.push_back("OMP_NUM_THREADS=" + std::to_string(threads));
  environment.emplace_back("OMP_WAIT_POLICY=passive");  // workers share the cores: who waits must not spin
  return environment;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  for (auto& word : words) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

/// The last error and the warnings among the JSON lines of a worker; what is not ours (a library's last words) is left out, because nobody checked it for patient data.
void read_messages(const std::filesystem::path& path, Worker::Ending& ending) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const ordered_json json = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;
    const std::string level = json.value("level", ""), message = json.value("message", ""), hint = json.value("hint", "");
    if (level == "error") ending.reason = hint.empty() ? message : message + "; " + hint;
    if (level == "warning") ending.warnings.push_back(message);
  }
}

}  // namespace

int usable_cores() {
  cpu_set_t set;
  int cores = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  for (const char* name : {"SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"})
    if (const char* text = std::getenv(name)) {
      const int lent = std::atoi(text);
      if (lent > 0) return std::min(cores, lent);
    }
  return std::max(cores, 1);
}

Worker::Worker(std::size_t case_index, Attempt attempt, int threads) : case_index_(case_index), attempt_(std::move(attempt)) {
  std::vector<std::string> words = {"postrec", "batch", "case", attempt_.job().string(), "--log-format", "json"}, environment = environment_for(threads);
  const auto arguments = pointers(words), variables = pointers(environment);
  // Without those of the attempt before this one.
  const int messages = ::open(attempt_.messages().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
  if (messages < 0) throw Error(write_error_kind(errno), quoted_path(attempt_.messages()) + " cannot be created: " + std::strerror(errno), "check that the output folder can be written and has room");
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) become_worker(arguments.data(), variables.data(), messages, attempt_.lock(), parent);
  ::close(messages);
  if (pid_ > 0) pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  if (pid_ < 0 || pidfd_ < 0) {
    const std::string reason = std::strerror(errno);
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    throw Error(ErrorKind::kTemporary, "no process can be started: " + reason, "try again when the machine is less busy, or with fewer --jobs");
  }
}

Worker::Worker(Worker&& other) noexcept
    : case_index_(other.case_index_), attempt_(std::move(other.attempt_)), pid_(std::exchange(other.pid_, -1)), pidfd_(std::exchange(other.pidfd_, -1)) {}

Worker::~Worker() {
  if (pid_ > 0) {
    ask_to_stop();
    pollfd ended = {pidfd_, POLLIN, 0};
    if (::poll(&ended, 1, kStopMilliseconds) <= 0) ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (pidfd_ >= 0) ::close(pidfd_);
}

void Worker::ask_to_stop() const { ::kill(pid_, SIGTERM); }

Worker::Ending Worker::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  Ending ending;
  read_messages(attempt_.messages(), ending);
  if (WIFEXITED(status)) {
    ending.code = WEXITSTATUS(status);
    ending.stopped = ending.code == 128 + SIGTERM || ending.code == 128 + SIGINT;
    if (ending.code == kCannotExec) ending.reason = "the program cannot be started again; was it replaced?";
    return ending;
  }
  ending.died = true;
  const int signal = WTERMSIG(status);
  const char* name = ::sigabbrev_np(signal);
  ending.stopped = signal == SIGTERM || signal == SIGINT;
  ending.code = static_cast<int>(signal == SIGKILL ? ErrorKind::kOutOfMemory : ErrorKind::kInternal);
  ending.reason = "the process died (" + (name ? "SIG" + std::string(name) : std::to_string(signal)) + ")" + (signal == SIGKILL ? "; the system does so when memory runs out" : "");
  return ending;
}

}  // namespace postrec
