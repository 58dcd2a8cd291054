#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "../sampling_method.hpp"
#include "postrec/sampler.hpp"

namespace postrec {

// What the denoiser's Jacobian J says of its error beyond a measured covariance C: for an exact denoiser the error given x_t has the covariance V = sigma^2 J [Meng 2021],
// which knows this image, where C is the mean over images.

/// Whether V is worth its price at a level of a walk of `n_levels`: C was measured, the RMS error of the denoised image lies between settings `jacobian-from` and `jacobian-to` times
/// sigma, and there are `jacobian-levels` levels at least.
///
/// Below, sigma^2 J is a small difference of large numbers that no network has learned; above, the image is so well known that both give the same draw. In a walk of fewer levels x_t
/// still has the texture of the first draws where J would matter (core/real_scans.md).
bool jacobian_says_more(const Prior& prior, const std::vector<std::int64_t>& image_shape, double sigma, std::size_t n_levels, const std::map<std::string, double>& settings);
std::vector<SamplerSetting> jacobian_settings();

/// A draw `x0` of likelihood.draw_posterior(denoised, covariance, ., white_data), [B, domain], with the gain that V has instead of C's.
///
/// x0 = z + G r, z ~ N(D, C), r = y + sigma_y n2 - A z, G = C A^H S^-1, S = A C A^H + sigma_y^2 I. With V for C the gain is G + (I - G A)(V - C) A^H S^-1 and terms with
/// higher powers of V - C. Let v = S^-1 r, of which sigma_y^2 v = y + sigma_y n2 - A x0 is left over: then x0 moves by (I - G A)(V - C) A^H v. The covariance of
/// z remains C. Whatever the gain, the draw is then spread about its mean as that mean errs (see PigdmCalibrated).
///
/// The move is as long as conjugate gradients for A V A^H + sigma_y^2 I, preconditioned by S, make their first step, but at most 1: where V is far too large, little is left of it.
/// Where the whole move would be m > 2 root mean square errors of the denoised image long, by C, it is at most 4/m of them: J is then wrong where nothing was measured.
/// One product with J, one solve; `report` is of the worse of this and what it held.
at::Tensor with_gain_of_jacobian(const at::Tensor& x0, const DenoisedWithJacobian& denoised, double sigma, const GaussianLikelihood& likelihood,
                                 const SpectralCovariance& covariance, const at::Tensor& white_data, const SolveOptions& options, SolveReport& report);

}  // namespace postrec
