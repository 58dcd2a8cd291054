#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "postrec/noise_process.hpp"

namespace postrec {

/// A denoiser under training: x_t = x + sigma n [B, C, ...], sigma float32 [B] -> E[x | x_t] as it stands, [B, C, ...].
using TrainedDenoiser = std::function<at::Tensor(const at::Tensor& x_t, const at::Tensor& sigma)>;

/// How much each noise level counts.
enum class Weighting {
  kSigmaSquared,  ///< lambda = sigma^2 on the score [Song 2019, section 4.2]
  kLikelihood,    ///< lambda = g^2 on the score [Song 2021c, theorem 1]; bounds the likelihood when training draws t uniformly (VE, VP, sub-VP)
  kEdm,           ///< (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 on the image [Karras 2022, table 1]
};

/// The weight w of the image's squared error at each sigma [B] -> [B]. The score's error is that of the image over sigma^2, so a weight
/// lambda of the score is w = lambda / sigma^4. `sigma_data`, the standard deviation of the data, is read by kEdm alone.
at::Tensor image_weight(Weighting weighting, const NoiseProcess& process, const at::Tensor& sigma, double sigma_data);

/// Denoising score matching, w |D(x + sigma n, sigma) - x|^2, mean over components. [Vincent 2011; Karras 2022, eq. 2]
/// x and noise n ~ N(0, I) [B, C, ...], sigma and weight w [B] -> the loss of each sample [B], differentiable.
///
/// All tensors are real: a complex image is two channels. w is image_weight, or anything else that is positive, e.g. 1 / c_out^2.
at::Tensor denoising_score_matching(const TrainedDenoiser& denoiser, const at::Tensor& x, const at::Tensor& noise, const at::Tensor& sigma,
                                    const at::Tensor& weight);

/// How sliced score matching estimates |s|^2.
enum class SlicedNorm {
  kProjected,  ///< (v . s)^2, with the projection of the trace [Song 2019b, section 3]
  kExact,      ///< |s|^2 itself, the variance-reduced form [Song 2019b, section 3]
};

/// Sliced score matching: lambda (|s|^2 / 2 + v . grad (v . s)), over the number of components, with s = (D - x_t) / sigma^2 the score,
/// lambda = w sigma^4 and v a random projection with E v v^T = I, normal numbers or signs. Needs no clean image.
/// x_t, a sample at noise level sigma, and v [B, C, ...], sigma and w [B] -> the loss of each sample [B], differentiable (twice inside).
///
/// For the same w its expectation is half of that of denoising score matching less w sigma^2 / 2, for every denoiser.
at::Tensor sliced_score_matching(const TrainedDenoiser& denoiser, const at::Tensor& x_t, const at::Tensor& projection, const at::Tensor& sigma,
                                 const at::Tensor& weight, SlicedNorm norm);

}  // namespace postrec
