#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "flat_draw.hpp"
#include "postrec/noise_schedule.hpp"

namespace postrec {
namespace {

/// Langevin steps of p_sigma(x) p(y | x), the likelihood as it is at every level, preconditioned by M = (A^H A/sigma_y^2 + I/sigma^2)^-1:
///   x += gamma M ((D - x)/sigma^2 + A^H (y - A x)/sigma_y^2) + (2 gamma)^(1/2) M^(1/2) n.
/// The bracket is M^-1 (x0 - x) with x0 the most probable image for x0 ~ N(D, sigma^2 I) given y, and an exact draw about x0 has the
/// covariance M; so one draw with its noise scaled by (2/gamma)^(1/2) is the whole step. [Blumenthal 2025]
class PreconditionedLangevin : public SamplingMethod {
 public:
  using SamplingMethod::SamplingMethod;

  std::vector<double> levels() const override {
    const SigmaRange range = task_.process.range();
    return NoiseSchedule::geometric(static_cast<int>(task_.sigmas.size()), range.maximum, range.minimum).sigmas();
  }

  /// The posterior for a white prior of the first level.
  at::Tensor start(double sigma) const override {
    LevelRecord record;
    const at::Tensor white = task_.normal(kInitialDraw, task_.image);
    return draw_about(task_, at::zeros_like(white), sigma * sigma, white, white_data(draw_at(0, Draw::kGuidanceData)), sigma, record);
  }

  // Differs from [Blumenthal 2025]: M is solved for to the tolerance of the run; they stop after 10 iterations of conjugate gradients.
  at::Tensor advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) override {
    const double scale = std::sqrt(2.0 / gamma_);
    at::Tensor x = x_t;
    for (std::int64_t j = 0; j < n_steps_; ++j) {
      const auto repeat = static_cast<std::uint64_t>(j);
      const at::Tensor white = task_.normal(draw_at(level.step, Draw::kWhiteImage, repeat), task_.image);
      const at::Tensor data = white_data(draw_at(level.step, Draw::kWhiteData, repeat));
      const at::Tensor denoised = task_.denoise(x, level.sigma);
      const at::Tensor x0 = draw_about(task_, denoised, level.sigma * level.sigma, linear_combination(scale, white, 0.0, white),
                                       linear_combination(scale, data, 0.0, data), level.next_sigma, record);
      x = linear_combination(1.0 - gamma_, x, gamma_, x0);
    }
    return x;
  }

 private:
  at::Tensor white_data(std::uint64_t draw) const { return task_.normal(draw, task_.likelihood->op().codomain()); }

  const double gamma_ = task_.setting("gamma");
  const std::int64_t n_steps_ = static_cast<std::int64_t>(task_.setting("steps-per-level"));
};

}  // namespace

MethodEntry preconditioned_langevin_entry() {
  MethodEntry entry;
  entry.info = {"preconditioned-langevin",
                "Langevin steps at falling noise levels with the exact likelihood, preconditioned by (A^H A/sigma_y^2 + 1/sigma^2)^-1.",
                "[Blumenthal 2025]",
                {{"steps-per-level", 1, 1, 65535, "Langevin steps at each level"},
                 {"gamma", 0.5, 1e-6, 1.0, "length of a step; 1 goes all the way to the draw"}},
                ""};
  entry.evaluations = {0.0, "steps-per-level"};
  entry.walk = [](const SamplingTask& task) { return std::make_unique<PreconditionedLangevin>(task); };
  return entry;
}

}  // namespace postrec
