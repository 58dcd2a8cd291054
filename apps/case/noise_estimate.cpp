#include "case/noise_estimate.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace postrec {
namespace {

constexpr std::int64_t kFewestPositions = 64;
constexpr double kFraction = 0.05;

/// Squared distance from DC at n/2, in units of the half width, along one axis.
at::Tensor squared_offset(std::int64_t n) {
  const at::Tensor offset = (at::arange(n, at::kDouble) - static_cast<double>(n / 2)) * (2.0 / static_cast<double>(n));
  return offset * offset;
}

/// x(i - 1) - 2 x(i) + x(i + 1) along an axis.
at::Tensor second_difference(const at::Tensor& x, std::int64_t axis) {
  const std::int64_t n = x.size(axis) - 2;
  return x.narrow(axis, 0, n) - 2 * x.narrow(axis, 1, n) + x.narrow(axis, 2, n);
}

}  // namespace

std::optional<NoiseEstimate> estimate_noise(const at::Tensor& y) {
  if (const auto sigma_y = estimate_kspace_noise(y))
    return NoiseEstimate{*sigma_y, "the outermost 5 % of the acquired k-space (median magnitude / 1.177)"};
  if (const auto sigma_y = estimate_smooth_noise(y))
    return NoiseEstimate{*sigma_y, "second differences of neighbouring data (median magnitude / 4.05)"};
  return std::nullopt;
}

std::optional<double> estimate_kspace_noise(const at::Tensor& y) {
  if (!y.is_complex() || y.dim() != 4) return std::nullopt;
  const at::Tensor acquired = at::nonzero(y.abs().amax({0, 1}).gt(0).reshape({-1})).squeeze(1);
  if (acquired.size(0) < kFewestPositions) return std::nullopt;
  const at::Tensor distance = (squared_offset(y.size(2)).unsqueeze(1) + squared_offset(y.size(3)).unsqueeze(0)).reshape({-1}).index_select(0, acquired);
  const auto n_outer = std::max(kFewestPositions, static_cast<std::int64_t>(kFraction * static_cast<double>(acquired.size(0))));
  // A stable sort: positions at one distance stay in order, so that the choice among them is the same everywhere.
  const at::Tensor order = at::argsort(distance, /*stable=*/true, /*dim=*/0, /*descending=*/true);
  const at::Tensor outermost = acquired.index_select(0, order.slice(0, 0, n_outer));
  const at::Tensor magnitudes = y.flatten(2).index_select(2, outermost).abs();
  // A slice or coil that was not measured there has zeros, which are no noise.
  const double sigma = magnitudes.masked_select(magnitudes.gt(0)).median().item<double>() / std::sqrt(2 * std::log(2.0));
  if (!(sigma > 0)) return std::nullopt;
  return sigma;
}

std::optional<double> estimate_smooth_noise(const at::Tensor& y) {
  constexpr std::int64_t kFewestDifferences = 1000;
  constexpr double kMedianOfNormal = 0.674490;  // median of |n|, n ~ N(0, 1)
  constexpr double kGain = 6.0;                // norm of [1 -2 1] times [1 -2 1]
  if (y.is_complex() || y.dim() < 3 || y.dim() > 4 || y.size(-1) < 3 || y.size(-2) < 3) return std::nullopt;
  const at::Tensor values = y.to(at::kDouble);
  const at::Tensor differences = second_difference(second_difference(values, -2), -1);
  const at::Tensor touches_gap = at::max_pool2d(values.eq(0).to(at::kFloat), {3, 3}, {1, 1}).gt(0);
  const at::Tensor kept = differences.masked_select(touches_gap.logical_not()).abs();
  if (kept.numel() < kFewestDifferences) return std::nullopt;
  const double sigma = kept.median().item<double>() / (kMedianOfNormal * kGain);
  if (!(sigma > 0)) return std::nullopt;
  return sigma;
}

}  // namespace postrec
