#pragma once

#include <filesystem>
#include <vector>

#include "common/training_scans.hpp"
#include "postrec/trainer.hpp"

namespace postrec {

/// Where a training run keeps its state, and how often.
struct TrainingRun {
  std::filesystem::path checkpoint;
  std::filesystem::path log;                   ///< one JSON object a line: step, loss, seconds
  double checkpoint_seconds = 120.0;
  bool resume = false;                         ///< from the checkpoint
};

/// Trains to the end of the options or until interrupted (then the checkpoint is written and Error(kInterrupted) thrown).
DenoisingNetwork train_network(const TrainingOptions& options, const GaussianPrior& gaussian, const std::vector<TrainingSlice>& slices, const TrainingRun& run);

}  // namespace postrec
