#include "batch/batch_attempt.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "batch/case_id.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "run/checkpoint_folder.hpp"
#include "run/file_lock.hpp"

namespace postrec {
namespace fs = std::filesystem;
namespace {

constexpr const char* kLock = ".lock";
constexpr const char* kCheckpoint = "result.checkpoint";
constexpr std::size_t kNameBytes = 16;

[[noreturn]] void fail(const fs::path& path, int error) {
  throw Error(write_error_kind(error), quoted_path(path) + " cannot be made: " + std::strerror(error),
              "check that the folder can be written and has room");
}

std::vector<fs::path> locks_in(const fs::path& folder) {
  std::vector<fs::path> locks;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure))
    if (entry.path().extension() == kLock) locks.push_back(entry.path());
  return locks;
}

fs::path folder_of_lock(const fs::path& lock) { return fs::path(lock).replace_extension(""); }

bool has_checkpoint(const fs::path& folder) { return CheckpointFolder::has_state(folder / kCheckpoint); }

void remove_attempt(const fs::path& folder) {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  fs::remove(folder.string() + kLock, ignored);  // after the folder, so that no folder is without its lock
}

}  // namespace

Attempt Attempt::begin(const fs::path& folder_of_case) {
  std::error_code failure;
  fs::create_directories(folder_of_case, failure);
  if (failure) fail(folder_of_case, failure.value());
  int lock = -1;
  fs::path folder;
  for (const fs::path& path : locks_in(folder_of_case)) {
    const int dead = try_lock(path, 0).descriptor;
    if (dead < 0) continue;
    if (lock < 0 && has_checkpoint(folder_of_lock(path))) {
      lock = dead;
      folder = folder_of_lock(path);
    } else {
      remove_attempt(folder_of_lock(path));
      ::close(dead);
    }
  }
  if (lock >= 0) return Attempt(folder, lock, true);
  constexpr int kTries = 100;                  // another process may take a lock for dead between its making and its locking
  for (int i = 0; lock < 0 && i < kTries; ++i) {
    fs::create_directories(folder_of_case, failure);  // another process may have found it empty
    folder = folder_of_case / random_hex(kNameBytes);
    const FileLock made = try_lock(folder.string() + kLock, O_CREAT | O_EXCL);
    lock = made.descriptor;
    if (lock >= 0 || made.held) continue;
    fs::remove(folder.string() + kLock, failure);  // locks do not work here; a file left behind would pass for somebody at work
    break;
  }
  if (lock < 0) throw Error(ErrorKind::kCannotCreate, "no lock can be taken in " + quoted_path(folder_of_case), "the output folder must be on a file system with locks");
  Attempt attempt(folder, lock, false);
  if (::mkdir(folder.c_str(), 0777) != 0) fail(folder, errno);
  return attempt;
}

Attempt::Attempt(Attempt&& other) noexcept : folder_(std::move(other.folder_)), lock_(std::exchange(other.lock_, -1)), resumes_(other.resumes_) {}

Attempt::~Attempt() {
  if (lock_ >= 0) ::close(lock_);
}

void Attempt::remove() {
  remove_attempt(folder_);
  std::error_code ignored;
  fs::remove(folder_.parent_path(), ignored);  // only when empty
}

void Attempt::keep_checkpoint() {
  if (!has_checkpoint(folder_)) return remove();
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_, ignored))
    if (entry.path().filename() != kCheckpoint) fs::remove_all(entry.path(), ignored);
}

void remove_dead_attempts(const fs::path& folder_of_case) {
  for (const fs::path& path : locks_in(folder_of_case)) {
    const int dead = try_lock(path, 0).descriptor;
    if (dead < 0) continue;
    remove_attempt(folder_of_lock(path));
    ::close(dead);
  }
}

AttemptStates attempts_at(const fs::path& folder_of_case) {
  AttemptStates states;
  for (const fs::path& path : locks_in(folder_of_case)) {
    if (is_locked(path)) states.running = true;
    else if (has_checkpoint(folder_of_lock(path))) states.stopped = true;
  }
  return states;
}

}  // namespace postrec
