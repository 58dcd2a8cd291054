#include "inference_network.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "inference_kernels.hpp"
#include "unet_layer_names.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kSiluBlock = 1 << 14;  // numbers a thread takes at a time

struct alignas(64) CacheLine {
  float numbers[16];
};

bool processor_is_able() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

float* data(const at::Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }

std::int64_t up_to_multiple(std::int64_t n, std::int64_t of) { return (n + of - 1) / of * of; }

/// [out, in, 3, 3] -> G g G^T as [16, out / kPanel, in, kPanel], with zeros for the outputs that fill the last panel and the inputs that fill the last vector.
at::Tensor transformed_kernel(const at::Tensor& kernel) {
  const at::Tensor g = at::tensor({1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0.0, 0.0, 1.0}, at::kDouble).view({4, 3});
  const std::int64_t out = up_to_multiple(kernel.size(0), inference::kPanel), in = up_to_multiple(kernel.size(1), inference::kVector);
  const at::Tensor spread = at::matmul(kernel.to(at::kDouble).flatten(2), at::kron(g, g).t());  // [out, in, 16]
  const at::Tensor filled = at::constant_pad_nd(spread, {0, 0, 0, in - kernel.size(1), 0, out - kernel.size(0)});
  return filled.view({out / inference::kPanel, inference::kPanel, in, 16}).permute({3, 0, 2, 1}).to(at::kFloat).contiguous();
}

}  // namespace

std::shared_ptr<const InferenceNetwork> InferenceNetwork::make(const UNetConfig& config, const Weights& weights) {
  const auto fits = [](std::int64_t width) { return width % inference::kPanel == 0 && width <= inference::kMostChannels; };
  const auto is_fixed = [](const auto& entry) { return entry.second.is_cpu() && !entry.second.requires_grad(); };
  const bool able = processor_is_able() && at::globalContext().hasMKLDNN() && !config.group_norm && !config.attention &&
                    std::all_of(config.widths.begin(), config.widths.end(), fits) && std::all_of(weights.begin(), weights.end(), is_fixed);
  return able ? std::shared_ptr<const InferenceNetwork>(new InferenceNetwork(config, weights)) : nullptr;
}

InferenceNetwork::InferenceNetwork(const UNetConfig& config, const Weights& weights) : config_(config), weights_(weights) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, weight] : weights_) {
    if (weight.dim() != 4 || weight.size(2) != 3) continue;
    const std::string layer = name.substr(0, name.rfind('.'));
    if (layer != "input") prepare(layer);
    prepare_adjoint(layer);
  }
  prepare_joins();
}

void InferenceNetwork::prepare(const std::string& name) {
  const at::Tensor kernel = transformed_kernel(weights_.at(name + ".weight")), bias = weights_.at(name + ".bias");
  layers_[name] = {kernel, at::constant_pad_nd(bias, {0, kernel.size(1) * inference::kPanel - bias.size(0)})};
}

void InferenceNetwork::prepare_adjoint(const std::string& name) {
  const at::Tensor kernel = transformed_kernel(weights_.at(name + ".weight").transpose(0, 1).flip({2, 3}));
  layers_[name + ".adjoint"] = {kernel, at::zeros({kernel.size(1) * inference::kPanel})};
}

void InferenceNetwork::prepare_joins() {
  for (std::size_t level = 0; level + 1 < config_.widths.size(); ++level) {
    const std::int64_t width = config_.widths[level];
    const std::string join = level_name("join", level), grow = level_name("grow", level), shrink = level_name("shrink", level);
    const at::Tensor& kernel = weights_.at(join + ".weight");
    const at::Tensor coarse = kernel.narrow(1, 0, width), skip = kernel.narrow(1, width, width);
    layers_[join + ".coarse"] = {coarse.contiguous(), weights_.at(join + ".bias")};
    layers_[join + ".skip"] = {skip.contiguous(), {}};
    layers_[join + ".coarse.adjoint"] = {coarse.transpose(0, 1).contiguous(), {}};
    layers_[join + ".skip.adjoint"] = {skip.transpose(0, 1).contiguous(), {}};
    layers_[grow + ".adjoint"] = {weights_.at(grow + ".weight").transpose(0, 1).contiguous(), {}};
    // Each pixel of the coarse image has four of the fine one to itself: as many channels, for pixel_shuffle to lay out.
    layers_[shrink + ".adjoint"] = {weights_.at(shrink + ".weight").flatten(1).t().contiguous().unsqueeze(-1).unsqueeze(-1), {}};
  }
}

InferenceNetwork::Layer InferenceNetwork::layer(const std::string& name) const { return {weights_.at(name + ".weight"), weights_.at(name + ".bias")}; }

at::Tensor InferenceNetwork::empty_features(const at::Tensor& image, std::int64_t channels) {
  return at::empty({1, channels, image.size(2), image.size(3)}, image.options().memory_format(at::MemoryFormat::ChannelsLast));
}

at::Tensor InferenceNetwork::plain(const Layer& layer, const at::Tensor& x, std::int64_t stride) {
  const std::int64_t padding = layer.kernel.size(2) == 3 ? 1 : 0;
  return at::mkldnn_convolution(x, layer.kernel, layer.bias, {padding, padding}, {stride, stride}, {1, 1}, 1).contiguous(at::MemoryFormat::ChannelsLast);
}

InferenceNetwork::Features InferenceNetwork::activated(const at::Tensor& x) const {
  Features features{x, at::empty_like(x)};
  const float* const from = data(x);
  float* const to = data(features.activated);
  const std::int64_t count = x.numel();
  at::parallel_for(0, (count + kSiluBlock - 1) / kSiluBlock, 1, [&](std::int64_t begin, std::int64_t end) {
    inference::silu(from + begin * kSiluBlock, to + begin * kSiluBlock, std::min(end * kSiluBlock, count) - begin * kSiluBlock);
  });
  return features;
}

InferenceNetwork::Features InferenceNetwork::joined(std::int64_t level, const at::Tensor& coarse, const at::Tensor& skip) const {
  const std::string join = level_name("join", level);
  const at::Tensor low = plain(layers_.at(join + ".coarse"), plain(layer(level_name("grow", level)), coarse)), x = plain(layers_.at(join + ".skip"), skip);
  Features features{x, at::empty_like(x)};
  const std::int64_t channels = x.size(1), width = x.size(3), row = width * channels;
  const float* const from = data(low);
  float *const to = data(x), *const activated = data(features.activated);
  at::parallel_for(0, x.size(2), 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y)
      inference::add_doubled_row(from + y / 2 * (row / 2), to + y * row, activated + y * row, width, channels);
  });
  return features;
}

void InferenceNetwork::convolve(const std::string& name, const at::Tensor& x, const Outcome& outcome) const {
  const at::Tensor& kernel = layers_.at(name).kernel;
  const inference::Convolution convolution{data(x), data(kernel), data(outcome.scale), data(outcome.shift), data(outcome.slope_at),
                                           data(outcome.residual), data(outcome.out), data(outcome.activated), x.size(2), x.size(3), x.size(1), kernel.size(1) * inference::kPanel};
  const std::int64_t shares = (inference::tiles(convolution) + inference::kTiles - 1) / inference::kTiles;
  at::parallel_for(0, shares, 1, [&](std::int64_t begin, std::int64_t end) {
    static thread_local std::vector<CacheLine> scratch;  // kept: so large a block would come from the system, and be cleared by it, every time
    scratch.resize(inference::scratch_size(convolution) * sizeof(float) / sizeof(CacheLine));
    for (std::int64_t i = begin; i < end; ++i) inference::convolve_tiles(convolution, i * inference::kTiles, scratch[0].numbers);
  });
}

void InferenceNetwork::block(const std::string& name, Features& features, const at::Tensor& embedding, bool activate, Record* record) const {
  const auto film = at::linear(embedding, weights_.at(name + ".film.weight"), weights_.at(name + ".film.bias")).chunk(2, 1);
  const at::Tensor scale = (film[0] + 1.0).contiguous(), shift = at::addcmul(film[1], scale, layers_.at(name + ".conv1").bias).contiguous();
  const at::Tensor activated = at::empty_like(features.x), modulated = record ? at::empty_like(features.x) : at::Tensor();
  convolve(name + ".conv1", features.activated, {scale, shift, {}, modulated, activated});
  if (record) record->blocks.push_back({features.x, modulated, scale});
  const at::Tensor& bias = layers_.at(name + ".conv2").bias;
  const at::Tensor out = record ? at::empty_like(features.x) : features.x;
  convolve(name + ".conv2", activated, {at::ones_like(bias), bias, features.x, out, activate ? features.activated : at::Tensor()});
  features.x = out;
}

void InferenceNetwork::blocks(const char* way, std::int64_t level, Features& features, const at::Tensor& embedding, bool activate, Record* record) const {
  const std::int64_t count = config_.blocks[level];
  for (std::int64_t i = 0; i < count; ++i) block(block_name(way, level, i), features, embedding, activate || i + 1 < count, record);
}

at::Tensor InferenceNetwork::forward(const at::Tensor& x, const at::Tensor& embedding) const {
  std::vector<at::Tensor> answers;  // one by one: the features of one image stay in the cache
  for (std::int64_t b = 0; b < x.size(0); ++b) answers.push_back(forward_one(x.narrow(0, b, 1), embedding.narrow(0, b, 1), nullptr));
  return at::cat(answers);
}

at::Tensor InferenceNetwork::forward_one(const at::Tensor& x, const at::Tensor& embedding, Record* record) const {
  const auto levels = static_cast<std::int64_t>(config_.widths.size());
  Features features = activated(plain(layer("input"), x));
  std::vector<at::Tensor> skips;
  for (std::int64_t level = 0; level < levels; ++level) {
    blocks("down", level, features, embedding, levels == 1, record);
    if (level + 1 == levels) break;
    skips.push_back(features.x);
    features = activated(plain(layer(level_name("shrink", level)), features.x, 2));
  }
  for (std::int64_t level = levels - 2; level >= 0; --level) {
    features = joined(level, features.x, skips[level]);
    blocks("up", level, features, embedding, level == 0, record);
  }
  if (record) record->last = features.x;
  const at::Tensor& bias = layers_.at("output").bias;
  const at::Tensor out = empty_features(x, bias.size(0));
  convolve("output", features.activated, {at::ones_like(bias), bias, {}, out, {}});
  return out.narrow(1, 0, weights_.at("output.bias").size(0));
}

}  // namespace postrec
