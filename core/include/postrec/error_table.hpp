#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "postrec/spectral_covariance.hpp"

namespace postrec {

/// The measured covariance of a denoiser's error, c(sigma), on a table of noise levels: interpolated log-log between them,
/// proportional to sigma^2 below the first (nothing but noise is left) and constant above the last (nothing is known).
class ErrorTable {
 public:
  /// 48 log-spaced levels from 1e-3 to 60.
  static std::vector<double> standard_sigmas();

  /// `sigmas` rising, `eigenvalues` c > 0 float32 [n_sigmas, C, H, W] in the order of the basis. Throws Error(kBadData) on anything else.
  ErrorTable(SpectralBasis basis, std::vector<double> sigmas, at::Tensor eigenvalues);

  SpectralCovariance at_sigma(double sigma) const;

 private:
  SpectralBasis basis_;
  std::vector<double> sigmas_;
  at::Tensor log_eigenvalues_;
};

}  // namespace postrec
