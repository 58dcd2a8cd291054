#include <ATen/ATen.h>

#include <cmath>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "flat_draw.hpp"

namespace postrec {
namespace {

/// x0 = argmin ||y - A x||^2 + rho ||x - D||^2 with rho = lambda sigma_y^2/sigma^2, then x_t about it with a mixture of the noise that x_t
/// is estimated to hold and of fresh noise. [Zhu 2023, algorithm 1]
class Diffpir : public SamplingMethod {
 public:
  using SamplingMethod::SamplingMethod;

  at::Tensor advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) override {
    const at::Tensor x0 = most_probable(task_.denoise(x_t, level.sigma), level, record);
    if (level.next_sigma == 0.0) return x0;
    // x_t = x0 + sigma n, so the estimated noise is (x_t - x0)/sigma.
    const double estimated = level.next_sigma / level.sigma * std::sqrt(1.0 - zeta_), fresh = level.next_sigma * std::sqrt(zeta_);
    const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kBridge), task_.image);
    return linear_combination(1.0, linear_combination(estimated, x_t, 1.0 - estimated, x0), fresh, noise);
  }

 private:
  /// The most probable x0 given y for x0 ~ N(D, sigma^2/lambda I), which is the proximal step above.
  at::Tensor most_probable(const at::Tensor& denoised, const Level& level, LevelRecord& record) const {
    const TensorSpec data = task_.likelihood->op().codomain();
    std::vector<std::int64_t> data_sizes = {denoised.size(0)};
    data_sizes.insert(data_sizes.end(), data.shape.begin(), data.shape.end());
    const at::Tensor no_noise = at::zeros(data_sizes, at::TensorOptions().dtype(data.dtype).device(task_.device));
    const double variance = level.sigma * level.sigma / lambda_;
    return draw_about(task_, denoised, variance, at::zeros_like(denoised), no_noise, level.next_sigma, record);
  }

  const double lambda_ = task_.setting("lambda");
  const double zeta_ = task_.setting("zeta");
};

}  // namespace

MethodEntry diffpir_entry() {
  MethodEntry entry;
  entry.info = {"diffpir",
                "The image closest to data and denoised image together, then noise that is partly the old and partly new.",
                "[Zhu 2023, algorithm 1]",
                {{"lambda", 1.0, 1e-6, 1e6, "weight of the denoised image against the data"},
                 {"zeta", 0.1, 0.0, 1.0, "share of fresh noise; the authors' programs have .1 for noisy data, 1 for masks without noise"}},
                ""};
  entry.walk = [](const SamplingTask& task) { return std::make_unique<Diffpir>(task); };
  return entry;
}

}  // namespace postrec
