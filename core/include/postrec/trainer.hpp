#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "postrec/augmentation.hpp"
#include "postrec/denoising_network.hpp"
#include "postrec/noise_process.hpp"
#include "postrec/objectives.hpp"

namespace postrec {

/// Crops of one size and the noise they are seen at. Large crops are rare and noisy: high noise is where far pixels matter.
struct CropSize {
  std::int64_t size = 64;
  double share = 1.0;                          ///< of the steps
  double mean_log_sigma = -1.8;
};

/// Steps that see the noise of a pivot (SpectralMeasurement) in place of white noise: random Cartesian masks, sigma as in the other steps but higher, because
/// at high noise y decides, and sigma_y log-uniform. They need `network.conditions` = SpectralNoise::kSummarySize and complex images.
struct MaskedFourierTraining {
  double share = 0.0;                          ///< of the steps
  double log_sigma_shift = 1.5;
  double min_sigma_y = 1e-3;
  double max_sigma_y = 0.3;
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
  std::optional<NoiseProcess> process;         ///< draws the noise levels; without one they are log-normal about the crop's mean, as EDM's
  std::optional<Weighting> weighting;          ///< without one 1 / c_out^2, which is EDM's weighting for this preconditioning
  std::optional<SlicedNorm> sliced;            ///< sliced score matching instead of denoising score matching
  MaskedFourierTraining masked_fourier;
  Augmentation augmentation;
  std::uint64_t seed = 0;
  std::map<std::string, std::string> begun_with;  ///< what else a checkpoint goes on with alone, by option: what it was fine-tuned from, say
  c10::Device device = c10::kCPU;              ///< on CUDA the network computes in bfloat16, everything around it in float32

  /// The noise levels that training covers: those of the process, else of the log-normals up to 2.9 standard deviations.
  SigmaRange trained_range() const;

  /// Throws Error(kUsage).
  void validate() const;
};

/// Which images these are, for a checkpoint: their number and a digest of shapes and values.
std::string images_text(const std::vector<at::Tensor>& images);

/// Trains a DenoisingNetwork by score matching (denoising with EDM's weighting unless the options say otherwise), AdamW, and a moving average
/// of the weights.
///
/// Step k draws from streams named by (seed, k), so the state is weights, averages, moments and k: a run resumed from a checkpoint gives,
/// on the CPU with the same number of threads, the same bits as one that was never stopped.
class Trainer {
 public:
  /// `images`: slices [C, H, W] float32 in model units (the magnitude, for a complex Gaussian).
  Trainer(TrainingOptions options, GaussianPrior gaussian, std::vector<at::Tensor> images);

  /// Fine-tuning: takes over the weights of another network (a prior file or a checkpoint). Only the layers at the image may be missing or of another shape, which the number of channels
  /// decides, and that of the masks; they start anew. Throws Error(kBadData) on any other that does not fit.
  void start_from(const std::filesystem::path& path);

  /// One step; returns its loss (1 = as good as the linear denoiser).
  double step();

  std::int64_t steps_done() const { return steps_done_; }
  bool finished() const { return steps_done_ >= options_.n_steps; }
  /// Of the next step.
  double learning_rate() const;

  /// The network with the averaged weights.
  DenoisingNetwork averaged() const;

  /// All the state, written so that a crash leaves the old file or the new. Throws Error: kCannotCreate, kInputOutput.
  void save_checkpoint(const std::filesystem::path& path) const;
  /// Throws Error(kBadData) when the checkpoint is damaged, of another network, of other images or options (all but the numbers of steps), or beyond the steps asked for.
  void resume(const std::filesystem::path& path);

 private:
  struct Batch;
  Batch draw_batch() const;
  void add_masks(Batch& batch) const;
  at::Tensor loss_of(const Batch& batch) const;
  void update(double rate);

  TrainingOptions options_;
  GaussianPrior gaussian_;
  std::vector<at::Tensor> images_;
  Weights weights_;                            ///< leaves of the graph
  Weights average_, first_moment_, second_moment_;
  DenoisingNetwork network_;                   ///< shares weights_
  std::map<std::string, std::string> identity_;
  std::int64_t steps_done_ = 0;
};

}  // namespace postrec
