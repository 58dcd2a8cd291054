#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "../sampling_method.hpp"

namespace postrec {

// What the methods share that believe x0 given x_t to be white about the denoised image. [Zhu 2023; Zhang 2025; Wu 2024]

/// x0 ~ p(x0 | y) for x0 ~ N(mean, variance I), [B, domain]: mean + M A^H (y - A mean + sigma_y n2)/sigma_y^2 + M n1/variance^(1/2) with
/// M = (A^H A/sigma_y^2 + I/variance)^-1, in closed form where the operator has one. Without noise (zeros) it is the most probable x0.
///
/// The error of the solver is small against the spread of x0 or, in the data, against `forgotten`: a noise level that follows and covers
/// it. Differs from the papers: for the same reason the data have at least a twentieth of that noise, as far as A passes it on (GaussianLikelihood::annealed_sigma_y).
/// Adds to record.solve and sets record.misfit, of `mean`.
at::Tensor draw_about(const SamplingTask& task, const at::Tensor& mean, double variance, const at::Tensor& white_image,
                      const at::Tensor& white_data, double forgotten, LevelRecord& record);

/// likelihood.reduced_chi2(x), for the record.
std::vector<double> misfit_of(const GaussianLikelihood& likelihood, const at::Tensor& x);

}  // namespace postrec
