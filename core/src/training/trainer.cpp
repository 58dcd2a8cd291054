#include "postrec/trainer.hpp"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/random.hpp"
#include "postrec/shape_text.hpp"
#include "../batched_vectors.hpp"
#include "../priors/unet_layer_names.hpp"
#include "../safetensors.hpp"
#include "sampling_masks.hpp"
#include "training_identity.hpp"

namespace postrec {
namespace {

enum Draw : std::uint64_t { kCropSize = 0, kIsMasked = 1, kImageChoice = 0, kLogSigma = 1, kNoise = 2, kProjection = 3, kSigmaY = 4 };
constexpr double kBeta1 = 0.9, kBeta2 = 0.99, kEpsilon = 1e-8;
constexpr std::int64_t kMaxBatch = 1024;
constexpr const char* kCheckpointFormat = "postrec-checkpoint/3";

// Seeds of the independent kinds of chance.
std::uint64_t mask_seed(std::uint64_t seed) { return seed * 4; }
std::uint64_t step_seed(std::uint64_t seed) { return seed * 4 + 1; }
std::uint64_t crop_seed(std::uint64_t seed) { return seed * 4 + 2; }
std::uint64_t noise_seed(std::uint64_t seed) { return seed * 4 + 3; }

constexpr double kCoveredDeviations = 2.9;  // of a log-normal; 4 in 1000 draws lie outside

/// Complex numbers as pairs on a last axis: to a loss they are twice as many real components.
at::Tensor as_real(const at::Tensor& x) { return x.is_complex() ? at::view_as_real(x) : x; }

Weights as_leaves(Weights weights, const at::Device& device) {
  for (auto& [name, value] : weights) {
    value = value.to(device);
    value = (value.dim() == 4 ? value.contiguous(at::MemoryFormat::ChannelsLast) : value.contiguous()).clone();
    value.set_requires_grad(true);
  }
  return weights;
}

Weights copies(const Weights& weights, bool zero) {
  Weights result;
  for (const auto& [name, value] : weights) result[name] = zero ? at::zeros_like(value.detach()) : value.detach().clone();
  return result;
}

/// What the channels of the images and being told of masks change of a network.
bool may_start_anew(const std::string& name) { return name.rfind("input.", 0) == 0 || name.rfind("output.", 0) == 0 || name == kConditionLayer; }

Weights on_cpu(const Weights& weights) {
  Weights result;
  for (const auto& [name, value] : weights) result[name] = value.detach().to(at::kCPU);
  return result;
}

/// Mixed precision for as long as it lives. Nothing is cached: each weight is used once a step.
class MixedPrecision {
 public:
  explicit MixedPrecision(bool wanted) : enabled_(at::autocast::is_autocast_enabled(at::kCUDA)), cached_(at::autocast::is_autocast_cache_enabled()) {
    if (!wanted) return;
    at::autocast::set_autocast_enabled(at::kCUDA, true);
    at::autocast::set_autocast_dtype(at::kCUDA, at::kBFloat16);  // needs no scaling of the loss, as float16 does
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~MixedPrecision() {
    at::autocast::set_autocast_enabled(at::kCUDA, enabled_);
    at::autocast::set_autocast_cache_enabled(cached_);
  }
  MixedPrecision(const MixedPrecision&) = delete;
  MixedPrecision& operator=(const MixedPrecision&) = delete;

 private:
  bool enabled_;
  bool cached_;
};

}  // namespace

struct Trainer::Batch {
  at::Tensor x0;          ///< [B, C, n, n]
  at::Tensor noise;       ///< as x0
  at::Tensor projection;  ///< as x0, for sliced score matching
  at::Tensor sigma;       ///< [B]
  std::optional<SpectralNoise> spectrum;  ///< in steps with masks; then sigma is its level, and noise is in units of that
};

void TrainingOptions::validate() const {
  const auto require = [](bool good, const std::string& what) {
    if (!good) throw Error(ErrorKind::kUsage, "training with " + what, "see postrec train --help");
  };
  network.validate();
  require(n_steps > 0 && n_decay_steps >= 0 && n_decay_steps <= n_steps && n_warm_up_steps >= 0, "an impossible number of steps");
  require(learning_rate > 0 && weight_decay >= 0 && clip_norm > 0, "an impossible learning rate, weight decay or clipping norm");
  require(pixels_per_step > 0, "an impossible number of pixels a step");
  require(average_decay >= 0 && average_decay < 1, "an impossible moving average");
  double shares = 0.0;
  for (const CropSize& crop : crops) {
    require(crop.size >= 8 && crop.share >= 0, "an impossible crop");
    shares += crop.share;
  }
  require(std::abs(shares - 1.0) < 1e-6, "shares of crop sizes that do not add up to 1");
  const MaskedFourierTraining& masked = masked_fourier;
  require(masked.share >= 0 && masked.share <= 1 && masked.min_sigma_y > 0 && masked.max_sigma_y >= masked.min_sigma_y, "an impossible share of masks or sigma_y");
  require(masked.share == 0 || network.conditions == SpectralNoise::kSummarySize, "masks and a network that is not told of them");
  require(masked.share == 0 || !sliced, "masks and sliced score matching");
  require(weighting != Weighting::kLikelihood || process, "the likelihood weighting and no noise process");
}

SigmaRange TrainingOptions::trained_range() const {
  if (process) return process->range();
  const auto [low, high] = std::minmax_element(crops.begin(), crops.end(), [](const auto& a, const auto& b) { return a.mean_log_sigma < b.mean_log_sigma; });
  return {std::exp(low->mean_log_sigma - kCoveredDeviations * sd_log_sigma), std::exp(high->mean_log_sigma + kCoveredDeviations * sd_log_sigma)};
}

Trainer::Trainer(TrainingOptions options, GaussianPrior gaussian, std::vector<at::Tensor> images)
    : options_((options.validate(), std::move(options))),
      gaussian_(std::move(gaussian)),
      images_(std::move(images)),
      weights_(as_leaves(UNet::initial_weights(DenoisingNetwork::config_for(gaussian_, options_.network), options_.seed), options_.device)),
      average_(copies(weights_, false)),
      first_moment_(copies(weights_, true)),
      second_moment_(copies(weights_, true)),
      network_(gaussian_, UNet(DenoisingNetwork::config_for(gaussian_, options_.network), weights_)),
      identity_(training_identity(options_, gaussian_, images_)) {
  if (images_.empty()) throw Error(ErrorKind::kBadData, "there is no slice to train on", "every scan is empty");
  if (options_.masked_fourier.share > 0 && gaussian_.basis() != SpectralBasis::kDft)
    throw Error(ErrorKind::kUsage, "training with Fourier masks in the DCT basis", "use the DFT basis, complex images");
}

// Independent masks and sigma_y for the samples of a batch, whose noise becomes that of their pivots.
void Trainer::add_masks(Batch& batch) const {
  const MaskedFourierTraining& how = options_.masked_fourier;
  const std::int64_t first = steps_done_ * kMaxBatch, n = batch.x0.size(0), height = batch.x0.size(2), width = batch.x0.size(3);
  std::vector<at::Tensor> masks;
  for (std::int64_t b = 0; b < n; ++b) masks.push_back(random_sampling_mask(height, width, RandomStreams(mask_seed(options_.seed), first + b, 1)));
  const at::Tensor place = RandomStreams(noise_seed(options_.seed), first, n).uniform(kSigmaY, {1}).view({n, 1, 1, 1});
  const at::Tensor sigma_y = (place * std::log(how.max_sigma_y / how.min_sigma_y)).exp() * how.min_sigma_y;
  const at::Tensor sigma = batch.sigma.view({n, 1, 1, 1}) * std::exp(how.log_sigma_shift);
  const at::Tensor precision = sigma.square().reciprocal() + at::stack(masks).unsqueeze(1) / sigma_y.square();
  batch.spectrum.emplace(gaussian_.basis(), precision.reciprocal().expand({n, batch.x0.size(1), height, width}).contiguous());
  batch.sigma = batch.spectrum->level();
  batch.noise = batch.spectrum->from_white(batch.noise) / batch.sigma.view({n, 1, 1, 1});
}

Trainer::Batch Trainer::draw_batch() const {
  const double chance = RandomStreams(step_seed(options_.seed), steps_done_, 1).uniform(kCropSize, {1}).item<double>();
  CropSize crop = options_.crops.back();
  double passed = 0.0;
  for (const CropSize& candidate : options_.crops) {
    passed += candidate.share;
    if (chance >= passed) continue;
    crop = candidate;
    break;
  }
  const std::int64_t n = std::clamp<std::int64_t>(options_.pixels_per_step / (crop.size * crop.size), 1, kMaxBatch);
  std::vector<at::Tensor> crops;
  const std::int64_t first = steps_done_ * kMaxBatch;
  const RandomStreams streams(noise_seed(options_.seed), first, n);
  const at::Tensor choice = streams.uniform(kImageChoice, {1}).flatten();
  for (std::int64_t b = 0; b < n; ++b) {
    const auto index = std::min(static_cast<std::size_t>(choice[b].item<double>() * static_cast<double>(images_.size())), images_.size() - 1);
    crops.push_back(augmented_crop(images_[index], crop.size, options_.augmentation, RandomStreams(crop_seed(options_.seed), first + b, 1)));
  }
  Batch batch;
  batch.x0 = at::stack(crops);
  if (gaussian_.basis() == SpectralBasis::kDft && !batch.x0.is_complex()) batch.x0 = at::complex(batch.x0, at::zeros_like(batch.x0));  // of phase 0
  batch.sigma = options_.process ? options_.process->sigma_of(streams.uniform(kLogSigma, {1}).flatten())
                                 : (streams.normal(kLogSigma, {1}, at::kFloat).flatten() * options_.sd_log_sigma + crop.mean_log_sigma).exp();
  batch.noise = streams.normal(kNoise, crops[0].sizes().vec(), batch.x0.scalar_type());
  if (options_.sliced) batch.projection = streams.normal(kProjection, crops[0].sizes().vec(), batch.x0.scalar_type());
  if (RandomStreams(step_seed(options_.seed), steps_done_, 1).uniform(kIsMasked, {1}).item<double>() < options_.masked_fourier.share) add_masks(batch);
  for (at::Tensor* part : {&batch.x0, &batch.noise, &batch.projection, &batch.sigma})
    if (part->defined()) *part = part->to(options_.device);
  if (batch.spectrum) batch.spectrum.emplace(gaussian_.basis(), batch.spectrum->variance().to(options_.device));
  return batch;
}

double Trainer::learning_rate() const {
  const double warm_up = std::min(1.0, static_cast<double>(steps_done_ + 1) / static_cast<double>(options_.n_warm_up_steps + 1));
  const std::int64_t left = options_.n_steps - steps_done_;
  const double decay = left >= options_.n_decay_steps ? 1.0 : static_cast<double>(left) / static_cast<double>(options_.n_decay_steps);
  return options_.learning_rate * warm_up * decay;
}

// AdamW with decoupled decay. [Loshchilov 2019]
void Trainer::update(double rate) {
  const at::NoGradGuard no_grad;
  const auto k = static_cast<double>(steps_done_ + 1);
  std::vector<at::Tensor> squares;
  for (auto& [name, weight] : weights_) squares.push_back(weight.grad().square().sum(at::kDouble));
  double squared_norm = 0.0;                   // one wait for a device, and sums in the order of the names
  for (const double square : on_host(at::stack(squares))) squared_norm += square;
  if (!std::isfinite(squared_norm)) throw Error(ErrorKind::kNumerical, "the gradient of step " + std::to_string(steps_done_) + " is not finite", "lower the learning rate");
  const double clip = std::min(1.0, options_.clip_norm / std::sqrt(std::max(squared_norm, 1e-30)));
  const double step_size = rate / (1.0 - std::pow(kBeta1, k)), second_scale = 1.0 / std::sqrt(1.0 - std::pow(kBeta2, k));
  const double keep = std::min(options_.average_decay, k / (k + 10.0));  // a short memory at first
  for (auto& [name, weight] : weights_) {
    const at::Tensor gradient = weight.grad() * clip;
    at::Tensor first = first_moment_.at(name), second = second_moment_.at(name);
    first.mul_(kBeta1).add_(gradient, 1.0 - kBeta1);
    second.mul_(kBeta2).addcmul_(gradient, gradient, 1.0 - kBeta2);
    if (weight.dim() > 1) weight.mul_(1.0 - rate * options_.weight_decay);
    weight.addcdiv_(first, (second.sqrt() * second_scale).add_(kEpsilon), -step_size);
    average_.at(name).mul_(keep).add_(weight, 1.0 - keep);
    weight.mutable_grad().reset();
  }
}

// The loss of each sample.
at::Tensor Trainer::loss_of(const Batch& batch) const {
  const bool is_complex = batch.x0.is_complex();
  const TrainedDenoiser denoiser = [&](const at::Tensor& x_t, const at::Tensor& sigma) {
    const at::Tensor images = is_complex ? at::view_as_complex(x_t) : x_t;
    return as_real(batch.spectrum ? network_.denoise(images, *batch.spectrum) : network_.denoise(images, sigma));
  };
  const at::Tensor x0 = as_real(batch.x0), noise = as_real(batch.noise);
  at::Tensor weight = at::ones_like(batch.sigma);
  if (options_.weighting) {
    const double sigma_data = std::sqrt(gaussian_.spectrum().mean(at::kDouble).item<double>());
    weight = image_weight(*options_.weighting, options_.process.value_or(NoiseProcess(NoiseProcess::Kind::kEdm, {})), batch.sigma, sigma_data);
  }
  at::Tensor loss;
  if (options_.sliced) {
    const at::Tensor x_t = batch.x0 + batch.sigma.view({-1, 1, 1, 1}) * batch.noise;
    loss = sliced_score_matching(denoiser, as_real(x_t), as_real(batch.projection), batch.sigma, weight, *options_.sliced);
  } else {
    loss = denoising_score_matching(denoiser, x0, noise, batch.sigma, weight);
  }
  if (options_.weighting) return loss;
  return loss / (batch.spectrum ? network_.output_scale(*batch.spectrum) : network_.output_scale(batch.sigma)).square();
}

double Trainer::step() {
  const MixedPrecision mixed(options_.device.is_cuda());
  const at::Tensor loss = loss_of(draw_batch()).mean();
  loss.backward();
  update(learning_rate());
  ++steps_done_;
  return loss.item<double>();
}

void Trainer::start_from(const std::filesystem::path& path) {
  const at::NoGradGuard no_grad;
  const SafeTensors content = read_safetensors(path);
  const auto found = [&](const std::string& name, const at::Tensor& like) -> const at::Tensor* {
    for (const char* prefix : {"network/", "average/"})
      if (const auto tensor = content.tensors.find(prefix + name); tensor != content.tensors.end() && tensor->second.sizes() == like.sizes()) return &tensor->second;
    return nullptr;
  };
  for (const auto& [name, weight] : weights_)
    if (!may_start_anew(name) && !found(name, weight))
      throw Error(ErrorKind::kBadData, "'" + path.string() + "' is of another network: it has no '" + name + "' of shape " + shape_text(weight.sizes()), "give a network prior of the same widths and blocks");
  for (auto& [name, weight] : weights_)
    if (const at::Tensor* tensor = found(name, weight)) {
      weight.copy_(*tensor);
      average_.at(name).copy_(*tensor);
    }
}

DenoisingNetwork Trainer::averaged() const { return DenoisingNetwork(gaussian_, UNet(network_.network().config(), copies(on_cpu(average_), false))); }

void Trainer::save_checkpoint(const std::filesystem::path& path) const {
  SafeTensors content;
  const std::pair<const char*, const Weights*> groups[] = {{"weight/", &weights_}, {"average/", &average_}, {"first/", &first_moment_}, {"second/", &second_moment_}};
  for (const auto& [prefix, group] : groups)
    for (const auto& [name, value] : *group) content.tensors[prefix + name] = value.detach().to(at::kCPU);
  content.metadata = identity_;
  content.metadata["format"] = kCheckpointFormat;
  content.metadata["steps"] = std::to_string(steps_done_);
  content.metadata[kContentHash] = content_sha256(content);
  write_text_atomically(path, safetensors_bytes(content));
}

void Trainer::resume(const std::filesystem::path& path) {
  const SafeTensors content = read_safetensors(path);
  const auto refuse = [&](const std::string& what, const std::string& hint) {
    throw Error(ErrorKind::kBadData, "checkpoint '" + path.string() + "' " + what, hint);
  };
  const auto text = [&](const std::string& key) {
    const auto found = content.metadata.find(key);
    if (found == content.metadata.end()) refuse("has no metadata '" + key + "'", "give a checkpoint of postrec train");
    return found->second;
  };
  if (text("format") != kCheckpointFormat) refuse("has format '" + text("format") + "'", std::string("this program reads ") + kCheckpointFormat);
  if (contradicts_its_hash(content)) refuse("is damaged: it does not hold what was written into it", "give another one, or begin anew");
  for (const auto& [what, mine] : identity_)
    if (const std::string its = text(what); its != mine)
      refuse("is of another training: " + what + " was " + its + ", is " + mine, "give what it was begun with, or begin a new training from it with --from");
  const std::string steps = text("steps");
  std::int64_t steps_done = -1;
  const auto [end, status] = std::from_chars(steps.data(), steps.data() + steps.size(), steps_done);
  if (status != std::errc() || end != steps.data() + steps.size() || steps_done < 0) refuse("has done '" + steps + "' steps", "it must be a whole number");
  if (steps_done > options_.n_steps) refuse("has done " + steps + " steps, " + std::to_string(options_.n_steps) + " are asked for", "give at least as many --steps");
  const at::NoGradGuard no_grad;
  const std::pair<const char*, Weights*> groups[] = {{"weight/", &weights_}, {"average/", &average_}, {"first/", &first_moment_}, {"second/", &second_moment_}};
  for (const auto& [prefix, group] : groups)
    for (auto& [name, value] : *group) {
      const auto found = content.tensors.find(prefix + name);
      if (found == content.tensors.end() || found->second.sizes() != value.sizes()) refuse("is of another network: '" + name + "'", "give the same architecture");
      value.copy_(found->second);
    }
  if (content.tensors.size() != 4 * weights_.size()) refuse("is of a larger network", "give the same architecture");
  steps_done_ = steps_done;
}

}  // namespace postrec
