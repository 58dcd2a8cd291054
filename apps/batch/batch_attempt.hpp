#pragma once

#include <filesystem>
#include <string>

namespace postrec {

/// One attempt at a case: the folder .work/CASE/UUID, which belongs to the process that holds the lock on .work/CASE/UUID.lock. The kernel gives the lock up when its last holder (the
/// batch and the worker that it started) is gone, whatever killed them, so nothing stale can block a rerun and nothing at work is taken away.
class Attempt {
 public:
  /// Takes over a dead attempt that left a checkpoint, removes the other dead ones, or begins anew. Throws Error(kCannotCreate or kInputOutput).
  static Attempt begin(const std::filesystem::path& folder_of_case);
  Attempt(Attempt&& other) noexcept;
  Attempt& operator=(Attempt&&) = delete;
  /// Gives up the lock and leaves the folder, to be gone on from.
  ~Attempt();

  const std::filesystem::path& folder() const { return folder_; }
  int lock() const { return lock_; }           ///< a descriptor, closed on exec
  bool resumes() const { return resumes_; }    ///< there is a checkpoint

  std::filesystem::path result() const { return folder_ / "result"; }
  std::filesystem::path job() const { return folder_ / "job.json"; }
  std::filesystem::path messages() const { return folder_ / "messages.jsonl"; }

  /// The folder is gone afterwards, and that of the case if nothing else is in it.
  void remove();
  /// Only the checkpoint is left, for the next attempt; without one as remove().
  void keep_checkpoint();

 private:
  Attempt(std::filesystem::path folder, int lock, bool resumes) : folder_(std::move(folder)), lock_(lock), resumes_(resumes) {}

  std::filesystem::path folder_;
  int lock_ = -1;
  bool resumes_ = false;
};

/// For a case that is done: removes what dead attempts left, checkpoints and all.
void remove_dead_attempts(const std::filesystem::path& folder_of_case);

struct AttemptStates {
  bool running = false;                        ///< a live process has one
  bool stopped = false;                        ///< a dead one left a checkpoint to go on from
};

/// Looks without touching.
AttemptStates attempts_at(const std::filesystem::path& folder_of_case);

}  // namespace postrec
