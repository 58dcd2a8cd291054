#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "postrec/augmentation.hpp"
#include "postrec/denoising_network.hpp"

namespace postrec {

/// Crops of one size and the noise they are seen at. Large crops are rare and noisy: high noise is where far pixels matter.
struct CropSize {
  std::int64_t size = 64;
  double share = 1.0;                          ///< of the steps
  double mean_log_sigma = -1.8;
};

struct TrainingOptions {
  UNetConfig network;
  std::int64_t n_steps = 20000;
  std::int64_t n_decay_steps = 4000;           ///< the last steps, over which the learning rate falls linearly to 0
  std::int64_t n_warm_up_steps = 100;
  double learning_rate = 1e-3;
  double weight_decay = 1e-4;
  double clip_norm = 1.0;
  double average_decay = 0.999;                ///< of the moving average of the weights, which is what the prior keeps
  std::int64_t pixels_per_step = 8 * 64 * 64;  ///< the batch is as large as that allows
  std::vector<CropSize> crops{{64, 0.7, -1.8}, {128, 0.2, -1.0}, {192, 0.1, 0.0}};
  double sd_log_sigma = 1.4;
  Augmentation augmentation;
  std::uint64_t seed = 0;

  /// Throws Error(kUsage).
  void validate() const;
};

/// Trains a DenoisingNetwork by denoising score matching with EDM's weighting, AdamW, and a moving average of the weights.
///
/// Step k draws from streams named by (seed, k), so the state is weights, averages, moments and k: a run resumed from a checkpoint gives,
/// on the CPU with the same number of threads, the same bits as one that was never stopped.
class Trainer {
 public:
  /// `images`: slices [C, H, W] float32 in model units (the magnitude, for a complex Gaussian).
  Trainer(TrainingOptions options, GaussianPrior gaussian, std::vector<at::Tensor> images);

  /// One step; returns its loss (1 = as good as the linear denoiser).
  double step();

  std::int64_t steps_done() const { return steps_done_; }
  bool finished() const { return steps_done_ >= options_.n_steps; }

  /// The network with the averaged weights.
  DenoisingNetwork averaged() const;

  /// All the state, written so that a crash leaves the old file or the new. Throws Error: kCannotCreate, kInputOutput.
  void save_checkpoint(const std::filesystem::path& path) const;
  /// Throws Error(kBadData) when the checkpoint is damaged or of another network, another seed or other images.
  void resume(const std::filesystem::path& path);

 private:
  struct Batch;
  Batch draw_batch() const;
  double learning_rate() const;
  void update(double rate);

  TrainingOptions options_;
  GaussianPrior gaussian_;
  std::vector<at::Tensor> images_;
  Weights weights_;                            ///< leaves of the graph
  Weights average_, first_moment_, second_moment_;
  DenoisingNetwork network_;                   ///< shares weights_
  std::int64_t steps_done_ = 0;
};

}  // namespace postrec
