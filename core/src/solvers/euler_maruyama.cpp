#include <ATen/ATen.h>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "reverse_sde.hpp"

namespace postrec {
namespace {

/// The reverse stochastic process of x'_t = scale(t) x_sigma by Euler's rule in its own time. [Song 2021, eq. 6; Kloeden 1992 for the rule]
class EulerMaruyama : public Solver {
 public:
  using Solver::Solver;

  at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) override {
    const at::Tensor denoised = denoise(x_t, level.sigma);
    if (level.next_sigma == 0.0) return denoised;
    const NoiseProcess& process = task_.process;
    const double t = process.time(level.sigma), next = process.time(level.next_sigma);
    const double scale = process.scale(t), next_scale = process.scale(next);
    const at::Tensor scaled = multiple(scale, x_t), noise = task_.normal(draw_at(level.step, Draw::kStep), task_.image);
    const at::Tensor increment = reverse_increment(process, t, t - next, scaled, denoised, noise);
    return linear_combination(1.0 / next_scale, scaled, 1.0 / next_scale, increment);
  }
};

}  // namespace

SolverEntry euler_maruyama_entry() {
  SolverEntry entry;
  entry.info = {"euler-maruyama", "The reverse stochastic process by Euler's rule in the time of the noise process.", "[Song 2021, eq. 6]", {}, ""};
  entry.make = [](const SamplingTask& task) { return std::make_unique<EulerMaruyama>(task); };
  return entry;
}

}  // namespace postrec
