#include "common/noise_estimate.hpp"

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

}  // namespace

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
  const double sigma = magnitudes.flatten().median().item<double>() / std::sqrt(2 * std::log(2.0));
  if (!(sigma > 0)) return std::nullopt;
  return sigma;
}

}  // namespace postrec
