#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "batch/batch_attempt.hpp"
#include "batch/batch_plan.hpp"

namespace postrec {

enum class OnExistingResult {
  kFail,                                       ///< a case that has a result already is a failed row
  kSkipVerified,                               ///< one that is what its done.json and the plan say is left alone, any other is made again
  kOverwrite,                                  ///< every case is made again
};

struct BatchRunOptions {
  std::filesystem::path output;                ///< absolute
  std::int64_t shard = 1;                      ///< 1 to n_shards
  std::int64_t n_shards = 1;
  int jobs = 1;
  int threads = 1;                             ///< of each job
  bool fail_fast = false;
  OnExistingResult on_existing = OnExistingResult::kSkipVerified;
  /// What the worker of a case is told; see worker_job.
  std::function<nlohmann::ordered_json(const BatchCase& each, const Attempt& attempt)> job_of;
};

/// How a batch ended: cases of this shard by what became of them.
struct BatchOutcome {
  std::int64_t done = 0;                       ///< by this process
  std::int64_t verified = 0;                   ///< done before, and found whole
  std::int64_t failed = 0;
  std::int64_t left = 0;                       ///< stopped or never begun
  bool stopped = false;                        ///< by a signal
  bool no_room = false;                        ///< the last cases failed in reading or writing: the disk is full or gone
};

/// Reconstructs the cases of one shard, each in a process of its own, `jobs` at a time. A case that fails is a row. Cases that failed before come last; those that another process is at are left
/// to it, and looked at again when it has ended. Throws Error when the batch itself cannot go on (its output folder cannot be written); workers are stopped first.
BatchOutcome run_batch(const BatchPlan& plan, const BatchRunOptions& options);

}  // namespace postrec
