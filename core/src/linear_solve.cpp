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

/// What is known of each sample: double [B] where the images are, so that the host need not wait for it.
class Progress {
 public:
  Progress(at::Tensor rz, at::Tensor scale, double tolerance) : rz_(std::move(rz)), scale_(std::move(scale)), tolerance_(tolerance) { open(); }

  /// rz/curvature for the samples that go on, else 0.
  at::Tensor step(const at::Tensor& curvature) {
    least_curvature_ = at::minimum(least_curvature_, at::where(is_open_, curvature, std::numeric_limits<double>::infinity()));
    iterations_ = iterations_ + is_open_.any();
    return at::where(is_open_, rz_ / curvature, 0.0);
  }

  /// next/rz for the samples that go on, else 0.
  at::Tensor turn(const at::Tensor& next) {
    const at::Tensor along = at::where(is_open_, next / rz_, 0.0);
    rz_ = at::where(is_open_, next, rz_);
    open();
    return along;
  }

  /// The host waits.
  SolveReport look() const {
    const std::vector<double> seen = on_host(at::stack({relative_.max(), least_curvature_.min(), (rz_ + scale_).sum(), iterations_.to(at::kDouble)}));
    SolveReport report;
    report.iterations = static_cast<int>(seen[3]);
    report.worst_residual = seen[0];
    report.converged = report.worst_residual <= tolerance_;
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
  void open() {
    relative_ = at::where(rz_ == 0.0, 0.0, (rz_ / scale_).sqrt());
    is_open_ = relative_ > tolerance_;
  }

  at::Tensor rz_, scale_, relative_, is_open_;
  at::Tensor least_curvature_ = at::full_like(rz_, std::numeric_limits<double>::infinity());
  at::Tensor iterations_ = at::zeros({}, rz_.options().dtype(at::kLong));
  double tolerance_;
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
    add_scaled(r, forward.neg(), hp);
    z = preconditioned(r);
    scale_and_add(p, progress.turn(batched_dot(r, z)), z);
  }
}

}  // namespace postrec
