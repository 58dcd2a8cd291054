#include "training/network_training.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>

#include "case/seeds.hpp"
#include "cli/console.hpp"
#include "cli/interrupt.hpp"
#include "cli/progress.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"
#include "training/denoising_check.hpp"
#include "training/training_log.hpp"
#include "training/training_pictures.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double kLogSeconds = 10.0;
constexpr double kSmoothing = 0.98;  // of the loss that is shown
constexpr std::int64_t kCropMultiple = 8;
constexpr std::int64_t kMeasuredSlices = 32;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

fs::path beside(const fs::path& checkpoint, const char* ending) { return checkpoint.string() + ending; }

void begin(Trainer& trainer, const TrainingRun& run) {
  if (run.resume && fs::exists(run.checkpoint)) return trainer.resume(run.checkpoint);
  if (run.resume) console().information("there is no checkpoint '" + run.checkpoint.string() + "' yet: training begins");
  if (!run.start_from.empty()) trainer.start_from(run.start_from);
  // Only now, for it may be what is begun from. An old one that stayed until the first of this training would be gone on with after a kill.
  if (fs::remove(run.checkpoint)) console().information("the checkpoint '" + run.checkpoint.string() + "' of a training before is removed");
}

/// A training run: what is shown and kept of it.
class Run {
 public:
  Run(const TrainingOptions& options, const GaussianPrior& gaussian, const TrainingSplit& split, const TrainingRun& run, Trainer& trainer)
      : run_(run), device_(options.device), trainer_(trainer), check_(split.validation, gaussian.basis() == SpectralBasis::kDft, options.augmentation.smooth_phase, options.seed),
        log_(beside(run.checkpoint, ".log"), trainer.steps_done()), progress_(trainer.steps_done(), options.n_steps) {
    if (!log_.records().empty()) {
      mean_loss_ = log_.records().back().loss;
      n_seen_ = trainer.steps_done();
    }
  }

  void go() {
    while (!trainer_.finished()) {
      const double rate = trainer_.learning_rate(), loss = trainer_.step();
      mean_loss_ = n_seen_++ == 0 ? loss : kSmoothing * mean_loss_ + (1.0 - kSmoothing) * loss;
      TrainingRecord record{trainer_.steps_done(), mean_loss_, rate, seconds_since(start_), {}};
      const bool stop = interrupting_signal() != 0;
      if (stop || trainer_.finished() || seconds_since(saved_) >= run_.checkpoint_seconds) {
        keep(record);
      } else if (seconds_since(logged_) >= kLogSeconds) {
        log(record);
      }
      progress_.show(record);
      if (stop) throw Error(ErrorKind::kInterrupted, "stopped after step " + std::to_string(trainer_.steps_done()), "go on with --resume");
    }
  }

 private:
  void log(const TrainingRecord& record) {
    log_.add(record);
    logged_ = Clock::now();
  }

  // The checkpoint last: what the log says of a step is then there when the step is.
  void keep(TrainingRecord& record) {
    const auto rows = check_.run(trainer_.averaged(), device_);
    for (const DenoisingCheck::Row& row : rows) record.psnr_db[row.sigma] = row.psnr_db;
    log(record);
    write_curve(beside(run_.checkpoint, ".curve.png"), log_.records());
    write_sample_sheet(beside(run_.checkpoint, ".samples.png"), check_.clean(), rows);
    trainer_.save_checkpoint(run_.checkpoint);
    saved_ = Clock::now();
  }

  const TrainingRun& run_;
  c10::Device device_;
  Trainer& trainer_;
  DenoisingCheck check_;
  TrainingLog log_;
  TrainingProgress progress_;
  double mean_loss_ = 0.0;
  std::int64_t n_seen_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point logged_ = start_;
  Clock::time_point saved_ = start_;
};

}  // namespace

std::string start_text(const TrainingRun& run) {
  if (run.start_from.empty()) return "nothing";
  std::error_code failure;
  if (fs::equivalent(run.start_from, run.checkpoint, failure)) return "its own checkpoint";
  return quoted_path(run.start_from.filename()) + " of digest " + sha256_file(run.start_from);
}

std::vector<at::Tensor> images_of(const std::vector<TrainingSlice>& slices) {
  std::vector<at::Tensor> images;
  for (const TrainingSlice& slice : slices) images.push_back(slice.image);
  return images;
}

void fit_crops(TrainingOptions& options, const std::vector<TrainingSlice>& slices) {
  std::int64_t largest = 1;
  for (const TrainingSlice& slice : slices) largest = std::max({largest, slice.image.size(1), slice.image.size(2)});
  const std::int64_t enough = (largest + kCropMultiple - 1) / kCropMultiple * kCropMultiple;
  for (CropSize& crop : options.crops) crop.size = std::min(crop.size, enough);
}

DenoisingNetwork train_network(const TrainingOptions& options, const GaussianPrior& gaussian, const TrainingSplit& split, const TrainingRun& run) {
  Trainer trainer(options, gaussian, images_of(split.training));
  begin(trainer, run);
  Run(options, gaussian, split, run, trainer).go();
  return trainer.averaged();
}

ErrorTable measured_errors(const DenoisingNetwork& network, const std::vector<TrainingSlice>& slices, bool smooth_phase, std::uint64_t seed, const c10::Device& device, const std::string& hint) {
  constexpr std::int64_t kTableSize = 64;  // half that smears c about frequency 0, where the largest images need it
  const at::NoGradGuard no_grad;
  const SpectralBasis basis = network.gaussian().basis();
  const auto images = spread_images(slices, kMeasuredSlices, basis == SpectralBasis::kDft, smooth_phase, seed);
  std::int64_t n_done = 0;
  Progress progress(static_cast<std::int64_t>(images.size() * ErrorTable::standard_sigmas().size()));
  const auto denoise = [&](const at::Tensor& x_t, double sigma) {
    if (progress.cancelled()) throw Error(ErrorKind::kInterrupted, "stopped while the error was measured", hint);
    const at::Tensor denoised = network.denoise(x_t.to(device), at::full({1}, sigma, at::TensorOptions(device).dtype(at::kFloat))).cpu();
    progress.finish_part(n_done++);
    return denoised;
  };
  return measure_error_table(denoise, basis, images, kTableSize, derive_seed(seed, -1, SeedPurpose::kNoise));
}

NetworkPrior measured_prior(DenoisingNetwork network, const TrainingOptions& options, const std::vector<TrainingSlice>& validation, PriorInfo info) {
  ErrorTable errors = measured_errors(network, validation, options.augmentation.smooth_phase, options.seed, options.device, "go on with --resume");
  const SigmaRange trained = options.trained_range();
  // Sampling starts at noise alone, which the Gaussian part says how much of is needed.
  const SigmaRange range{trained.minimum, std::min(trained.maximum, network.gaussian().range().maximum)};
  return NetworkPrior(std::move(network), std::move(errors), range, std::move(info));
}

}  // namespace postrec
