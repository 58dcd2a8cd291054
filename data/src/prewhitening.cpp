#include "prewhitening.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "postrec/whitened_operator.hpp"

namespace postrec {

namespace {

constexpr std::int64_t kFewestSamplesPerCoil = 4;
constexpr std::int64_t kFewestPositionsPerCoil = 16;
constexpr double kEdge = 0.05;                // of the acquired positions
constexpr double kInside = 0.25;              // where the band begins that the edge is compared with
constexpr double kSmallestEigenvalue = 1e-6;  // of the largest, of the correlations; in float32 there is no smaller one

/// Squared distance from DC at n/2, in half widths.
at::Tensor squared_distance(std::int64_t n) { return ((at::arange(n, at::kDouble) - static_cast<double>(n / 2)) * (2.0 / static_cast<double>(n))).square(); }

/// Of the acquired positions of [ky, kx], flat, those behind the outermost `begin` (a share of them): as many as the edge has. Undefined when there are too
/// few.
at::Tensor band_of_positions(const at::Tensor& kspace, const at::Tensor& mask, double begin) {
  const at::Tensor acquired = at::nonzero(mask.reshape({-1})).squeeze(1);
  const at::Tensor distance =
      (squared_distance(kspace.size(2)).unsqueeze(1) + squared_distance(kspace.size(3)).unsqueeze(0)).reshape({-1}).index_select(0, acquired);
  const std::int64_t n_acquired = acquired.size(0), first = static_cast<std::int64_t>(begin * static_cast<double>(n_acquired));
  const std::int64_t n = std::max(static_cast<std::int64_t>(kEdge * static_cast<double>(n_acquired)), kFewestPositionsPerCoil * kspace.size(1));
  if (2 * (first + n) > n_acquired) return {};
  const at::Tensor order = at::argsort(distance, /*stable=*/true, /*dim=*/0, /*descending=*/true);
  return acquired.index_select(0, order.slice(0, first, first + n));
}

/// Their samples: [coil, slice * position].
at::Tensor samples_at(const at::Tensor& kspace, const at::Tensor& rim) {
  const std::int64_t n_coils = kspace.size(1);
  return kspace.flatten(2).index_select(2, rim).transpose(0, 1).reshape({n_coils, -1});
}

double median_sigma(const at::Tensor& samples) { return samples.abs().flatten().median().item<double>() / std::sqrt(2 * std::log(2.0)); }

/// Whether the eigenvalues of the coils' covariance are no further apart than those of white noise, with half as much to spare. [Marchenko 1967]
bool alike(const at::Tensor& samples) {
  const auto n_coils = static_cast<double>(samples.size(0)), n = static_cast<double>(samples.size(1));
  if (n_coils < 2) return false;
  const at::Tensor spread = at::linalg_svdvals(samples.to(at::kComplexDouble));
  const double share = std::sqrt(n_coils / n), noise = std::pow((1 + share) / (1 - share), 2);
  return std::pow(spread.max().item<double>() / spread.min().item<double>(), 2) < 1.5 * noise;
}

}  // namespace

std::optional<at::Tensor> noise_covariance(const at::Tensor& samples) {
  if (samples.size(1) < kFewestSamplesPerCoil * samples.size(0)) return std::nullopt;
  const at::Tensor values = samples.to(at::kComplexDouble);
  const at::Tensor covariance = values.matmul(values.conj().t()) / static_cast<double>(values.size(1));
  // Of the correlations: a coil of little gain depends on no other.
  const at::Tensor deviations = at::real(covariance.diagonal()).sqrt();
  if (!(deviations.min().item<double>() > 0)) return std::nullopt;
  const at::Tensor eigenvalues = at::linalg_eigvalsh(covariance / at::outer(deviations, deviations));
  if (!(eigenvalues.min().item<double>() > kSmallestEigenvalue * eigenvalues.max().item<double>())) return std::nullopt;
  return covariance.to(at::kComplexFloat);
}

std::optional<at::Tensor> edge_noise_covariance(const at::Tensor& kspace, const at::Tensor& mask) {
  const at::Tensor rim = band_of_positions(kspace, mask, 0.0);
  if (!rim.defined()) return std::nullopt;
  const at::Tensor samples = samples_at(kspace, rim);
  const auto covariance = noise_covariance(samples);
  if (!covariance) return std::nullopt;
  const at::Tensor whitened = CoilWhitening(*covariance).whiten(samples.unsqueeze(0));
  const double sigma = median_sigma(whitened);
  if (!(sigma > 0)) return std::nullopt;
  return *covariance * (sigma * sigma);
}

std::optional<EdgeNoise> edge_noise(const at::Tensor& kspace, const at::Tensor& mask) {
  const at::Tensor rim = band_of_positions(kspace, mask, 0.0), inside = band_of_positions(kspace, mask, kInside);
  if (!inside.defined()) return std::nullopt;
  const at::Tensor samples = samples_at(kspace, rim);
  const double sigma = median_sigma(samples);
  return EdgeNoise{sigma, median_sigma(samples_at(kspace, inside)) / sigma, alike(samples)};
}

}  // namespace postrec
