#include "postrec/trainer.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/random.hpp"
#include "../safetensors.hpp"

namespace postrec {
namespace {

enum Draw : std::uint64_t { kCropSize = 0, kImageChoice = 0, kLogSigma = 1, kNoise = 2 };
constexpr double kBeta1 = 0.9, kBeta2 = 0.99, kEpsilon = 1e-8;
constexpr std::int64_t kMaxBatch = 1024;
constexpr const char* kCheckpointFormat = "postrec-checkpoint/1";

// Seeds of the independent kinds of chance.
std::uint64_t step_seed(std::uint64_t seed) { return seed * 4 + 1; }
std::uint64_t crop_seed(std::uint64_t seed) { return seed * 4 + 2; }
std::uint64_t noise_seed(std::uint64_t seed) { return seed * 4 + 3; }

Weights as_leaves(Weights weights) {
  for (auto& [name, value] : weights) {
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

}  // namespace

struct Trainer::Batch {
  at::Tensor x0;     ///< [B, C, n, n]
  at::Tensor x_t;
  at::Tensor sigma;  ///< [B]
};

void TrainingOptions::validate() const {
  const auto require = [](bool good, const std::string& what) {
    if (!good) throw Error(ErrorKind::kUsage, "training with " + what, "see postrec train --help");
  };
  network.validate();
  require(n_steps > 0 && n_decay_steps >= 0 && n_decay_steps <= n_steps && n_warm_up_steps >= 0, "an impossible number of steps");
  require(learning_rate > 0 && weight_decay >= 0 && clip_norm > 0, "an impossible learning rate, weight decay or clipping norm");
  require(average_decay >= 0 && average_decay < 1, "an impossible moving average");
  double shares = 0.0;
  for (const CropSize& crop : crops) {
    require(crop.size >= 8 && crop.share >= 0, "an impossible crop");
    shares += crop.share;
  }
  require(std::abs(shares - 1.0) < 1e-6, "shares of crop sizes that do not add up to 1");
}

Trainer::Trainer(TrainingOptions options, GaussianPrior gaussian, std::vector<at::Tensor> images)
    : options_((options.validate(), std::move(options))),
      gaussian_(std::move(gaussian)),
      images_(std::move(images)),
      weights_(as_leaves(UNet::initial_weights(DenoisingNetwork::config_for(gaussian_, options_.network), options_.seed))),
      average_(copies(weights_, false)),
      first_moment_(copies(weights_, true)),
      second_moment_(copies(weights_, true)),
      network_(gaussian_, UNet(DenoisingNetwork::config_for(gaussian_, options_.network), weights_)) {
  if (images_.empty()) throw Error(ErrorKind::kBadData, "there is no slice to train on", "every scan is empty");
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
  batch.sigma = (streams.normal(kLogSigma, {1}, at::kFloat).flatten() * options_.sd_log_sigma + crop.mean_log_sigma).exp();
  const at::Tensor noise = streams.normal(kNoise, crops[0].sizes().vec(), batch.x0.scalar_type());
  batch.x_t = batch.x0 + batch.sigma.view({-1, 1, 1, 1}) * noise;
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
  double squared_norm = 0.0;
  for (auto& [name, weight] : weights_) squared_norm += weight.grad().square().sum(at::kDouble).item<double>();
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

double Trainer::step() {
  const Batch batch = draw_batch();
  const at::Tensor error = network_.denoise(batch.x_t, batch.sigma) - batch.x0;
  const at::Tensor squared = error.is_complex() ? at::view_as_real(error).square().flatten(1) : error.square().flatten(1);
  const at::Tensor loss = (squared.mean(1) / network_.output_scale(batch.sigma).square()).mean();
  loss.backward();
  update(learning_rate());
  ++steps_done_;
  return loss.item<double>();
}

DenoisingNetwork Trainer::averaged() const { return DenoisingNetwork(gaussian_, UNet(network_.network().config(), copies(average_, false))); }

void Trainer::save_checkpoint(const std::filesystem::path& path) const {
  SafeTensors content;
  const std::pair<const char*, const Weights*> groups[] = {{"weight/", &weights_}, {"average/", &average_}, {"first/", &first_moment_}, {"second/", &second_moment_}};
  for (const auto& [prefix, group] : groups)
    for (const auto& [name, value] : *group) content.tensors[prefix + name] = value.detach();
  content.metadata = {{"format", kCheckpointFormat}, {"steps", std::to_string(steps_done_)}, {"seed", std::to_string(options_.seed)},
                      {"images", std::to_string(images_.size())}};
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
  if (text("seed") != std::to_string(options_.seed)) refuse("is of seed " + text("seed"), "give the same --seed");
  if (text("images") != std::to_string(images_.size())) refuse("is of " + text("images") + " slices, not " + std::to_string(images_.size()), "give the same scans");
  const at::NoGradGuard no_grad;
  const std::pair<const char*, Weights*> groups[] = {{"weight/", &weights_}, {"average/", &average_}, {"first/", &first_moment_}, {"second/", &second_moment_}};
  for (const auto& [prefix, group] : groups)
    for (auto& [name, value] : *group) {
      const auto found = content.tensors.find(prefix + name);
      if (found == content.tensors.end() || found->second.sizes() != value.sizes()) refuse("is of another network: '" + name + "'", "give the same architecture");
      value.copy_(found->second);
    }
  steps_done_ = std::stoll(text("steps"));
}

}  // namespace postrec
