#include "postrec/linear_solve.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

void check_finite(const std::vector<double>& values, int iteration) {
  for (const double value : values)
    if (!std::isfinite(value))
      throw Error(ErrorKind::kNumerical, "conjugate gradients met a number that is not finite at iteration " + std::to_string(iteration),
                  "check the measurement, sigma_y and the operator for NaN and overflow");
}

void check_positive(double value, int iteration) {
  if (!(value > 0.0))
    throw Error(ErrorKind::kNumerical, "conjugate gradients broke down at iteration " + std::to_string(iteration) + ": p^H H p = " + std::to_string(value),
                "the operator's adjoint or normal does not belong to its forward");
}

}  // namespace

SolveReport conjugate_gradients(const LinearMap& apply, const LinearMap& precondition, const at::Tensor& b, at::Tensor& x,
                                const SolveOptions& options, double reference) {
  const auto preconditioned = [&](const at::Tensor& r) { return precondition ? precondition(r) : r; };
  const std::int64_t n_samples = b.size(0);
  x = x.clone(at::MemoryFormat::Contiguous);
  at::Tensor r = linear_combination(1.0, b, -1.0, apply(x));
  at::Tensor z = preconditioned(r);
  at::Tensor p = z.clone(at::MemoryFormat::Contiguous);

  const std::vector<double> scale = reference > 0.0 ? std::vector<double>(n_samples, reference * reference) : dots(b, preconditioned(b));
  std::vector<double> rz = dots(r, z);
  check_finite(scale, 0);
  check_finite(rz, 0);
  const auto relative = [&](std::int64_t i) { return rz[i] == 0.0 ? 0.0 : std::sqrt(rz[i] / scale[i]); };
  const auto active = [&](std::int64_t i) { return relative(i) > options.tolerance; };

  SolveReport report;
  std::vector<double> forward(n_samples), backward(n_samples), along(n_samples);
  for (; report.iterations < options.max_iterations; ++report.iterations) {
    std::vector<bool> open(n_samples);
    for (std::int64_t i = 0; i < n_samples; ++i) open[i] = active(i);
    if (std::none_of(open.begin(), open.end(), [](bool is_open) { return is_open; })) break;

    const at::Tensor hp = apply(p);
    const std::vector<double> curvature = dots(p, hp);
    check_finite(curvature, report.iterations);
    for (std::int64_t i = 0; i < n_samples; ++i) {
      if (open[i]) check_positive(curvature[i], report.iterations);
      forward[i] = open[i] ? rz[i] / curvature[i] : 0.0;
      backward[i] = -forward[i];
    }
    add_scaled(x, forward, p);
    add_scaled(r, backward, hp);
    z = preconditioned(r);
    const std::vector<double> next = dots(r, z);
    check_finite(next, report.iterations);
    for (std::int64_t i = 0; i < n_samples; ++i) {
      along[i] = open[i] ? next[i] / rz[i] : 0.0;
      if (open[i]) rz[i] = next[i];
    }
    scale_and_add(p, along, z);
  }
  for (std::int64_t i = 0; i < n_samples; ++i) report.worst_residual = std::max(report.worst_residual, relative(i));
  report.converged = report.worst_residual <= options.tolerance;
  return report;
}

}  // namespace postrec
