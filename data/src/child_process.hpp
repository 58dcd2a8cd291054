#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "descriptor.hpp"
#include "postrec/error.hpp"

namespace postrec {

/// Memory that a forked child can fill for its parent.
class SharedMemory {
 public:
  /// Zeroed. With a folder it lies in a file there that never has a name, and the kernel moves its pages in and out: then what is written to must have
  /// been reserved. Throws Error: kOutOfMemory, kCannotCreate (the folder).
  explicit SharedMemory(std::size_t n_bytes, const std::filesystem::path& folder = {});
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  void* data() const { return data_; }

  /// Takes disk space for the first n bytes, so that writing to them cannot fail. Also in a child. Throws Error(kInputOutput): the disk is full.
  void reserve(std::size_t n_bytes) const;
  /// The same without a throw: 0, or the number of the system's error.
  int try_reserve(std::size_t n_bytes) const;

 private:
  std::filesystem::path folder_;
  Descriptor file_;
  void* data_;
  std::size_t n_bytes_;
};

/// What is thrown when a file of `folder`, which is the output while it is written, cannot get its room.
Error no_disk_space(const std::filesystem::path& folder, std::uint64_t n_bytes, int failure);

struct ChildLimits {
  std::uint64_t memory_bytes = 0;  ///< beyond what the process has mapped already
  unsigned cpu_seconds = 60;       ///< ten times as much on the clock
};

/// From now on this process can map so many bytes beyond what it has mapped already: for forked children that meet hostile input.
void limit_memory(std::uint64_t bytes);

/// Runs `work` in a forked child whose crash, endless loop or memory bomb costs nothing but its result. Its output goes nowhere, since
/// parsers print what they read. `work` must not touch LibTorch (its thread pool does not survive a fork). Returns "" when work returned,
/// else how the child ended: "SIGABRT", "out of memory", "out of time", "an exception". Throws Error(kTemporary) when no process can be
/// made.
std::string run_in_child(const std::function<void()>& work, const ChildLimits& limits);

}  // namespace postrec
