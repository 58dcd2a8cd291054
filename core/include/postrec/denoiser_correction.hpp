#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "postrec/spectral_covariance.hpp"

namespace postrec {

/// The best linear combination, frequency by frequency, of what a denoiser gives and what it was given:
///
///   D' = D + Q lambda Q^H (x_t - D),   lambda = Re E <e, e - sigma n> / E |x_t - D|^2,   e = D - x0.
///
/// An exact denoiser's error is orthogonal to x_t - D, so that lambda = 0. A network's is not at low frequencies and little noise: it shifts the mean of an image by more
/// than is left of the noise there, and by the same at every level, so that samples are led astray together and agree with each other more than with the truth (core/README.md).
class DenoiserCorrection {
 public:
  /// `frequencies` [K] in cycles per pixel, rising from 0; `shares` lambda in 0..1, [n_sigmas, channels, K]. float32. Between the frequencies lambda is linear in their logarithm;
  /// the first holds for the mean of an image alone, the second down to it. Throws Error(kBadData) on anything else.
  DenoiserCorrection(SpectralBasis basis, at::Tensor frequencies, at::Tensor shares);

  const at::Tensor& frequencies() const { return frequencies_; }
  const at::Tensor& shares() const { return shares_; }

  /// D' of x_t and D, [B, C, H, W], between the noise levels `below` and below + 1, `weight` of the latter. Every image has its own, to the bit, whatever the batch (CPU).
  /// Differentiable in both.
  at::Tensor apply(const at::Tensor& x_t, const at::Tensor& denoised, std::int64_t below, double weight) const;

 private:
  class Cache;

  SpectralBasis basis_;
  at::Tensor frequencies_;
  at::Tensor shares_;
  std::shared_ptr<Cache> cache_;               ///< how to read the shares at the last image shape asked for; shared by copies
};

/// Measures one noise level of a DenoiserCorrection after the other.
class CorrectionMeasurement {
 public:
  explicit CorrectionMeasurement(SpectralBasis basis);
  /// `error` = D - x0 and `noise` = x_t - x0, both [1, C, H, W] of any size, at the present noise level.
  void add(const at::Tensor& error, const at::Tensor& noise);
  void finish_level();
  /// What all levels so far say. Throws Error(kUsage) without any.
  DenoiserCorrection correction() const;

 private:
  SpectralBasis basis_;
  at::Tensor in_error_;                        ///< double [C, K]: sums of Re <e, e - sigma n>
  at::Tensor removed_;                         ///< of |x_t - D|^2
  std::vector<at::Tensor> levels_;
};

}  // namespace postrec
