#include "pacs_ledger.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "pacs_association.hpp"
#include "pacs_names.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/utc_time.hpp"

namespace postrec {

using nlohmann::ordered_json;

PacsLedger::PacsLedger(const std::filesystem::path& path, std::string peer, bool accept_warnings) : path_(path), peer_(std::move(peer)), accept_warnings_(accept_warnings) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0)
    throw Error(write_error_kind(errno), "--ledger " + quoted_path(path) + " cannot be opened: " + std::strerror(errno), "give a file in a folder that you may write to");
  try {
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) throw Error(ErrorKind::kTemporary, "the ledger " + quoted_path(path) + " is in use", "another transfer runs; try again when it is done");
    read();
  } catch (const Error&) {
    ::close(fd_);
    throw;
  }
}

PacsLedger::~PacsLedger() { ::close(fd_); }

void PacsLedger::read() {
  std::ifstream file(path_, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  const std::string text = content.str();
  std::istringstream lines(text.substr(0, text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n')));
  const std::string kStart = "{\"peer\":";
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const auto entry = ordered_json::parse(line, nullptr, false);
    const auto get = [&](const char* key) { return entry.is_object() && entry.contains(key) && entry[key].is_string() ? entry[key].get<std::string>() : std::string(); };
    // What a crash cut off has been closed by a line break of the next run.
    if (entry.is_discarded() && (line.rfind(kStart, 0) == 0 || kStart.rfind(line, 0) == 0)) continue;
    if (get("instance").empty() || get("file").empty())
      throw Error(ErrorKind::kBadData, quoted_path(path_) + " is no ledger of postrec: line " + std::to_string(number), "give another --ledger");
    const bool doubted = is_warning_status(static_cast<unsigned>(std::strtoul(get("status").c_str(), nullptr, 16)));
    if (get("peer") == peer_ && (accept_warnings_ || !doubted)) known_.insert(get("instance") + get("file"));
  }
  if (!text.empty() && text.back() != '\n') append("\n");
}

void PacsLedger::append(const std::string& line) {
  if (!write_all(fd_, line))
    throw Error(ErrorKind::kInputOutput, "the ledger " + quoted_path(path_) + " cannot be written: " + std::strerror(errno), "is the disk full?");
}

void PacsLedger::add(const std::string& instance, const std::string& file, unsigned status) {
  const ordered_json entry = {{"peer", peer_}, {"instance", instance}, {"file", file}, {"status", hexadecimal(status)}, {"time", utc_time()}};
  append(entry.dump() + "\n");
  known_.insert(instance + file);
}

void PacsLedger::sync() {
  if (::fsync(fd_) != 0 && errno != EINVAL) throw Error(ErrorKind::kInputOutput, "the ledger " + quoted_path(path_) + " cannot be synced: " + std::strerror(errno));
}

}  // namespace postrec
