#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <vector>

namespace postrec {

/// What is known after a step.
struct TrainingRecord {
  std::int64_t step = 0;
  double loss = 0.0;                           ///< running mean
  double learning_rate = 0.0;
  double seconds = 0.0;                        ///< of this run
  std::map<double, double> psnr_db;            ///< on validation crops, by sigma; empty where it was not measured
};

/// The record of a training: a file of one JSON object a line, beside the checkpoint. A resumed run reads it, forgets what came after the
/// checkpoint, and goes on.
class TrainingLog {
 public:
  /// Keeps the records up to `first_step`. Throws Error: kCannotCreate, kInputOutput, kBadData (a file that is no such record).
  TrainingLog(std::filesystem::path path, std::int64_t first_step);

  void add(const TrainingRecord& record);
  const std::vector<TrainingRecord>& records() const { return records_; }

 private:
  std::filesystem::path path_;
  std::ofstream file_;
  std::vector<TrainingRecord> records_;
};

/// How far a training is, on stderr: on a terminal one line that is written over, one JSON object a line with --log-format json, elsewhere a
/// line for each record with PSNRs.
class TrainingProgress {
 public:
  TrainingProgress(std::int64_t first_step, std::int64_t n_steps);
  ~TrainingProgress();
  TrainingProgress(const TrainingProgress&) = delete;
  TrainingProgress& operator=(const TrainingProgress&) = delete;

  /// Often called; shows the record now and then, and always when it holds PSNRs.
  void show(const TrainingRecord& record);

 private:
  using Clock = std::chrono::steady_clock;

  std::int64_t first_step_;
  std::int64_t n_steps_;
  bool terminal_;
  bool line_drawn_ = false;
  Clock::time_point last_shown_{};
};

}  // namespace postrec
