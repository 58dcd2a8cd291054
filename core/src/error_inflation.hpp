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
/// inflation: an empirical Bayes estimate by moments. It is drawn towards 1 as far as its own standard deviation makes it doubtful, and goes below 1 as well.
/// For priors whose C is exact there is nothing to estimate.
class ErrorInflation {
 public:
  struct Estimate {
    SpectralCovariance covariance;             ///< with a table for each sample
    std::vector<double> inflation;             ///< of each sample: tr(inflated C) over tr(C)
  };

  /// `likelihood` outlives this. Backprojects a few probes.
  ErrorInflation(const GaussianLikelihood& likelihood, SpectralBasis basis, const std::vector<std::int64_t>& image_shape);

  /// `covariance` [C, H, W] of the error of `denoised` [B, C, H, W]. Evaluates A^H A once for the batch and once for four probes.
  Estimate inflate(const SpectralCovariance& covariance, const at::Tensor& denoised) const;

 private:
  at::Tensor backproject(const at::Tensor& data) const;

  const GaussianLikelihood& likelihood_;
  SpectralBasis basis_;
  std::vector<at::Tensor> bands_;              ///< 1 in the band, else 0: [1, C, H, W], frequency 0 first
  at::Tensor probes_;                          ///< white noise in the coordinates of the basis
  at::Tensor noise_power_;                     ///< E |A^H n|^2 by frequency [1, C, H, W], n the noise of the measurement
};

}  // namespace postrec
