#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace postrec {

struct SlurmRequest {
  std::filesystem::path program;               ///< absolute
  std::filesystem::path output;                ///< absolute
  std::int64_t n_tasks = 1;                    ///< array elements, each a shard
  std::vector<std::string> options;            ///< further #SBATCH lines, which win over ours: "--partition=long", "-p long"; of "--array" the throttle alone: "--array=%5"
};

/// The job script of an array with a shard an element. It ends in exec, so that Slurm sees the exit code and its signal reaches the program; 75 asks for a requeue, which a cluster
/// grants with RequeueExit=75 in slurm.conf. Throws Error(kUsage) for an output folder whose path an #SBATCH line cannot hold, and for an option that chooses other elements.
std::string slurm_array_script(const SlurmRequest& request);
/// The script of the job that writes the summary when all elements have ended, however they ended; without what is for the array alone (array, signal, requeue).
std::string slurm_report_script(const SlurmRequest& request);

struct SubmittedJobs {
  std::string array;                           ///< job ids
  std::string report;
};

/// Gives both to sbatch. Throws Error: kUnavailable (there is no sbatch), kTemporary (it refused, with its words).
SubmittedJobs submit_to_slurm(const SlurmRequest& request);

}  // namespace postrec
