#pragma once

#include <ATen/core/Tensor.h>

#include "postrec/likelihood.hpp"
#include "postrec/spectral_noise.hpp"

namespace postrec {

/// Everything that x_t = x + sigma n and y = A x + sigma_y n' say about x, as one noisy image z = x + Q v^(1/2) n''.
struct Pivot {
  at::Tensor z;                                ///< [B, C, H, W]
  SpectralNoise noise;                         ///< one table for the batch
};

/// A measurement whose operator is diagonal in a basis, A^H A = Q diag(g) Q^H: masked Fourier sampling of one coil (g the mask), stationary
/// blur, or plain noise. Then x_t and y weigh in frequency by frequency, and
///   v = 1 / (1 / sigma^2 + g / sigma_y^2),   Q^H z = v (Q^H x_t / sigma^2 + Q^H A^H y / sigma_y^2)
/// is sufficient: E[x | x_t, y] = E[x | z]. [Mammadov 2026]
///
/// For real images in the DFT basis (its real form) A^H stands for the real part of the adjoint, and g for (M(k) + M(-k)) / 2.
class SpectralMeasurement {
 public:
  /// Finds g by applying A^H A. Throws Error(kConfiguration) when A^H A is not diagonal in the basis.
  SpectralMeasurement(SpectralBasis basis, const GaussianLikelihood& likelihood);

  SpectralBasis basis() const { return basis_; }
  double sigma_y() const { return sigma_y_; }

  /// g >= 0: float32 [C, H, W], in the order of the basis. For masked Fourier sampling, the mask with DC at n/2.
  const at::Tensor& gain() const { return gain_; }

  /// x_t [B, domain] at noise level sigma > 0. Differentiable in x_t.
  /// Law: pivot. The likelihood of x given (x_t, y) and that given z differ by a factor without x.
  Pivot pivot(const at::Tensor& x_t, double sigma) const;

 private:
  SpectralBasis basis_;
  double sigma_y_;
  at::Tensor gain_;
  at::Tensor data_;                            ///< Q^H A^H y / sigma_y^2, frequency 0 first, [C, H, W]
};

}  // namespace postrec
