#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "heun_rule.hpp"

namespace postrec {
namespace {

/// Noise is added and the probability flow takes it away again with the rest, by Heun's rule. [Karras 2022, algorithm 2]
/// Differs from [Karras 2022]: the noise never exceeds the first level, because the prior does not know higher ones.
class StochasticHeun : public Solver {
 public:
  using Solver::Solver;

  at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) override {
    const double sigma = std::min(level.sigma * (1.0 + churn(level)), std::max(level.sigma, task_.sigmas.front()));
    const double added = task_.setting("s-noise") * std::sqrt(sigma * sigma - level.sigma * level.sigma);
    const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kStep), task_.image);
    return heun_step(linear_combination(1.0, x_t, added, noise), sigma, level.next_sigma, denoise);
  }

 private:
  double churn(const Level& level) const {
    if (level.sigma < task_.setting("s-tmin") || level.sigma > task_.setting("s-tmax")) return 0.0;
    return std::min(task_.setting("s-churn") / static_cast<double>(level.n_levels), std::sqrt(2.0) - 1.0);
  }
};

}  // namespace

SolverEntry stochastic_heun_entry() {
  SolverEntry entry;
  // The defaults are those of table 5 for ImageNet; an exact denoiser would want s-noise 1.
  entry.info = {"stochastic-heun", "The probability flow by Heun's rule, with noise added before each step.", "[Karras 2022, algorithm 2 and table 5]",
                {{"s-churn", 40.0, 0.0, std::numeric_limits<double>::infinity(), "how much noise is added over all levels; 0 adds none"},
                 {"s-tmin", 0.05, 0.0, std::numeric_limits<double>::infinity(), "lowest sigma at which noise is added"},
                 {"s-tmax", 50.0, 0.0, std::numeric_limits<double>::infinity(), "highest sigma at which noise is added"},
                 {"s-noise", 1.003, 0.0, 2.0, "standard deviation of the added noise, a little over 1 against denoisers that smooth too much"}},
                ""};
  entry.evaluations = {2.0};
  entry.make = [](const SamplingTask& task) { return std::make_unique<StochasticHeun>(task); };
  return entry;
}

}  // namespace postrec
