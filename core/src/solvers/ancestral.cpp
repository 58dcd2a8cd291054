#include <ATen/ATen.h>

#include <cmath>

#include "../entries.hpp"
#include "reverse_sde.hpp"

namespace postrec {
namespace {

/// The law of x_t given x_s and x0, with the denoised image for x0 and eta of the noise that it has. With eta = 1 this is DDPM for VP
/// [Ho 2020, eq. 6, 7] and the ancestral rule for VE [Song 2021, appendix F, eq. 47]: in x_sigma both are one rule, so the process matters
/// through the levels alone. eta = 0 is DDIM, which adds no noise [Song 2021b, eq. 12, 16].
class Ancestral : public Solver {
 public:
  using Solver::Solver;

  at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) override {
    const at::Tensor denoised = denoise(x_t, level.sigma);
    if (level.next_sigma == 0.0) return denoised;
    const double ratio = level.next_sigma / level.sigma;
    const double fresh = eta_ * level.next_sigma * std::sqrt(1.0 - ratio * ratio);
    const double keep = std::sqrt(level.next_sigma * level.next_sigma - fresh * fresh) / level.sigma;
    const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kStep), task_.image);
    return combination(keep, x_t, 1.0 - keep, denoised, fresh, noise);
  }

 private:
  const double eta_ = task_.setting("eta");
};

}  // namespace

SolverEntry ancestral_entry() {
  SolverEntry entry;
  entry.info = {"ancestral", "The law of x_t given x_s and x0, with the denoised image for x0 (DDPM; DDIM with eta 0).",
                "[Ho 2020, algorithm 2; Song 2021, eq. 47; Song 2021b, eq. 12]",
                {{"eta", 1.0, 0.0, 1.0, "share of the posterior noise that a step adds: 1 is DDPM, 0 DDIM"}}, ""};
  entry.make = [](const SamplingTask& task) { return std::make_unique<Ancestral>(task); };
  return entry;
}

}  // namespace postrec
