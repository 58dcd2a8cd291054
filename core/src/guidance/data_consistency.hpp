#pragma once

#include <ATen/core/Tensor.h>

#include "../guidance.hpp"

namespace postrec {

// What several guidances ask of the measurement.

/// y - A x0 for each sample, [B, domain] -> [B, codomain]; the first of a level fills record.misfit.
at::Tensor data_residual(const SamplingTask& task, const at::Tensor& x0, LevelRecord& record);

/// (A^H A + lambda I)^-1 A^H v for lambda > 0, [B, codomain] -> [B, domain]; it equals A^H (A A^H + lambda I)^-1 v. In closed form where
/// the operator has one, else by conjugate gradients to the task's tolerance, relative to ||A^H v||. Fills record.solve.
at::Tensor regularised_back_projection(const SamplingTask& task, double lambda, const at::Tensor& v, LevelRecord& record);

/// How far a change of the denoised image by 1 moves x at the next level, in the rule of task.settings' eta (ancestral; 1 where the solver
/// has none).
///
/// DPS, PiGDM and DDS are published as a change of x at the next level, made once a step beside a rule of that family. A guidance changes
/// the denoised image; divided by this, the published change is what x gets. Other solvers weigh the denoised image as they weigh the
/// score.
double ancestral_share(const SamplingTask& task, const GuidanceCall& call);

}  // namespace postrec
