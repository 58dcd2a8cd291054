#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "data_consistency.hpp"

namespace postrec {
namespace {

/// After each step x moves down the gradient of ||y - A D(x_t)||^2 by zeta/||y - A D||. [Chung 2023, algorithm 1]
///
/// Differs from [Chung 2023]: in x_sigma. The paper steps x'_t = x_t/(1 + sigma^2)^(1/2), so its move by the gradient over x'_s of the
/// level s is here (1 + s^2)^(1/2) (1 + t^2)^(1/2) times that over x_s, t the next level. Nothing else changes.
class Dps : public Guidance {
 public:
  using Guidance::Guidance;

  at::Tensor denoise(const at::Tensor& x_t, double sigma, const GuidanceCall& call, LevelRecord& record) override {
    const DenoisedWithJacobian denoised = task_.denoise_with_jacobian(x_t, sigma);
    const at::Tensor residual = data_residual(task_, denoised.denoised, record);
    // -grad ||y - A D||^2 = 2 J^T A^H (y - A D)
    const at::Tensor descent = denoised.jacobian_product(task_.likelihood->op().adjoint(residual));
    const double in_x_sigma = std::sqrt((1.0 + sigma * sigma) * (1.0 + call.next_sigma * call.next_sigma));
    std::vector<double> step = dots(residual, residual);
    for (double& value : step) value = value > 0.0 ? 2.0 * zeta_ * in_x_sigma / (ancestral_share(task_, call) * std::sqrt(value)) : 0.0;
    at::Tensor x0 = denoised.denoised.clone(at::MemoryFormat::Contiguous);
    add_scaled(x0, step, descent);
    return x0;
  }

 private:
  const double zeta_ = task_.setting("zeta");
};

}  // namespace

MethodEntry dps_entry() {
  MethodEntry entry;
  entry.info = {"dps", "Each step moves down the gradient of the data's misfit at the denoised image (DPS).", "[Chung 2023, algorithm 1]",
                {{"zeta", 1.0, 0.0, 1000.0, "step size zeta'; the authors' program has the gradient of the norm, so its scale is 2 zeta'"}},
                "ancestral"};
  entry.evaluations = {2.0};
  entry.guide = [](const SamplingTask& task) { return std::make_unique<Dps>(task); };
  return entry;
}

}  // namespace postrec
