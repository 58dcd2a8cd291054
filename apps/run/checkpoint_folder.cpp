#include "run/checkpoint_folder.hpp"

#include "cli/console.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace fs = std::filesystem;

CheckpointFolder::CheckpointFolder(const fs::path& output, bool resume) : folder_(output.string() + ".checkpoint") {
  if (!resume && clear() > 0) console().information("the state of an unfinished run in " + quoted_path(folder_) + " is dropped: without --resume a run begins anew");
  std::error_code failure;
  fs::create_directories(folder_, failure);
  if (failure) throw Error(write_error_kind(failure.value()), "cannot create " + quoted_path(folder_) + ": " + failure.message(), "the run keeps its state there");
}

CheckpointFolder::~CheckpointFolder() {
  std::error_code failure;
  fs::remove(folder_, failure);                // only when empty
}

int CheckpointFolder::clear() {
  int n_removed = 0;
  std::error_code failure;                     // what cannot be removed stays: the result does not depend on it
  for (const auto& entry : fs::directory_iterator(folder_, failure)) {
    const std::string name = entry.path().filename().string();
    // .part-: one that was being written when the process was killed.
    if ((name.rfind("slice_", 0) == 0 || name.rfind(".part-", 0) == 0) && entry.path().extension() == ".safetensors") n_removed += fs::remove(entry.path(), failure);
  }
  return n_removed;
}

}  // namespace postrec
