#include "postrec/linear_solve.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

// How many iterations pass between looks at the residuals on a device that the host has to wait for. A look costs about as much as half an iteration.
constexpr int kDeviceIterations = 4;

/// What is known of each sample: double [B] where the images are, so that the host need not wait for it. On a device each operator on these few numbers costs as much as one on an image.
class Progress {
 public:
  Progress(const at::Tensor& rz, at::Tensor scale, double tolerance) : scale_(std::move(scale)), least_(scale_ * (tolerance * tolerance)) { set(rz); }

  /// rz/curvature for the samples that go on, else 0.
  at::Tensor step(const at::Tensor& curvature) {
    least_curvature_ = at::minimum(least_curvature_, curvature.masked_fill(is_done_, std::numeric_limits<double>::infinity()));
    ++iterations_;
    iterations_done_.add_(is_done_);
    return (rz_ / curvature).masked_fill_(is_done_, 0.0);
  }

  /// next/rz for the samples that go on, else 0. A sample that is done keeps its r, and so its rz.
  at::Tensor turn(const at::Tensor& next) {
    const at::Tensor along = (next / rz_).masked_fill_(is_done_, 0.0);
    set(next);
    return along;
  }

  /// The host waits.
  SolveReport look() const {
    const at::Tensor relative = at::where(rz_ == 0.0, 0.0, (rz_ / scale_).sqrt());
    const std::vector<double> seen = on_host(at::stack({relative.max(), least_curvature_.min(), (rz_ + scale_).sum(), iterations_done_.min(), is_done_.all().to(at::kDouble)}));
    SolveReport report;
    report.iterations = iterations_ - static_cast<int>(seen[3]);
    report.worst_residual = seen[0];
    report.converged = seen[4] != 0.0;
    if (std::isnan(seen[1]) || !std::isfinite(seen[2]))
      throw Error(ErrorKind::kNumerical, "conjugate gradients met a number that is not finite at iteration " + std::to_string(report.iterations),
                  "check the measurement, sigma_y and the operator for NaN and overflow");
    if (!(seen[1] > 0.0))
      throw Error(ErrorKind::kNumerical, "conjugate gradients broke down at iteration " + std::to_string(report.iterations) + ": p^H H p = " + std::to_string(seen[1]),
                  "the operator's adjoint or normal does not belong to its forward");
    if (std::isnan(seen[0]))                   // the root of a negative number
      throw Error(ErrorKind::kNumerical, "conjugate gradients broke down at iteration " + std::to_string(report.iterations) + ": r^H M r is negative",
                  "the preconditioner must be positive definite");
    return report;
  }

 private:
  void set(const at::Tensor& rz) {
    rz_ = rz;
    is_done_ = rz_ <= least_;
  }

  at::Tensor scale_, least_, rz_, is_done_;
  at::Tensor least_curvature_ = at::full_like(scale_, std::numeric_limits<double>::infinity());
  at::Tensor iterations_done_ = at::zeros_like(scale_);  ///< those that a sample did not need
  int iterations_ = 0;
};

}  // namespace

void keep_the_worse(SolveReport& report, const SolveReport& other) {
  report.iterations = std::max(report.iterations, other.iterations);
  report.converged = report.converged && other.converged;
  report.worst_residual = std::max(report.worst_residual, other.worst_residual);
}

SolveReport conjugate_gradients(const LinearMap& apply, const LinearMap& precondition, const at::Tensor& b, at::Tensor& x,
                                const SolveOptions& options, double reference) {
  const auto preconditioned = [&](const at::Tensor& r) { return precondition ? precondition(r) : r; };
  x = x.clone(at::MemoryFormat::Contiguous);
  at::Tensor r = linear_combination(1.0, b, -1.0, apply(x));
  at::Tensor z = preconditioned(r);
  at::Tensor p = z.clone(at::MemoryFormat::Contiguous);

  const at::Tensor rz = batched_dot(r, z);
  Progress progress(rz, reference > 0.0 ? at::full_like(rz, reference * reference) : batched_dot(b, preconditioned(b)), options.tolerance);
  const int first_look = b.is_cpu() ? 0 : kDeviceIterations, between_looks = b.is_cpu() ? 1 : kDeviceIterations;
  for (int iteration = 0;; ++iteration) {
    const bool is_last = iteration >= options.max_iterations;
    if (is_last || (iteration >= first_look && iteration % between_looks == 0)) {
      const SolveReport report = progress.look();
      if (report.converged || is_last) return report;
    }
    const at::Tensor hp = apply(p), forward = progress.step(batched_dot(p, hp));
    add_scaled(x, forward, p);
    subtract_scaled(r, forward, hp);
    z = preconditioned(r);
    scale_and_add(p, progress.turn(batched_dot(r, z)), z);
  }
}

}  // namespace postrec
