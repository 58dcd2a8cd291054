#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "batch/batch_attempt.hpp"
#include "batch/batch_plan.hpp"

namespace postrec {

/// Everything that a worker process must know about its case, as the file that it is started with.
nlohmann::ordered_json worker_job(const BatchPlan& plan, const BatchCase& each, const std::filesystem::path& output, const Attempt& attempt, int threads, bool replace);

/// The work of such a process: checks the inputs against their digests, reconstructs, and publishes the result. Returns the exit code of reconstruct; throws Error as that does, and
/// kBadData when an input is not what was planned.
int run_worker(const std::filesystem::path& job_file);

}  // namespace postrec
