#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace postrec {

/// E[n n^H] of complex noise n, complex64 [coil, coil], from samples [coil, n] of nothing but noise. Nothing when they are fewer than 4 a coil,
/// or when coils are linearly dependent (noise that was not there).
std::optional<at::Tensor> noise_covariance(const at::Tensor& samples);

/// The same from a k-space [slice, coil, ky, kx] that was measured where `mask` [ky, kx] is true: from its outermost 5 %, by distance from DC
/// in half widths, at least 16 positions a coil. What signal is left there would make the noise too large: the covariance is scaled so
/// that the median magnitude of the whitened samples is that of noise, which forgives it.
std::optional<at::Tensor> edge_noise_covariance(const at::Tensor& kspace, const at::Tensor& mask);

/// What the rim of a k-space says about it.
struct EdgeNoise {
  double sigma = 0.0;  ///< median magnitude as that of noise, per real component
  double fall = 1.0;   ///< the same further inside, relative to that: 1 where there is but noise, more where signal falls off
  bool alike = false;  ///< every combination of coils has as much: so has whitened noise, but no signal. Of one coil nobody can tell
};

/// Nothing when the rim has too few samples.
std::optional<EdgeNoise> edge_noise(const at::Tensor& kspace, const at::Tensor& mask);

}  // namespace postrec
