#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "data_consistency.hpp"

namespace postrec {
namespace {

/// x0 given x_t as N(D, V) with V = sigma^2 J, the covariance that the denoiser's own Jacobian tells, so that
///   E[x0 | x_t, y] = D + V A^H (A V A^H + sigma_y^2)^-1 (y - A D),
/// with a few conjugate-gradient steps in data space, each of one product with J. Exact for a Gaussian prior, given steps enough. [Rozet
/// 2024, moment matching posterior sampling]
///
/// Differs from [Rozet 2024]: J A^H v is summed up along the way instead of asked for at the end, one product less for the same numbers. A
/// sample whose direction shows no positive curvature, which a network's Jacobian may have, keeps what it has.
class Mmps : public Guidance {
 public:
  using Guidance::Guidance;

  at::Tensor denoise(const at::Tensor& x_t, double sigma, const GuidanceCall& /*call*/, LevelRecord& record) override {
    const DenoisedWithJacobian denoised = task_.denoise_with_jacobian(x_t, sigma);
    const at::Tensor residual = data_residual(task_, denoised.denoised, record);
    return linear_combination(1.0, denoised.denoised, sigma * sigma, gain(denoised, sigma, residual, record));
  }

 private:
  /// J A^H v, v solving (sigma^2 A J A^H + sigma_y^2) v = residual. [Hestenes 1952]
  at::Tensor gain(const DenoisedWithJacobian& denoised, double sigma, const at::Tensor& residual, LevelRecord& record) const {
    const Operator& op = task_.likelihood->op();
    const double noise = task_.likelihood->sigma_y() * task_.likelihood->sigma_y();
    at::Tensor r = residual.clone(at::MemoryFormat::Contiguous), p = r.clone();
    at::Tensor sum = at::zeros_like(denoised.denoised, at::MemoryFormat::Contiguous);
    std::vector<double> rr = dots(r, r), forward(rr.size()), backward(rr.size()), along(rr.size());
    std::vector<double> goal = rr;
    for (double& value : goal) value *= task_.solve.tolerance * task_.solve.tolerance;
    std::vector<bool> open(rr.size(), true);
    int iteration = 0;
    for (; iteration < iterations_; ++iteration) {
      for (std::size_t b = 0; b < rr.size(); ++b) open[b] = open[b] && rr[b] > goal[b];
      if (std::find(open.begin(), open.end(), true) == open.end()) break;
      const at::Tensor jp = denoised.jacobian_product(op.adjoint(p));
      const at::Tensor hp = linear_combination(noise, p, sigma * sigma, op.forward(jp));
      const std::vector<double> curvature = dots(p, hp);
      for (std::size_t b = 0; b < rr.size(); ++b) {
        open[b] = open[b] && curvature[b] > 0.0;
        forward[b] = open[b] ? rr[b] / curvature[b] : 0.0;
        backward[b] = -forward[b];
      }
      add_scaled(sum, forward, jp);
      add_scaled(r, backward, hp);
      const std::vector<double> next = dots(r, r);
      for (std::size_t b = 0; b < rr.size(); ++b) along[b] = open[b] ? next[b] / rr[b] : 0.0;
      rr = next;
      scale_and_add(p, along, r);
    }
    record.solve.iterations = std::max(record.solve.iterations, iteration);
    return sum;
  }

  const int iterations_ = static_cast<int>(task_.setting("iterations"));
};

}  // namespace

MethodEntry mmps_entry() {
  MethodEntry entry;
  entry.info = {"mmps", "The conditional mean with the covariance that the denoiser's Jacobian tells (MMPS).",
                "[Rozet 2024, moment matching posterior sampling]",
                {{"iterations", 2.0, 1.0, 1000.0, "conjugate-gradient steps, one product with the Jacobian each; fewer at the tolerance"}},
                "ancestral"};
  entry.evaluations = {1.0, "iterations"};
  entry.guide = [](const SamplingTask& task) { return std::make_unique<Mmps>(task); };
  return entry;
}

}  // namespace postrec
