#include "postrec/augmentation.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace postrec {
namespace {

enum Draw : std::uint64_t { kChoices = 0, kPhaseWaves = 1 };
constexpr std::int64_t kChoiceCount = 16;
constexpr std::int64_t kWaves = 3;  // half-waves of phase across the image, along each axis, as simulated scans have

/// Uniform numbers, used up one after the other.
class Choices {
 public:
  explicit Choices(const RandomStreams& stream) : values_(stream.uniform(kChoices, {kChoiceCount}).flatten().contiguous()) {}
  double uniform() { return values_.const_data_ptr<float>()[next_++]; }
  double symmetric(double limit) { return (2.0 * uniform() - 1.0) * limit; }
  bool coin(double probability = 0.5) { return uniform() < probability; }

 private:
  at::Tensor values_;
  std::int64_t next_ = 0;
};

struct Window {
  std::int64_t top = 0;
  std::int64_t left = 0;
};

// May begin before the image and end after it where the image is the smaller.
std::int64_t place(std::int64_t length, std::int64_t size, double chance) {
  const std::int64_t room = std::abs(length - size);
  const auto offset = std::min(static_cast<std::int64_t>(chance * static_cast<double>(room + 1)), room);
  return length >= size ? offset : -offset;
}

at::Tensor cut(const at::Tensor& image, const Window& window, std::int64_t size) {
  const std::int64_t height = image.size(1), width = image.size(2);
  const std::int64_t top = std::max<std::int64_t>(window.top, 0), left = std::max<std::int64_t>(window.left, 0);
  const std::int64_t bottom = std::min(window.top + size, height), right = std::min(window.left + size, width);
  const at::Tensor inside = image.slice(1, top, bottom).slice(2, left, right);
  return at::constant_pad_nd(inside, {left - window.left, window.left + size - right, top - window.top, window.top + size - bottom});
}

// The fuller of two places: most of a scan is air, of which there is little to learn.
Window choose_window(const at::Tensor& image, std::int64_t size, Choices& choices) {
  Window windows[2];
  double fullness[2];
  for (int i = 0; i < 2; ++i) {
    windows[i].top = place(image.size(1), size, choices.uniform());
    windows[i].left = place(image.size(2), size, choices.uniform());
    fullness[i] = cut(image, windows[i], size).abs().mean().item<double>();
  }
  return windows[fullness[0] >= fullness[1] ? 0 : 1];
}

// The window seen through a rotation by `angle` and an enlargement by exp(log_zoom) about its centre.
at::Tensor warp(const at::Tensor& image, const Window& window, std::int64_t size, double angle, double log_zoom) {
  const double step = std::exp(-log_zoom);
  const auto half = static_cast<double>(size - 1) / 2.0;
  const at::Tensor offset = (at::arange(size, at::kFloat) - half) * step;
  const at::Tensor rows = std::cos(angle) * offset.unsqueeze(1) + std::sin(angle) * offset.unsqueeze(0) + (static_cast<double>(window.top) + half);
  const at::Tensor columns = std::cos(angle) * offset.unsqueeze(0) - std::sin(angle) * offset.unsqueeze(1) + (static_cast<double>(window.left) + half);
  const auto normalized = [](const at::Tensor& position, std::int64_t n) { return (2.0 * position + 1.0) / static_cast<double>(n) - 1.0; };
  const at::Tensor grid = at::stack({normalized(columns, image.size(2)), normalized(rows, image.size(1))}, -1).unsqueeze(0);
  constexpr std::int64_t kBicubic = 2, kZeros = 0;
  return at::grid_sampler(image.unsqueeze(0), grid, kBicubic, kZeros, /*align_corners=*/false).squeeze(0);
}

at::Tensor flipped(at::Tensor crop, Choices& choices) {
  if (choices.coin()) crop = crop.flip({1});
  if (choices.coin()) crop = crop.flip({2});
  return choices.coin() ? crop.transpose(1, 2) : crop;
}

at::Tensor half_waves(std::int64_t first, std::int64_t size, std::int64_t length) {
  const at::Tensor position = (at::arange(first, first + size, at::kFloat) + 0.5) * (M_PI / static_cast<double>(length));
  return at::cos(at::outer(position, at::arange(kWaves, at::kFloat)));
}

at::Tensor phase_rad(const at::Tensor& image, const Window& window, std::int64_t size, double constant, const RandomStreams& stream) {
  const at::Tensor order = at::arange(kWaves, at::kFloat);
  const at::Tensor amplitudes = stream.normal(kPhaseWaves, {kWaves, kWaves}, at::kFloat).squeeze(0) / (1.0 + order.unsqueeze(1) + order.unsqueeze(0));
  const at::Tensor rows = half_waves(window.top, size, image.size(1)), columns = half_waves(window.left, size, image.size(2));
  return at::matmul(at::matmul(rows, amplitudes), columns.t()) + 2.0 * M_PI * constant;
}

}  // namespace

at::Tensor augmented_crop(const at::Tensor& image, std::int64_t size, const Augmentation& how, const RandomStreams& stream) {
  Choices choices(stream);
  const Window window = choose_window(image, size, choices);
  const bool warped = choices.coin(how.warped_share);
  const double angle = choices.symmetric(how.max_rotation_rad), log_zoom = choices.symmetric(how.max_log_zoom);
  const double gain = std::exp(choices.symmetric(how.max_log_gain)), gamma = std::exp(choices.symmetric(how.max_log_gamma));
  const double constant_phase = choices.uniform();
  at::Tensor crop = warped ? warp(image, window, size, angle, log_zoom) : cut(image, window, size);
  if (how.max_log_gamma > 0.0) crop = crop.clamp_min(0.0).pow(gamma);
  if (how.max_log_gain > 0.0) crop = crop * gain;
  if (how.smooth_phase) crop = at::polar(crop.clamp_min(0.0), phase_rad(image, window, size, constant_phase, stream).expand_as(crop));
  return (how.flips ? flipped(crop, choices) : crop).contiguous();
}

}  // namespace postrec
