#pragma once

#include <ATen/core/Tensor.h>

#include "postrec/noise_process.hpp"

namespace postrec {

/// a x for a real number a.
at::Tensor multiple(double a, const at::Tensor& x);

/// a x + b y + c z.
at::Tensor combination(double a, const at::Tensor& x, double b, const at::Tensor& y, double c, const at::Tensor& z);

/// What the reverse process of x'_t = scale(t) (x + sigma n) adds to it over `length` of time downwards, by the coefficients of time t at x'_t:
/// length (G^2 score' - f x') + length^(1/2) G noise, with f = d log scale/dt, G = scale g, score' = (denoised - x'/scale)/(scale sigma^2).
/// [Song 2021, eq. 6 with eq. 9, 11, 12]
at::Tensor reverse_increment(const NoiseProcess& process, double t, double length, const at::Tensor& scaled, const at::Tensor& denoised,
                             const at::Tensor& noise);

/// x_sigma at the level next_sigma from x_t at sigma by the reverse diffusion rule: the forward process over the step is x'_s -> k x'_s + G n,
/// k = scale(t)/scale(s), G^2 = scale(t)^2 (sigma^2 - next_sigma^2), exactly; the reverse step takes (2 - k) x'_t + G^2 score' + G noise.
/// k = 1 is the VE form, k = (1 - beta)^(1/2), G^2 = beta the VP form. [Song 2021, appendix E, eq. 46]
at::Tensor reverse_diffusion_step(const NoiseProcess& process, double sigma, double next_sigma, const at::Tensor& x_t, const at::Tensor& denoised,
                                  const at::Tensor& noise);

}  // namespace postrec
