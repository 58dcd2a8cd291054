#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace postrec {

struct SolveOptions {
  double tolerance = 3e-4;                     ///< see conjugate_gradients, and Bridge for what it means at a noise level
  int max_iterations = 200;
};

struct SolveReport {
  int iterations = 0;                          ///< of the slowest sample
  bool converged = true;                       ///< every sample reached the tolerance
  double worst_residual = 0.0;                 ///< of all samples, relative as the tolerance is
};

/// Of several solves for one thing, the worst of each figure.
void keep_the_worse(SolveReport& report, const SolveReport& other);

using LinearMap = std::function<at::Tensor(const at::Tensor&)>;

/// Solves H x = b for Hermitian positive definite H by preconditioned conjugate gradients, every sample of the batch on its own. [Hestenes 1952]
///
/// `x` [B, ...] holds the first guess on entry and the solution on return. `precondition` applies an approximation of H^-1, Hermitian
/// positive definite, and may be empty. Residuals are measured in its norm, ||r||^2 = r^H M r, and a sample stops when
/// ||residual|| <= tolerance * reference; `reference` 0 stands for ||b||. A sample that has converged is not touched again. Inner products are conjugated and summed in double in a fixed order.
/// Law: batch. A sample's solution is the same bits whatever other samples are solved with it.
/// On a device other than the CPU the host looks at the residuals at every fourth iteration only, and waits for nothing in between.
/// Throws Error(kNumerical) on NaN or when H or M turn out not to be positive definite. Not reaching the tolerance is no error: see the report.
SolveReport conjugate_gradients(const LinearMap& apply, const LinearMap& precondition, const at::Tensor& b, at::Tensor& x,
                                const SolveOptions& options, double reference = 0.0);

}  // namespace postrec
