#include "error_inflation.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "batched_vectors.hpp"
#include "postrec/random.hpp"
#include "spectral_transform.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kProbes = 4;            // their error is that of one band in one sample over two
constexpr std::uint64_t kSeed = 0x696e666c;    // any: the same probes in every run, so that samples do not depend on their batch
// Octaves below the corner of the square of frequencies. Narrower ones are no better where A^H A mixes neighbouring frequencies, as coils do.
const std::vector<double> kBandEdges = {1.0 / 32, 1.0 / 16, 1.0 / 8, 1.0 / 4, 1.0};
constexpr double kLeast = 0.25, kMost = 30.0;  // beyond, C says nothing about this scan
constexpr double kDrift = 0.1;                 // variance of the inflation from level to level (core/README.md)

/// |k|^2
at::Tensor power_of(const at::Tensor& k) {
  const at::Tensor parts = real_view(k).square();
  return k.is_complex() ? parts.select(-1, 0) + parts.select(-1, 1) : parts;
}

/// Sums of tables [B, C, H, W] over a band: double [B] where they are.
at::Tensor totals(const at::Tensor& tables, const at::Tensor& band) { return batched_dot(tables.contiguous(), band.expand_as(tables).contiguous()); }

/// Of the energies `found`, of `noise` and, by expectation, of `error`; `deviation`: of what is found. Taking the inflation of a scan to be `expected` with a variance
/// of kDrift, the estimate's share in the best guess is 1/(1 + its variance/kDrift).
double inflation_of(double found, double error, double noise, double deviation, double expected) {
  if (!(error > 0.0)) return expected;
  const double doubt = deviation / error;
  return std::clamp(expected + ((found - noise) / error - expected) / (1.0 + doubt * doubt / kDrift), kLeast, kMost);
}

/// Variance of the sum of squared normal numbers, of which `power` estimates the mean squares from `n_probes`, over the sum of power^2: 2, and 1 for complex ones, were
/// the means exact; the probes' own noise is in the sum as well.
double square_spread(bool complex, double n_probes) { return complex ? 1.0 / (1.0 + 1.0 / n_probes) : 2.0 / (1.0 + 2.0 / n_probes); }

}  // namespace

ErrorInflation::ErrorInflation(const GaussianLikelihood& likelihood, SpectralBasis basis, const std::vector<std::int64_t>& image_shape)
    : likelihood_(likelihood), basis_(basis) {
  const at::Device device = likelihood.y().device();
  const TensorSpec image{image_shape, likelihood.op().domain().dtype}, data = likelihood.op().codomain();
  const RandomStreams streams(kSeed, 0, kProbes);
  probes_ = streams.normal(0, image.shape, image.dtype).to(device);
  const at::Tensor noise = backproject(streams.normal(1, data.shape, data.dtype).to(device) * likelihood.sigma_y());
  noise_power_ = power_of(noise).mean(0, true);
  const at::Tensor radius = frequency_radius(basis, image_shape[image_shape.size() - 2], image_shape.back());
  double above = -1.0;
  for (const double edge : kBandEdges) {
    const at::Tensor band = radius.gt(above).logical_and(radius.le(edge)).to(at::kFloat);
    above = edge;
    if (!band.any().item<bool>()) continue;    // small images lack the first ones
    const at::Tensor mask = band.expand(image_shape).unsqueeze(0).contiguous().to(device);
    const double squares = totals(noise_power_ * noise_power_, mask).item<double>();
    bands_.push_back({mask, totals(noise_power_, mask).item<double>(), std::sqrt(square_spread(noise.is_complex(), kProbes) * squares)});
  }
}

at::Tensor ErrorInflation::backproject(const at::Tensor& data) const { return to_natural_basis(basis_, likelihood_.op().adjoint(data)); }

at::Tensor ErrorInflation::error_power_of(const SpectralCovariance& covariance, std::int64_t n_samples) const {
  const auto backprojected = [&](const at::Tensor& probes) { return power_of(to_natural_basis(basis_, likelihood_.op().normal(covariance.apply_factor(probes)))); };
  if (!covariance.has_envelope()) return backprojected(probes_).mean(0, true).expand({n_samples, -1, -1, -1});
  return backprojected(probes_.narrow(0, 0, 1).expand({n_samples, -1, -1, -1}));
}

at::Tensor ErrorInflation::energies(const SpectralCovariance& covariance, const at::Tensor& denoised) const {
  const at::Tensor residual = backproject(likelihood_.y() - likelihood_.op().forward(denoised)), error_power = error_power_of(covariance, denoised.size(0));
  const at::Tensor power = error_power + noise_power_, squares = power * power, c = covariance.factor_eigenvalues().unsqueeze(0), trace = totals(c, at::ones_like(c));
  std::vector<at::Tensor> rows;
  for (const Band& band : bands_) {
    const at::Tensor inside = times_table(residual, band.mask[0]), share = totals(c, band.mask) / trace;
    rows.push_back(at::stack({batched_dot(inside, inside), totals(error_power, band.mask), totals(squares, band.mask), share.expand({denoised.size(0)})}));
  }
  return at::stack(rows);
}

ErrorInflation::Estimate ErrorInflation::inflate(const SpectralCovariance& covariance, const at::Tensor& denoised, const at::Tensor& expected,
                                                 const at::Tensor& noise_energy) const {
  const at::Tensor found = energies(covariance, denoised).cpu();  // once: the host waits
  const double spread = square_spread(denoised.is_complex(), covariance.has_envelope() ? 1.0 : kProbes);
  std::vector<double> mean(static_cast<std::size_t>(denoised.size(0)), 0.0);
  at::Tensor by_band = expected.defined() ? expected.clone() : at::ones({denoised.size(0), n_bands()});
  auto inflations = by_band.accessor<float, 2>();
  const auto noise = noise_energy.accessor<float, 2>();
  const auto of = found.accessor<double, 3>();
  for (std::int64_t b = 0; b < n_bands(); ++b)
    for (std::int64_t i = 0; i < denoised.size(0); ++i) {
      float& inflation = inflations[i][b];
      const double noise_here = bands_[b].noise + noise[i][b] * bands_[b].noise_deviation;
      inflation = static_cast<float>(inflation_of(of[b][0][i], of[b][1][i], noise_here, std::sqrt(spread * of[b][2][i]), inflation));
      mean[i] += of[b][3][i] * inflation;
    }
  at::Tensor factor = at::zeros_like(bands_.front().mask);
  const at::Tensor columns = by_band.to(denoised.device()).view({denoised.size(0), n_bands(), 1, 1, 1});
  for (std::int64_t b = 0; b < n_bands(); ++b) factor = factor + bands_[b].mask * columns.select(1, b);
  return {covariance.scaled(factor), mean, by_band};
}

}  // namespace postrec
