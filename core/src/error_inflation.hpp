#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "postrec/likelihood.hpp"
#include "postrec/spectral_covariance.hpp"

namespace postrec {

/// How many times the variance of the denoiser's error on the scan at hand is what C(sigma) says, for each sample and band of frequencies; and C so inflated.
///
/// C is measured on other images, and about images rather than about samples. Were it right, r = y - A D would have the covariance A C A^H + sigma_y^2 I, so that
/// A^H r had in each band the energy of A^H A e, e ~ N(0, C), and that of the backprojected noise. The energy found, less the noise's, over the former is the band's
/// inflation: an empirical Bayes estimate by moments. It is drawn towards what was expected of it as far as its own standard deviation makes it doubtful, and goes
/// below 1 as well. What to expect is what the level before gave (1 at the first): at the last levels the error drowns in noise, but the scan is still the same.
///
/// The noise's energy is known by its law only, so each sample takes one value of it for the whole run. Were it the expected one, every sample would be led to the same
/// misfit, nearer to each other than the truth's is to any. For priors whose C is exact there is nothing to estimate.
class ErrorInflation {
 public:
  struct Estimate {
    SpectralCovariance covariance;             ///< with a table for each sample
    std::vector<double> inflation;             ///< of each sample: tr(inflated C) over tr(C)
    at::Tensor by_band;                        ///< float32 [B, n_bands], on the CPU
  };

  /// `likelihood` outlives this. Backprojects a few probes.
  ErrorInflation(const GaussianLikelihood& likelihood, SpectralBasis basis, const std::vector<std::int64_t>& image_shape);

  std::int64_t n_bands() const { return static_cast<std::int64_t>(bands_.size()); }

  /// `covariance` of the error of `denoised` [B, C, H, W], with or without an envelope; `expected` as by_band, undefined for 1. `noise_energy`, float32 [B, n_bands] on the CPU:
  /// the noise's energy by band less its mean, over its standard deviation. Evaluates A^H A once for the batch, and again for a probe for each sample with an envelope,
  /// for four probes without.
  Estimate inflate(const SpectralCovariance& covariance, const at::Tensor& denoised, const at::Tensor& expected, const at::Tensor& noise_energy) const;

 private:
  struct Band {
    at::Tensor mask;                           ///< 1 in the band, else 0: [1, C, H, W], frequency 0 first
    double noise = 0.0, noise_deviation = 0.0; ///< energy of A^H n there: its mean, its standard deviation
  };

  at::Tensor backproject(const at::Tensor& data) const;
  /// E |A^H A e|^2 by frequency, e ~ N(0, C), for each sample [n_samples, C, H, W].
  at::Tensor error_power_of(const SpectralCovariance& covariance, std::int64_t n_samples) const;

  /// By band and sample, double [n_bands, 4, B]: the energy of the backprojected residual, the expected one of the error, the sum of squares of the expected power of
  /// both, the band's share of tr(C).
  at::Tensor energies(const SpectralCovariance& covariance, const at::Tensor& denoised) const;

  const GaussianLikelihood& likelihood_;
  SpectralBasis basis_;
  std::vector<Band> bands_;
  at::Tensor probes_;                          ///< white noise in the coordinates of the basis
  at::Tensor noise_power_;                     ///< E |A^H n|^2 by frequency [1, C, H, W], n the noise of the measurement
};

}  // namespace postrec
