#pragma once

#include <cstdint>
#include <filesystem>

namespace postrec {

/// The folder OUTPUT.checkpoint beside the output of a run, with the state of each of its slices (`slice_N.safetensors`) until the output is whole. It belongs to one run at a time.
class CheckpointFolder {
 public:
  /// Throws Error: kCannotCreate (also when another run has it), kInputOutput.
  CheckpointFolder(const std::filesystem::path& output, bool resume);
  /// Leaves what a stopped run can go on from, and no empty folder.
  ~CheckpointFolder();
  CheckpointFolder(const CheckpointFolder&) = delete;
  CheckpointFolder& operator=(const CheckpointFolder&) = delete;

  /// Where the state of a slice is, or will be. The first call drops, and says so, what an old run left, unless that is to be gone on from: a run that fails before its first slice begins loses nothing.
  std::filesystem::path file_of_slice(std::int64_t number);

  /// Removes the checkpoints, because the output is whole, and says how many there were. Other files in the folder stay.
  int clear();

  /// Whether a run can go on from what lies in this folder.
  static bool has_state(const std::filesystem::path& folder);

 private:
  std::filesystem::path lock_file() const { return folder_ / "lock"; }

  std::filesystem::path folder_;
  bool keeps_state_ = false;                   ///< what lies there is of this run
  int lock_ = -1;                              ///< a descriptor; -1 where locks do not work
};

}  // namespace postrec
