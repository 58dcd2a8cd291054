#pragma once

#include <filesystem>

namespace postrec {

/// What try_lock got.
struct FileLock {
  int descriptor = -1;                         ///< closed on exec; closing it, and every copy that a child has, gives the lock up. -1: not taken
  bool held = false;                           ///< not taken because another process has it, or took the file away; neither: locks do not work there
};

/// Opens a file with further `flags` of open and locks it. The kernel gives the lock up when its last holder is gone, whatever killed it. Throws Error (kCannotCreate, kInputOutput) when the file
/// cannot be opened for another reason than that it is not there, or is there already with O_EXCL.
FileLock try_lock(const std::filesystem::path& path, int flags);

/// Looks without taking it. Where locks do not work, nothing is taken for dead.
bool is_locked(const std::filesystem::path& path);

}  // namespace postrec
