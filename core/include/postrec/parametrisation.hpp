#pragma once

#include <ATen/core/Tensor.h>

namespace postrec {

/// What the output of somebody's network means, for its input x'_t = scale (x + sigma n).
enum class Prediction {
  kImage,     ///< x0, an estimate of x
  kNoise,     ///< eps, an estimate of n [Ho 2020, eq. 15]
  kVelocity,  ///< v = scale n - scale sigma x [Salimans 2022, section 4]
  kScore,     ///< s', the gradient of log p(x'_t) with respect to x'_t [Song 2021, eq. 7]
};

/// The denoised image D(x_t, sigma) from such an output, where x_t = x'_t / scale = x + sigma n is the input in the internal convention:
///
///   image     D = output
///   noise     D = x_t - sigma output
///   velocity  D = (x_t - (sigma / scale) output) / (1 + sigma^2)
///   score     D = x_t + sigma^2 scale output       (Tweedie; the score of x_t is scale s')
///
/// Velocity is solved for x in any process; in a variance-preserving one, scale^2 (1 + sigma^2) = 1, it is scale x'_t - scale sigma v.
/// Real tensors of one shape, a complex image as two channels. Differentiable. Throws Error(kInternal) unless sigma >= 0 and scale > 0.
at::Tensor image_from_prediction(Prediction prediction, const at::Tensor& x_t, const at::Tensor& output, double sigma, double scale);

}  // namespace postrec
