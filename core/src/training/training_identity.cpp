#include "training_identity.hpp"

#include <ATen/ATen.h>

#include <sstream>

#include "postrec/sha256.hpp"

namespace postrec {
namespace {

std::string digest(const std::vector<at::Tensor>& tensors) {
  std::string all;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor whole = tensor.detach().cpu().contiguous();
    std::ostringstream shape;
    shape << whole.sizes();
    all += shape.str() + sha256_hex(whole.const_data_ptr(), whole.nbytes());
  }
  return sha256_hex(all.data(), all.size());
}

template <class... Values>
std::string text_of(const Values&... values) {
  std::ostringstream text;
  text.precision(17);
  ((text << values << ' '), ...);
  std::string result = text.str();
  result.pop_back();
  return result;
}

std::string crops_text(const std::vector<CropSize>& crops) {
  std::string text;
  for (const CropSize& crop : crops) text += (text.empty() ? "" : ", ") + text_of(crop.size, crop.share, crop.mean_log_sigma);
  return text;
}

std::string process_text(const std::optional<NoiseProcess>& process) {
  if (!process) return "none";
  const NoiseProcessOptions& o = process->options();
  return text_of(static_cast<int>(process->kind()), o.sigma_min, o.sigma_max, o.beta_min, o.beta_max, o.log_sigma_mean, o.log_sigma_deviation, o.n_levels);
}

}  // namespace

std::string images_text(const std::vector<at::Tensor>& images) { return text_of(images.size(), "slices of digest", digest(images)); }

std::map<std::string, std::string> training_identity(const TrainingOptions& options, const GaussianPrior& gaussian, const std::vector<at::Tensor>& images) {
  const Augmentation& a = options.augmentation;
  const MaskedFourierTraining& m = options.masked_fourier;
  std::map<std::string, std::string> identity = options.begun_with;
  identity.insert({{"scans", images_text(images)},
          {"basis, phase and table-size", digest({gaussian.spectrum(), gaussian.mean()})},
          {"seed", text_of(options.seed)},
          {"learning-rate", text_of(options.learning_rate)},
          {"warm-up", text_of(options.n_warm_up_steps)},
          {"weight decay", text_of(options.weight_decay)},
          {"clip-norm", text_of(options.clip_norm)},
          {"average-decay", text_of(options.average_decay)},
          {"batch-pixels", text_of(options.pixels_per_step)},
          {"crops", crops_text(options.crops)},
          {"noise levels", text_of(options.sd_log_sigma)},
          {"process", process_text(options.process)},
          {"weighting", options.weighting ? text_of(static_cast<int>(*options.weighting)) : "auto"},
          {"objective", options.sliced ? text_of("sliced", static_cast<int>(*options.sliced)) : "denoising"},
          {"conditional", text_of(m.share, m.log_sigma_shift, m.min_sigma_y, m.max_sigma_y)},
          {"intensity and phase", text_of(a.flips, a.warped_share, a.max_rotation_rad, a.max_log_zoom, a.max_log_gain, a.max_log_gamma, a.smooth_phase)}});
  return identity;
}

}  // namespace postrec
