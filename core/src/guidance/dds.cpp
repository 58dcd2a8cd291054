#include <ATen/ATen.h>

#include <algorithm>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "data_consistency.hpp"
#include "postrec/linear_solve.hpp"

namespace postrec {
namespace {

/// Each step takes, in place of the denoised image D, a few conjugate-gradient steps from D towards the minimum of gamma/2 ||y - A x||^2 +
/// 1/2 ||x - D||^2, while the noise that it carries on stays the prior's. [Chung 2024, the form for noisy data]
///
/// Differs from [Chung 2024]: the noise of a step is the solver's, by default DDPM's, instead of the paper's mixture with eta = .85; a
/// third form for 3-D volumes with total variation is left out.
class Dds : public Guidance {
 public:
  using Guidance::Guidance;

  at::Tensor denoise(const at::Tensor& x_t, double sigma, const GuidanceCall& call, LevelRecord& record) override {
    const at::Tensor denoised = task_.denoise(x_t, sigma);
    const at::Tensor change = towards_data(data_residual(task_, denoised, record), record);
    return linear_combination(1.0, denoised, 1.0 / ancestral_share(task_, call), change);
  }

 private:
  /// (A^H A + I/gamma) change = A^H (y - A D) from 0, which has the iterates of the problem in x from D.
  at::Tensor towards_data(const at::Tensor& residual, LevelRecord& record) const {
    const Operator& op = task_.likelihood->op();
    const at::Tensor b = op.adjoint(residual);
    at::Tensor change = at::zeros_like(b);
    const auto system = [&](const at::Tensor& u) { return linear_combination(1.0, op.normal(u), 1.0 / gamma_, u); };
    const SolveReport report = conjugate_gradients(system, {}, b, change, {kRounding, iterations_});
    record.solve.iterations = std::max(record.solve.iterations, report.iterations);  // few on purpose: no failure to converge
    return change;
  }

  static constexpr double kRounding = 1e-6;    // residuals below are noise of single precision
  const double gamma_ = task_.setting("gamma");
  const int iterations_ = static_cast<int>(task_.setting("iterations"));
};

}  // namespace

MethodEntry dds_entry() {
  MethodEntry entry;
  entry.info = {"dds", "A few conjugate-gradient steps from the denoised image towards the data (DDS).",
                "[Chung 2024, the form for noisy data]",
                {{"iterations", 5.0, 1.0, 1000.0, "conjugate-gradient steps M"},
                 {"gamma", 1.0, 1e-12, 1e12, "weight of the data; 1 as in the authors' program"}},
                "ancestral"};
  entry.guide = [](const SamplingTask& task) { return std::make_unique<Dds>(task); };
  return entry;
}

}  // namespace postrec
