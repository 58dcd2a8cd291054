#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "flat_draw.hpp"
#include "postrec/noise_schedule.hpp"

namespace postrec {
namespace {

/// Levels that are decoupled: from x_t by the probability flow to x0_hat, from there to a draw of p(x0 | x_t, y) with x0 ~ N(x0_hat, r^2
/// I), r = sigma_t, and to x at the next level by fresh noise alone. [Zhang 2025, algorithm 1]
class Daps : public SamplingMethod {
 public:
  using SamplingMethod::SamplingMethod;

  at::Tensor advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) override {
    const at::Tensor x0 = draw(flow(x_t, level.sigma), level, record);
    if (level.next_sigma == 0.0) return x0;
    return linear_combination(1.0, x0, level.next_sigma, task_.normal(draw_at(level.step, Draw::kBridge), task_.image));
  }

 protected:
  /// x0 given x_t and y, for x0 ~ N(x0_hat, level.sigma^2 I).
  virtual at::Tensor draw(const at::Tensor& x0_hat, const Level& level, LevelRecord& record) const = 0;

 private:
  /// The end of the probability flow from x_t, by Euler steps over Karras levels; the last step returns the denoised image.
  at::Tensor flow(at::Tensor x, double sigma) const {
    const double lowest = task_.prior.range().minimum;
    const int n_steps = sigma > lowest ? static_cast<int>(task_.setting("ode-steps")) : 1;
    const std::vector<double> levels = n_steps > 1 ? NoiseSchedule::karras(n_steps, sigma, lowest).sigmas() : std::vector<double>{sigma};
    for (std::size_t i = 0; i < levels.size(); ++i) {
      const at::Tensor denoised = task_.denoise(x, levels[i]);
      if (i + 1 == levels.size()) return denoised;
      const double keep = levels[i + 1] / levels[i];
      x = linear_combination(keep, x, 1.0 - keep, denoised);
    }
    return x;
  }
};

class DapsExact : public Daps {
 public:
  using Daps::Daps;

 private:
  at::Tensor draw(const at::Tensor& x0_hat, const Level& level, LevelRecord& record) const override {
    const at::Tensor white_image = task_.normal(draw_at(level.step, Draw::kWhiteImage), task_.image);
    const at::Tensor white_data = task_.normal(draw_at(level.step, Draw::kWhiteData), task_.likelihood->op().codomain());
    return draw_about(task_, x0_hat, level.sigma * level.sigma, white_image, white_data, level.next_sigma, record);
  }
};

/// The draw by Langevin steps from x0_hat, whose size falls linearly over the levels.
class DapsLangevin : public Daps {
 public:
  using Daps::Daps;

 private:
  at::Tensor draw(const at::Tensor& x0_hat, const Level& level, LevelRecord& record) const override {
    const GaussianLikelihood& likelihood = *task_.likelihood;
    record.misfit = misfit_of(likelihood, x0_hat);
    const at::Tensor back_projected = likelihood.op().adjoint(likelihood.y().unsqueeze(0));
    const double pull = 1.0 / (level.sigma * level.sigma), precision = 1.0 / (noise_ * noise_), step = step_size(level);
    at::Tensor x = x0_hat;
    for (std::int64_t j = 0; j < n_langevin_; ++j) {
      const at::Tensor data_gradient = back_projected - likelihood.op().normal(x);
      const at::Tensor gradient = linear_combination(precision, data_gradient, pull, x0_hat - x);
      const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kStep, static_cast<std::uint64_t>(j)), task_.image);
      x = linear_combination(1.0, linear_combination(1.0, x, step, gradient), std::sqrt(2.0 * step), noise);
    }
    return x;
  }

  // Differs from [Zhang 2025]: a step is never longer than 1/(||A||^2/noise^2 + 1/r^2), because twice as much diverges; the published
  // lengths are tuned by hand to each operator.
  double step_size(const Level& level) const {
    const double last = static_cast<double>(std::max(level.n_levels, 2) - 1);
    const double done = std::min(1.0, level.step / last), ratio = task_.setting("last-step-ratio");
    const double published = task_.setting("step") * (1.0 + done * (ratio - 1.0));
    const double norm = task_.likelihood->op().norm_bound() / noise_;
    return std::min(published, 1.0 / (norm * norm + 1.0 / (level.sigma * level.sigma)));
  }

  const std::int64_t n_langevin_ = static_cast<std::int64_t>(task_.setting("langevin-steps"));
  // Differs from [Zhang 2025]: they take .01 for data with noise .05; we take the noise of the data unless told otherwise.
  const double noise_ = task_.setting("noise") > 0.0 ? task_.setting("noise") : task_.likelihood->sigma_y();
};

const SamplerSetting kOdeSteps = {"ode-steps", 5, 1, 1000, "evaluations of the probability flow at each level"};

}  // namespace

MethodEntry daps_entry() {
  MethodEntry entry;
  entry.info = {"daps",
                "Decoupled annealing: x0 by the probability flow, a draw given y by Langevin steps, fresh noise.",
                "[Zhang 2025, algorithm 1]",
                {kOdeSteps,
                 {"langevin-steps", 100, 1, 65535, "steps of each draw; they cost no evaluation"},
                 {"step", 5e-5, 1e-12, 1.0, "length of a Langevin step at the first level, tuned by its authors to each operator"},
                 {"last-step-ratio", 0.01, 1e-6, 1.0, "its length at the last level over that"},
                 {"noise", 0.0, 0.0, 1e6, "noise level that the draws assume in the data; 0: that of the data, the authors take .01"}},
                ""};
  entry.evaluations = {0.0, kOdeSteps.name};
  entry.walk = [](const SamplingTask& task) { return std::make_unique<DapsLangevin>(task); };
  return entry;
}

MethodEntry daps_exact_entry() {
  MethodEntry entry;
  entry.info = {"daps-exact",
                "Decoupled annealing with an exact draw given y in place of Langevin steps.",
                "[Zhang 2025, algorithm 1]",
                {kOdeSteps},
                ""};
  entry.evaluations = {0.0, kOdeSteps.name};
  entry.walk = [](const SamplingTask& task) { return std::make_unique<DapsExact>(task); };
  return entry;
}

}  // namespace postrec
