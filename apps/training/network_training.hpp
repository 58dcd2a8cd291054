#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "postrec/network_prior.hpp"
#include "postrec/trainer.hpp"
#include "training/training_split.hpp"

namespace postrec {

/// Where a training run keeps its state, and how often. Beside the checkpoint lie CHECKPOINT.log (training_log.hpp), CHECKPOINT.curve.png and
/// CHECKPOINT.samples.png (training_pictures.hpp).
struct TrainingRun {
  std::filesystem::path checkpoint;
  double checkpoint_seconds = 120.0;
  std::filesystem::path start_from;            ///< a network to fine-tune; empty: fresh weights
  bool resume = false;                         ///< from the checkpoint; from the beginning where there is none yet
};

/// What a training begins from, for its checkpoint: "nothing", or the name and digest of `start_from`.
std::string start_text(const TrainingRun& run);

std::vector<at::Tensor> images_of(const std::vector<TrainingSlice>& slices);

/// Makes the crops of `options` no larger than the largest image needs; images of 192 pixels and more leave the defaults alone.
void fit_crops(TrainingOptions& options, const std::vector<TrainingSlice>& slices);

/// Trains to the end of the options or until interrupted (then the checkpoint is written and Error(kInterrupted) thrown).
DenoisingNetwork train_network(const TrainingOptions& options, const GaussianPrior& gaussian, const TrainingSplit& split, const TrainingRun& run);

/// The error of a network, c(sigma) and its envelope, on up to 32 slices that it was not trained on; it is evaluated on `device`. Throws Error(kInterrupted) with this hint.
ErrorTable measured_errors(const DenoisingNetwork& network, const std::vector<TrainingSlice>& slices, bool smooth_phase, std::uint64_t seed, const c10::Device& device, const std::string& hint);

/// The trained network with its error on validation slices, and the range of noise levels that it was trained for, as far as sampling needs it.
/// Throws Error(kInterrupted).
NetworkPrior measured_prior(DenoisingNetwork network, const TrainingOptions& options, const std::vector<TrainingSlice>& validation, PriorInfo info);

}  // namespace postrec
