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

/// |frequency| in cycles per pixel, [H, W], frequency 0 first.
at::Tensor frequency_radius(SpectralBasis basis, std::int64_t rows, std::int64_t columns) {
  const auto axis = [&](std::int64_t n) {
    const at::Tensor index = at::arange(n, at::kDouble);
    if (basis == SpectralBasis::kDct) return index.div(2.0 * static_cast<double>(n));
    return at::minimum(index, index.neg().add(static_cast<double>(n))).div(static_cast<double>(n));
  };
  return at::hypot(axis(rows).unsqueeze(1), axis(columns).unsqueeze(0));
}

/// |k|^2, mean over the batch: [1, C, H, W].
at::Tensor mean_power(const at::Tensor& k) {
  const at::Tensor parts = real_view(k).square();
  return (k.is_complex() ? parts.select(-1, 0) + parts.select(-1, 1) : parts).mean(0, true);
}

/// Sum of a table over a band.
double total(const at::Tensor& table, const at::Tensor& band) { return dots(table, band).front(); }

/// Of the energies `found` and, by expectation, of `error` and `noise`; `deviation`: of what is found. Taking the inflation of scans to have a variance of 1, the
/// estimate's share in the best guess is 1/(1 + its variance).
double inflation_of(double found, double error, double noise, double deviation) {
  if (!(error > 0.0)) return 1.0;
  const double doubt = deviation / error;
  return std::clamp(1.0 + ((found - noise) / error - 1.0) / (1.0 + doubt * doubt), kLeast, kMost);
}

}  // namespace

ErrorInflation::ErrorInflation(const GaussianLikelihood& likelihood, SpectralBasis basis, const std::vector<std::int64_t>& image_shape)
    : likelihood_(likelihood), basis_(basis) {
  const at::Device device = likelihood.y().device();
  const TensorSpec image{image_shape, likelihood.op().domain().dtype}, data = likelihood.op().codomain();
  const RandomStreams streams(kSeed, 0, kProbes);
  probes_ = streams.normal(0, image.shape, image.dtype).to(device);
  noise_power_ = mean_power(backproject(streams.normal(1, data.shape, data.dtype).to(device) * likelihood.sigma_y()));
  const at::Tensor radius = frequency_radius(basis, image_shape[image_shape.size() - 2], image_shape.back());
  double above = -1.0;
  for (const double edge : kBandEdges) {
    const at::Tensor band = radius.gt(above).logical_and(radius.le(edge)).to(at::kFloat);
    above = edge;
    if (band.any().item<bool>()) bands_.push_back(band.expand(image_shape).unsqueeze(0).contiguous().to(device));  // small images lack the first ones
  }
}

at::Tensor ErrorInflation::backproject(const at::Tensor& data) const { return to_natural_basis(basis_, likelihood_.op().adjoint(data)); }

ErrorInflation::Estimate ErrorInflation::inflate(const SpectralCovariance& covariance, const at::Tensor& denoised) const {
  const at::Tensor residual = backproject(likelihood_.y() - likelihood_.op().forward(denoised));
  const at::Tensor error_power = mean_power(to_natural_basis(basis_, likelihood_.op().normal(covariance.apply_factor(probes_))));
  const at::Tensor power = error_power + noise_power_, c = covariance.factor_eigenvalues().unsqueeze(0);
  // A squared normal number has twice the variance of the square of its mean, that of a complex one once; the probes' own noise is in the sum as well.
  const double spread = residual.is_complex() ? 1.0 / (1.0 + 1.0 / kProbes) : 2.0 / (1.0 + 2.0 / kProbes);
  const auto n_samples = static_cast<std::size_t>(denoised.size(0));
  std::vector<at::Tensor> factor(n_samples, at::zeros_like(covariance.factor_eigenvalues()));
  std::vector<double> mean(n_samples, 0.0);
  for (const at::Tensor& band : bands_) {
    const at::Tensor inside = times_table(residual, band[0]);
    const std::vector<double> found = dots(inside, inside);
    const double error = total(error_power, band), noise = total(noise_power_, band), share = total(c, band) / total(c, at::ones_like(c));
    const double deviation = std::sqrt(spread * total(power * power, band));
    for (std::size_t i = 0; i < n_samples; ++i) {
      const double inflation = inflation_of(found[i], error, noise, deviation);
      factor[i] = factor[i] + band[0] * inflation;
      mean[i] += share * inflation;
    }
  }
  return {covariance.scaled(at::stack(factor)), mean};
}

}  // namespace postrec
