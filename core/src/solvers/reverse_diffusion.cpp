#include <ATen/ATen.h>

#include "../entries.hpp"
#include "reverse_sde.hpp"

namespace postrec {
namespace {

/// The reverse stochastic process by the rule that mirrors the forward step. [Song 2021, appendix E]
class ReverseDiffusion : public Solver {
 public:
  using Solver::Solver;

  at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) override {
    const at::Tensor denoised = denoise(x_t, level.sigma);
    if (level.next_sigma == 0.0) return denoised;
    const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kStep), task_.image);
    return reverse_diffusion_step(task_.process, level.sigma, level.next_sigma, x_t, denoised, noise);
  }
};

}  // namespace

SolverEntry reverse_diffusion_entry() {
  SolverEntry entry;
  entry.info = {"reverse-diffusion", "The reverse stochastic process by the mirrored forward step.", "[Song 2021, eq. 46]", {}, ""};
  entry.make = [](const SamplingTask& task) { return std::make_unique<ReverseDiffusion>(task); };
  return entry;
}

}  // namespace postrec
