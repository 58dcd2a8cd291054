#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace postrec {

/// Memory that a forked child can fill for its parent.
class SharedMemory {
 public:
  /// Zeroed. Throws Error(kOutOfMemory).
  explicit SharedMemory(std::size_t n_bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_;
  std::size_t n_bytes_;
};

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
