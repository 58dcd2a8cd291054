#include "postrec/unet.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "../device_cache.hpp"
#include "inference_network.hpp"
#include "postrec/error.hpp"
#include "postrec/random.hpp"
#include "unet_layer_names.hpp"

namespace postrec {
namespace {

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

constexpr std::int64_t kWaves = 16;       // cosines and sines of the noise level
constexpr std::int64_t kGroupSize = 16;   // channels a group of the normalisation holds
constexpr double kSlowestWave = 0.25, kFastestWave = 8.0;  // over c_noise, whose range is about 3

constexpr std::int64_t kSiluBlock = 1 << 15;  // numbers that one call of ATen's silu sees

/// Whether bits must not depend on the number of threads: using a network on the CPU, as against training it.
bool in_fixed_order(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && !at::GradMode::is_enabled() && at::globalContext().hasMKLDNN();
}

// _convolution chooses by size and threads between oneDNN and a product of matrices, which add up in another order.
at::Tensor convolved(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& bias, std::int64_t stride, std::int64_t padding, bool allow_tf32) {
  if (in_fixed_order(x)) return at::mkldnn_convolution(x, kernel, bias, {padding, padding}, {stride, stride}, {1, 1}, 1);
  // Not conv2d, for which TF32 is a setting of the whole process, whoever else computes in it, and allowed unless told otherwise.
  const at::Context& context = at::globalContext();
  return at::_convolution(x, kernel, bias, {stride, stride}, {padding, padding}, {1, 1}, /*transposed=*/false, {0, 0}, /*groups=*/1, context.benchmarkCuDNN(),
                          context.deterministicCuDNN(), context.userEnabledCuDNN(), allow_tf32);
}

/// The layers of the noise level: a ten-thousandth of the work, and every pixel hangs on them.
bool is_of_noise_level(const std::string& name) { return name.rfind("embedding", 0) == 0 || name.find(".film.") != std::string::npos; }

at::Tensor in_numbers_of(NetworkPrecision precision, const std::string& name, const at::Tensor& weight) {
  if (is_of_noise_level(name)) return weight;
  if (precision == NetworkPrecision::kBfloat16) return weight.to(at::kBFloat16);
  return weight.dim() == 4 ? rounded(weight, precision) : weight;
}

// The last numbers of a thread's share do not fill a vector and take another exponential; in fixed blocks they are the same for any number of threads.
at::Tensor activated(const at::Tensor& x) {
  if (!in_fixed_order(x) || !x.is_non_overlapping_and_dense()) return at::silu(x);
  at::Tensor result = at::empty_like(x);
  const at::Tensor from = x.as_strided({x.numel()}, {1}), to = result.as_strided({x.numel()}, {1});
  const bool inference = c10::InferenceMode::is_enabled();
  at::parallel_for(0, (x.numel() + kSiluBlock - 1) / kSiluBlock, 1, [&](std::int64_t begin, std::int64_t end) {
    const c10::InferenceMode mode(inference);
    const at::NoGradGuard no_grad;             // neither mode goes along to another thread
    for (std::int64_t start = begin * kSiluBlock; start < std::min(end * kSiluBlock, x.numel()); start += kSiluBlock) {
      const std::int64_t length = std::min(kSiluBlock, x.numel() - start);
      at::Tensor part = to.narrow(0, start, length);
      at::silu_out(part, from.narrow(0, start, length));
    }
  });
  return result;
}

void add_layer(Shapes& shapes, const std::string& name, std::vector<std::int64_t> weight) {
  shapes[name + ".bias"] = {weight[0]};
  shapes[name + ".weight"] = std::move(weight);
}

void add_norm(Shapes& shapes, const std::string& name, std::int64_t channels) {
  shapes[name + ".weight"] = {channels};
  shapes[name + ".bias"] = {channels};
}

void add_block(Shapes& shapes, const UNetConfig& config, const std::string& name, std::int64_t width) {
  add_layer(shapes, name + ".conv1", {width, width, 3, 3});
  add_layer(shapes, name + ".conv2", {width, width, 3, 3});
  add_layer(shapes, name + ".film", {2 * width, config.embedding});
  if (!config.group_norm) return;
  add_norm(shapes, name + ".norm1", width);
  add_norm(shapes, name + ".norm2", width);
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// at::reflection_pad2d at the end of rows and columns, whose derivative on CUDA adds in any order, so that samples of one seed would differ in their last bits.
at::Tensor with_reflections(const at::Tensor& x, std::int64_t below, std::int64_t right) {
  at::Tensor h = x;
  for (const auto& [axis, more] : {std::pair<std::int64_t, std::int64_t>{3, right}, {2, below}})
    if (const std::int64_t n = h.size(axis); more > 0) h = at::cat({h, h.slice(axis, n - 1 - more, n - 1).flip(axis)}, axis);
  return h;
}

}  // namespace

void UNetConfig::validate() const {
  const auto all_within = [](const std::vector<std::int64_t>& values, std::int64_t low, std::int64_t high) {
    for (const std::int64_t value : values)
      if (value < low || value > high) return false;
    return !values.empty();
  };
  const bool good = in_channels > 0 && in_channels <= 64 && out_channels > 0 && out_channels <= 64 && all_within(widths, 1, 4096) && widths.size() <= 8 &&
                    all_within(blocks, 1, 64) && blocks.size() == widths.size() && embedding > 0 && embedding <= 4096 && conditions >= 0 && conditions <= 4096 &&
                    (unshuffle == 1 || unshuffle == 2 || unshuffle == 4);
  if (!good) throw Error(ErrorKind::kBadData, "a network of impossible size", "give 1 to 8 widths and as many numbers of blocks; unshuffle 1, 2 or 4");
  for (const std::int64_t width : widths)
    if (group_norm && width % kGroupSize != 0) throw Error(ErrorKind::kBadData, "width " + std::to_string(width) + " with group normalisation", "give multiples of 16");
}

std::map<std::string, std::vector<std::int64_t>> UNet::shapes(const UNetConfig& config) {
  config.validate();
  Shapes shapes;
  const auto levels = static_cast<std::int64_t>(config.widths.size());
  const std::int64_t fold = config.unshuffle * config.unshuffle;
  add_layer(shapes, "embedding1", {config.embedding, 2 * kWaves});
  add_layer(shapes, "embedding2", {config.embedding, config.embedding});
  if (config.conditions > 0) shapes[kConditionLayer] = {config.embedding, config.conditions};
  add_layer(shapes, "input", {config.widths[0], config.in_channels * fold, 3, 3});
  add_layer(shapes, "output", {config.out_channels * fold, config.widths[0], 3, 3});
  for (std::int64_t level = 0; level < levels; ++level) {
    const std::int64_t width = config.widths[level];
    for (std::int64_t i = 0; i < config.blocks[level]; ++i) {
      add_block(shapes, config, block_name("down", level, i), width);
      if (level + 1 < levels) add_block(shapes, config, block_name("up", level, i), width);
    }
    if (level + 1 == levels) break;
    add_layer(shapes, level_name("shrink", level), {config.widths[level + 1], width, 2, 2});
    add_layer(shapes, level_name("grow", level), {width, config.widths[level + 1], 1, 1});
    add_layer(shapes, level_name("join", level), {width, 2 * width, 1, 1});
  }
  const std::int64_t deepest = config.widths.back();
  if (config.attention) {
    add_layer(shapes, "attention.qkv", {3 * deepest, deepest, 1, 1});
    add_layer(shapes, "attention.out", {deepest, deepest, 1, 1});
  }
  if (config.group_norm) add_norm(shapes, "norm", config.widths[0]);
  return shapes;
}

Weights UNet::initial_weights(const UNetConfig& config, std::uint64_t seed) {
  Weights weights;
  const RandomStreams streams(seed, 0, 1);
  std::uint64_t draw = 0;
  for (const auto& [name, shape] : shapes(config)) {
    if (name == kConditionLayer) {
      weights[name] = at::zeros(shape, at::kFloat);
      continue;  // and takes no number of the draws: the other layers start as without it
    }
    const bool is_norm = name.find("norm") != std::string::npos;
    const bool starts_at_zero = ends_with(name, ".bias") || ends_with(name, ".conv2.weight") || ends_with(name, ".film.weight") || name == "output.weight" ||
                                name == "attention.out.weight";
    if (starts_at_zero) {
      weights[name] = at::zeros(shape, at::kFloat);
    } else if (is_norm) {
      weights[name] = at::ones(shape, at::kFloat);
    } else {
      std::int64_t fan_in = 1;
      for (std::size_t axis = 1; axis < shape.size(); ++axis) fan_in *= shape[axis];
      weights[name] = streams.normal(draw, shape, at::kFloat).squeeze(0) * std::sqrt(2.0 / static_cast<double>(fan_in));
    }
    ++draw;
  }
  return weights;
}

/// This network on the devices that its images came from.
class UNet::Placements : public DeviceCache<std::shared_ptr<const UNet>> {};

UNet::UNet(UNetConfig config, Weights weights) : config_(std::move(config)), weights_(std::move(weights)) {
  const auto expected = shapes(config_);
  for (const auto& [name, shape] : expected) {
    const auto found = weights_.find(name);
    if (found == weights_.end()) throw Error(ErrorKind::kBadData, "the network lacks the tensor '" + name + "'", "train the prior again");
    if (found->second.sizes() != at::IntArrayRef(shape) || found->second.scalar_type() != at::kFloat)
      throw Error(ErrorKind::kBadData, "the network's tensor '" + name + "' has the wrong shape or type", "train the prior again");
  }
  if (weights_.size() != expected.size()) throw Error(ErrorKind::kBadData, "the network has tensors that its architecture does not", "train the prior again");
  for (auto& [name, value] : weights_)
    if (value.dim() == 4) value = value.contiguous(at::MemoryFormat::ChannelsLast);
  const bool fixed = std::none_of(weights_.begin(), weights_.end(), [](const auto& entry) { return entry.second.requires_grad(); });
  if (fixed) placements_ = std::make_shared<Placements>();
#ifdef __x86_64__
  inference_ = InferenceNetwork::make(config_, weights_);
#endif
}

UNet UNet::in_precision(NetworkPrecision precision) const {
  UNet network = *this;
  network.precision_ = precision;
  network.placements_ = std::make_shared<Placements>();
  return network;
}

std::shared_ptr<const UNet> UNet::placed_on(const c10::Device& device) const {
  auto network = std::make_shared<UNet>(*this);
  for (auto& [name, weight] : network->weights_) weight = in_numbers_of(precision_, name, weight.detach()).to(device);
  network->inference_ = nullptr;
  network->placements_ = nullptr;
  return network;
}

at::Tensor UNet::embed(const at::Tensor& c_noise, const at::Tensor& condition) const {
  const at::Tensor frequencies = at::logspace(std::log10(kSlowestWave), std::log10(kFastestWave), kWaves, 10.0, c_noise.options()) * (2.0 * M_PI);
  const at::Tensor angles = c_noise.unsqueeze(1) * frequencies;
  const at::Tensor waves = at::cat({at::cos(angles), at::sin(angles)}, 1);
  at::Tensor hidden = at::linear(waves, weight("embedding1.weight"), weight("embedding1.bias"));
  if (condition.defined()) hidden = hidden + at::linear(condition, weight(kConditionLayer));
  return activated(at::linear(activated(hidden), weight("embedding2.weight"), weight("embedding2.bias")));
}

at::Tensor UNet::convolution(const std::string& name, const at::Tensor& x, std::int64_t stride) const {
  const at::Tensor& kernel = weight(name + ".weight");
  const std::int64_t padding = kernel.size(2) == 3 ? 1 : 0;
  const bool tf32 = precision_ == NetworkPrecision::kTf32;
  return convolved(tf32 && x.is_cpu() ? rounded(x, precision_) : x, kernel, weight(name + ".bias"), stride, padding, tf32);
}

at::Tensor UNet::normalized(const std::string& name, const at::Tensor& x) const {
  if (!config_.group_norm) return x;
  return at::group_norm(x, x.size(1) / kGroupSize, weight(name + ".weight"), weight(name + ".bias"));
}

at::Tensor UNet::block(const std::string& name, const at::Tensor& x, const at::Tensor& embedding) const {
  at::Tensor h = convolution(name + ".conv1", activated(normalized(name + ".norm1", x)));
  const auto film = at::linear(embedding, weight(name + ".film.weight"), weight(name + ".film.bias")).unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
  h = at::addcmul(film[1].to(h.scalar_type()), normalized(name + ".norm2", h), (film[0] + 1.0).to(h.scalar_type()));
  return x + convolution(name + ".conv2", activated(h));
}

at::Tensor UNet::attended(const at::Tensor& x) const {
  const auto qkv = convolution("attention.qkv", x).flatten(2).transpose(1, 2).chunk(3, 2);
  const at::Tensor mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
  return x + convolution("attention.out", mixed.transpose(1, 2).reshape_as(x));
}

at::Tensor UNet::features(const at::Tensor& x, const at::Tensor& embedding) const {
#ifdef __x86_64__
  if (inference_ && x.is_cpu() && x.scalar_type() == at::kFloat)
    return at::GradMode::is_enabled() && x.requires_grad() ? InferenceNetwork::differentiable(inference_, x, embedding) : inference_->forward(x, embedding);
#endif
  const auto levels = static_cast<std::int64_t>(config_.widths.size());
  at::Tensor h = convolution("input", x);
  std::vector<at::Tensor> skips;
  for (std::int64_t level = 0; level < levels; ++level) {
    for (std::int64_t i = 0; i < config_.blocks[level]; ++i) h = block(block_name("down", level, i), h, embedding);
    if (level + 1 == levels) break;
    skips.push_back(h);
    h = convolution(level_name("shrink", level), h, 2);
  }
  if (config_.attention) h = attended(h);
  for (std::int64_t level = levels - 2; level >= 0; --level) {
    h = at::upsample_nearest2d(convolution(level_name("grow", level), h), {skips[level].size(2), skips[level].size(3)});
    h = convolution(level_name("join", level), at::cat({h, skips[level]}, 1));
    for (std::int64_t i = 0; i < config_.blocks[level]; ++i) h = block(block_name("up", level, i), h, embedding);
  }
  return convolution("output", activated(normalized("norm", h)));
}

at::Tensor UNet::forward(const at::Tensor& x, const at::Tensor& c_noise, const at::Tensor& condition) const {
  if (placements_ && (precision_ != NetworkPrecision::kFloat32 || x.device() != weights_.begin()->second.device()))
    return placements_->get(x.device(), [&] { return placed_on(x.device()); })->forward(x, c_noise, condition);
  const std::int64_t cell = config_.unshuffle << (config_.widths.size() - 1);
  const std::int64_t height = x.size(2), width = x.size(3);
  const std::int64_t below = (cell - height % cell) % cell, right = (cell - width % cell) % cell;
  // Reflection needs an image larger than what it adds.
  const bool can_reflect = below < height && right < width;
  at::Tensor h = below + right == 0 ? x : can_reflect ? with_reflections(x, below, right) : at::constant_pad_nd(x, {0, right, 0, below});
  if (config_.unshuffle > 1) h = at::pixel_unshuffle(h, config_.unshuffle);
  if (precision_ == NetworkPrecision::kBfloat16) h = h.to(at::kBFloat16);
  h = features(h.contiguous(at::MemoryFormat::ChannelsLast), embed(c_noise, condition));
  if (precision_ == NetworkPrecision::kBfloat16) h = h.to(at::kFloat);
  if (config_.unshuffle > 1) h = at::pixel_shuffle(h, config_.unshuffle);
  return h.slice(2, 0, height).slice(3, 0, width);
}

}  // namespace postrec
