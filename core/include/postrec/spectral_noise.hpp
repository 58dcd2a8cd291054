#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "postrec/spectral_covariance.hpp"

namespace postrec {

/// Gaussian noise n with covariance Q diag(v) Q^H: independent over the frequencies, as strong in each as a table says.
///
/// v is the variance per real component, float32 [N, C, H, W] in the order of the basis, N = 1 for all samples of a batch or one table each.
class SpectralNoise {
 public:
  /// Throws Error(kBadData) unless v is positive, finite and of that shape.
  SpectralNoise(SpectralBasis basis, at::Tensor variance);

  SpectralBasis basis() const { return basis_; }
  const at::Tensor& variance() const { return variance_; }

  /// v with frequency 0 first, whatever the basis.
  const at::Tensor& natural_variance() const { return natural_; }

  /// The white noise with as much energy: (mean v)^(1/2), float32 [N].
  const at::Tensor& level() const { return level_; }

  /// How v differs from white noise of its level, for a network: log(v / level^2) / 4 averaged in 8 bands of |f|, 8 of |f_y| and 8 of |f_x|.
  /// float32 [N, kSummarySize]; 0 for white noise and in bands that hold no frequency. Bands overlap by half, evenly spaced in |2 f|^(1/2).
  const at::Tensor& summary() const { return summary_; }
  static constexpr std::int64_t kBands = 8;
  static constexpr std::int64_t kSummarySize = 3 * kBands;

  /// Noise from white noise [B, C, H, W] in the coordinates of the basis, frequency 0 first: Q v^(1/2) white.
  at::Tensor from_white(const at::Tensor& white) const;

 private:
  SpectralBasis basis_;
  at::Tensor variance_;
  at::Tensor natural_;
  at::Tensor level_;
  at::Tensor summary_;
};

}  // namespace postrec
