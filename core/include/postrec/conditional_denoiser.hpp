#pragma once

#include <ATen/core/Tensor.h>

#include "postrec/denoising_network.hpp"
#include "postrec/spectral_measurement.hpp"

namespace postrec {

/// E[x | x_t, y] by one evaluation of a network: the pivot of x_t and y, denoised under the noise that it has. [Mammadov 2026]
///
/// With the exact denoiser this is exact, where methods that work from E[x | x_t] alone approximate; what is left is the network's error.
class ConditionalDenoiser {
 public:
  /// Throws Error(kConfiguration) when the network was not trained for noise spectra, or the operator is not diagonal in its basis.
  ConditionalDenoiser(DenoisingNetwork network, const GaussianLikelihood& likelihood);

  const SpectralMeasurement& measurement() const { return measurement_; }

  /// x_t [B, domain] at noise level sigma > 0 -> E[x | x_t, y], [B, domain]. Differentiable in x_t.
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const;

 private:
  DenoisingNetwork network_;
  SpectralMeasurement measurement_;
};

}  // namespace postrec
