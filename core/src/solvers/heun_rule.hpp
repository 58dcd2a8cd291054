#pragma once

#include <ATen/core/Tensor.h>

#include "../solver.hpp"

namespace postrec {

/// The probability flow dx/dsigma = (x - D)/sigma from sigma to next_sigma by Heun's rule, two evaluations; where next_sigma is 0 Euler's rule, one,
/// which gives the denoised image. All processes scale these trajectories, so sigma is the variable for each. [Karras 2022, algorithm 1 with sigma(t) = t]
at::Tensor heun_step(const at::Tensor& x_t, double sigma, double next_sigma, const Denoiser& denoise);

}  // namespace postrec
