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

/// The step over sigma^2 that leaves x at the next level as spread as the next level is, as nearly as n_steps steps can: with levels that
/// fall by `ratio`, x has the variance ratio^2 sigma^2 when it comes, and a^n (ratio^2 - v) + v times sigma^2 afterwards, a = (1 - step)^2,
/// v = 1/(1 - step/2). [Song 2020, technique 4]
double matching_step(double ratio, std::int64_t n_steps) {
  double best = 0.0, least = INFINITY;
  for (int i = 1; i < 1000; ++i) {
    const double step = i / 1000.0, limit = 1.0 / (1.0 - step / 2.0);
    const double left = std::pow(1.0 - step, 2.0 * static_cast<double>(n_steps));
    const double excess = std::abs(left * (ratio * ratio - limit) + limit - 1.0);
    if (excess < least) best = step, least = excess;
  }
  return best;
}

/// Langevin steps x += step score + (2 step)^(1/2) n at each of the falling, geometric levels, step proportional to sigma^2. Of the prior
/// alone [Song 2019, algorithm 1; Song 2020], or with the gradient of a likelihood whose noise is annealed too [Jalal 2021].
class AnnealedLangevin : public SamplingMethod {
 public:
  explicit AnnealedLangevin(const SamplingTask& task) : SamplingMethod(task) {
    const double n_gaps = static_cast<double>(std::max<std::size_t>(task.sigmas.size(), 2) - 1);
    if (step_ == 0.0) step_ = matching_step(std::pow(task.sigmas.front() / task.sigmas.back(), 1.0 / n_gaps), n_steps_);
    if (!task.likelihood) return;
    norm_ = task.likelihood->op().norm_bound();
    back_projected_ = task.likelihood->op().adjoint(task.likelihood->y().unsqueeze(0));
  }

  std::vector<double> levels() const override {
    const SigmaRange range = task_.process.range();
    return NoiseSchedule::geometric(static_cast<int>(task_.sigmas.size()), range.maximum, range.minimum).sigmas();
  }

  at::Tensor advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) override {
    const double variance = level.sigma * level.sigma, step = step_ * variance / (1.0 + norm_ * norm_ * data_precision(level) * variance);
    at::Tensor x = x_t;
    for (std::int64_t j = 0; j < n_steps_; ++j) {
      const at::Tensor denoised = task_.denoise(x, level.sigma);
      if (task_.likelihood && j == 0) record.misfit = misfit_of(*task_.likelihood, denoised);
      const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kStep, static_cast<std::uint64_t>(j)), task_.image);
      x = linear_combination(1.0, linear_combination(1.0, x, step, gradient(x, denoised, level)), std::sqrt(2.0 * step), noise);
    }
    // What noise is left is taken out [Song 2020, algorithm 1]; not from a posterior [Jalal 2021], where the data have narrowed it.
    return level.next_sigma == 0.0 && !task_.likelihood ? task_.denoise(x, level.sigma) : x;
  }

 private:
  at::Tensor gradient(const at::Tensor& x, const at::Tensor& denoised, const Level& level) const {
    const double pull = 1.0 / (level.sigma * level.sigma);
    if (!task_.likelihood) return linear_combination(pull, denoised, -pull, x);
    const at::Tensor data_gradient = back_projected_ - task_.likelihood->op().normal(x);
    return linear_combination(pull, denoised - x, data_precision(level), data_gradient);
  }

  // Differs from [Jalal 2021]: gamma is sigma times a setting and the step is divided by 1 + ||A||^2 sigma^2/(sigma_y^2 + gamma^2), so that
  // it is stable for every operator; they tune gamma and step by hand.
  double data_precision(const Level& level) const {
    if (!task_.likelihood) return 0.0;
    const double gamma = task_.setting("gamma") * level.sigma;
    return 1.0 / (task_.likelihood->sigma_y() * task_.likelihood->sigma_y() + gamma * gamma);
  }

  const std::int64_t n_steps_ = static_cast<std::int64_t>(task_.setting("steps-per-level"));
  double step_ = task_.setting("step");
  double norm_ = 0.0;
  at::Tensor back_projected_;                  ///< A^H y, [1, domain]
};

}  // namespace

MethodEntry annealed_langevin_entry() {
  MethodEntry entry;
  entry.info = {"annealed-langevin",
                "Langevin steps at falling noise levels, of the prior alone or with a likelihood annealed alike (NCSN).",
                "[Song 2019, algorithm 1; Song 2020, techniques 4 and 5; Jalal 2021]",
                {{"steps-per-level", 5, 1, 65535, "Langevin steps at each level"},
                 {"step", 0.0, 0.0, 1.0, "length of a step over sigma^2; 0: by technique 4 from the levels (.062 for the authors' 232)"},
                 {"gamma", 1.0, 0.0, 1e6, "noise that the likelihood is annealed with, over sigma"}},
                ""};
  entry.needs = Needs::kEither;
  entry.evaluations = {0.0, "steps-per-level"};
  entry.evaluations_besides = {1.0};           // the noise taken out at the end, without a measurement
  entry.walk = [](const SamplingTask& task) { return std::make_unique<AnnealedLangevin>(task); };
  return entry;
}

}  // namespace postrec
