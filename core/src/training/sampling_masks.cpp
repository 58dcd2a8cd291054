#include "sampling_masks.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace postrec {
namespace {

enum Draw : std::uint64_t { kChoices = 0, kWaits = 1 };
constexpr double kMinAcceleration = 2.0, kMaxAcceleration = 12.0;
constexpr double kPlaneShare = 0.3, kEquispacedShare = 0.3;  // of the masks; the rest are lines of variable density

std::vector<double> uniforms(const RandomStreams& stream, Draw draw, std::int64_t n) {
  const at::Tensor values = stream.uniform(draw, {n}).flatten().contiguous();
  return {values.const_data_ptr<float>(), values.const_data_ptr<float>() + n};
}

std::int64_t count_for(std::int64_t n, double acceleration) {
  return std::max<std::int64_t>(1, std::llround(static_cast<double>(n) / acceleration));
}

double offset_from_dc(std::int64_t i, std::int64_t n) { return std::abs(static_cast<double>(i - n / 2)) / (0.5 * static_cast<double>(n)); }

// [Lustig 2007]
double falling_density(double radius) { return std::max(std::pow(std::max(1.0 - radius, 0.0), 3.0), 0.01); }

/// Acquires n more entries of `mask`, drawn without replacement with a density: shortest exponential waiting time first [Efraimidis 2006].
template <class Density>
void add_by_density(std::vector<float>& mask, std::int64_t n, const std::vector<double>& chances, const Density& density) {
  std::vector<std::pair<double, std::int64_t>> waiting;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(mask.size()); ++i)
    if (mask[i] == 0.0F) waiting.emplace_back(-std::log1p(-chances[i]) / density(i), i);
  std::sort(waiting.begin(), waiting.end());
  for (std::int64_t k = 0; k < n; ++k) mask[waiting[k].second] = 1.0F;
}

/// n more entries, evenly over those that are not in the block of n_acs around DC.
void add_evenly(std::vector<float>& mask, std::int64_t n, std::int64_t n_acs, double offset) {
  const auto length = static_cast<std::int64_t>(mask.size());
  const std::int64_t start = length / 2 - n_acs / 2 + n_acs;
  const double spacing = static_cast<double>(length - n_acs) / static_cast<double>(std::max<std::int64_t>(n, 1));
  for (std::int64_t k = 0; k < n; ++k) mask[(start + static_cast<std::int64_t>((static_cast<double>(k) + offset) * spacing)) % length] = 1.0F;
}

}  // namespace

at::Tensor random_sampling_mask(std::int64_t height, std::int64_t width, const RandomStreams& stream) {
  const std::vector<double> choices = uniforms(stream, kChoices, 5);
  const double acceleration = kMinAcceleration * std::pow(kMaxAcceleration / kMinAcceleration, choices[0]);
  const double kind = choices[1], calibration_share = choices[2] / 3.0;
  if (kind < kPlaneShare) {
    const std::int64_t n = height * width, n_acquired = count_for(n, acceleration);
    const auto side = std::min({static_cast<std::int64_t>(std::sqrt(calibration_share * static_cast<double>(n_acquired))), height, width});
    std::vector<float> mask(n, 0.0F);
    for (std::int64_t y = 0; y < side; ++y) std::fill_n(mask.begin() + (height / 2 - side / 2 + y) * width + (width / 2 - side / 2), side, 1.0F);
    const bool is_even = choices[3] < 0.5;
    add_by_density(mask, n_acquired - side * side, uniforms(stream, kWaits, n), [&](std::int64_t i) {
      return is_even ? 1.0 : falling_density(std::hypot(offset_from_dc(i / width, height), offset_from_dc(i % width, width)));
    });
    return at::tensor(mask, at::kFloat).view({height, width});
  }
  const bool along_rows = choices[3] < 0.5;
  const std::int64_t n = along_rows ? height : width, n_acquired = count_for(n, acceleration);
  const auto n_acs = static_cast<std::int64_t>(calibration_share * static_cast<double>(n_acquired));
  std::vector<float> lines(n, 0.0F);
  std::fill_n(lines.begin() + (n / 2 - n_acs / 2), n_acs, 1.0F);
  if (kind < kPlaneShare + kEquispacedShare) {
    add_evenly(lines, n_acquired - n_acs, n_acs, choices[4]);
  } else {
    add_by_density(lines, n_acquired - n_acs, uniforms(stream, kWaits, n), [&](std::int64_t i) { return falling_density(offset_from_dc(i, n)); });
  }
  const at::Tensor mask = at::tensor(lines, at::kFloat);
  return (along_rows ? mask.unsqueeze(1) : mask.unsqueeze(0)).expand({height, width}).contiguous();
}

}  // namespace postrec
