#pragma once

#include <filesystem>

namespace postrec {

/// The folder OUTPUT.checkpoint beside the output of a run, with the state of each of its slices (`slice_N.safetensors`) until the output is whole.
class CheckpointFolder {
 public:
  /// Makes it empty, unless an old run is to be gone on from. Throws Error(kCannotCreate).
  CheckpointFolder(const std::filesystem::path& output, bool resume);
  /// Leaves what a stopped run can go on from, and no empty folder.
  ~CheckpointFolder();
  CheckpointFolder(const CheckpointFolder&) = delete;
  CheckpointFolder& operator=(const CheckpointFolder&) = delete;

  const std::filesystem::path& path() const { return folder_; }

  /// Removes the checkpoints, because the output is whole, and says how many there were. Other files in the folder stay.
  int clear();

 private:
  std::filesystem::path folder_;
};

}  // namespace postrec
