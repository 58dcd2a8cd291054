#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "batch/batch_attempt.hpp"
#include "batch/batch_store.hpp"

namespace postrec {

/// The numbers of cores of this process, or fewer where Slurm lent fewer.
int usable_cores();

/// A child process `postrec batch case JOB`: its memory is its own, its crash costs one case, and it dies with its parent. It is not in the terminal's group, so that Ctrl-C reaches it
/// through its parent alone.
class Worker {
 public:
  /// Throws Error(kTemporary) when no process can be made.
  Worker(std::size_t case_index, Attempt attempt, int threads);
  Worker(Worker&& other) noexcept;
  Worker& operator=(Worker&&) = delete;
  /// A worker that still runs is stopped: asked, then killed.
  ~Worker();

  std::size_t case_index() const { return case_index_; }
  Attempt& attempt() { return attempt_; }
  int descriptor() const { return pidfd_; }    ///< readable once the process has ended
  void ask_to_stop() const;

  /// Waits for the end. A code of 0: the case is done. `stopped`: it was asked to stop and did.
  struct Ending {
    int code = 0;
    bool stopped = false;
    bool died = false;                         ///< of a signal that it did not catch
    std::string reason;                        ///< what went wrong, without patient data
    std::vector<std::string> warnings;
  };
  Ending wait();

 private:
  std::size_t case_index_ = 0;
  Attempt attempt_;
  pid_t pid_ = -1;
  int pidfd_ = -1;
};

}  // namespace postrec
