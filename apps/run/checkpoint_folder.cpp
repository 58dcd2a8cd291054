#include "run/checkpoint_folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "cli/console.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "run/file_lock.hpp"

namespace postrec {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSuffix = ".safetensors";

bool is_state(const fs::path& file) { return file.filename().string().rfind("slice_", 0) == 0 && file.extension() == kSuffix; }

/// One that was being written when the process was killed.
bool is_part(const fs::path& file) { return file.filename().string().rfind(".part-", 0) == 0 && file.extension() == kSuffix; }

void make_folder(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw Error(write_error_kind(failure.value()), "cannot create " + quoted_path(folder) + ": " + failure.message(), "the run keeps its state there");
}

}  // namespace

CheckpointFolder::CheckpointFolder(const fs::path& output, bool resume) : folder_(output.string() + ".checkpoint"), keeps_state_(resume) {
  constexpr int kTries = 3;                    // a run that ends takes lock and folder away
  FileLock lock;
  for (int i = 0; i < kTries && lock.descriptor < 0; ++i) {
    make_folder(folder_);
    lock = try_lock(lock_file(), O_CREAT);
    if (!lock.held) break;
  }
  if (lock.held) throw Error(ErrorKind::kCannotCreate, "another run is writing --output " + quoted_path(output), "wait for its end, or give another name");
  lock_ = lock.descriptor;
}

CheckpointFolder::~CheckpointFolder() {
  std::error_code failure;
  fs::remove(lock_file(), failure);
  fs::remove(folder_, failure);                // only when empty
  if (lock_ >= 0) ::close(lock_);
}

fs::path CheckpointFolder::file_of_slice(std::int64_t number) {
  if (!keeps_state_ && clear() > 0) console().information("the state of an unfinished run in " + quoted_path(folder_) + " is dropped: without --resume a run begins anew");
  keeps_state_ = true;
  return folder_ / ("slice_" + std::to_string(number) + kSuffix);
}

int CheckpointFolder::clear() {
  int n_removed = 0;
  std::error_code failure;                     // what cannot be removed stays: the result does not depend on it
  for (const auto& entry : fs::directory_iterator(folder_, failure))
    if (is_state(entry.path()) || is_part(entry.path())) n_removed += fs::remove(entry.path(), failure);
  return n_removed;
}

bool CheckpointFolder::has_state(const fs::path& folder) {
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure))
    if (is_state(entry.path())) return true;
  return false;
}

}  // namespace postrec
