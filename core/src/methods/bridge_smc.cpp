#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "../particles.hpp"
#include "bridge.hpp"

namespace postrec {
namespace {

/// The bridge sampler with particle weights (BRSMC). BR's step is exact where x0 given x_t is N(D, C); elsewhere the weights correct it: a particle
/// gains what its new denoised image says of y, p(y | D, C), over what the Gaussian had predicted for it, p(y | D', C'), with D' and C' the mean and
/// covariance of x0 that the Gaussian of the level before gives after the crossing. Both are equal, and nothing is gained, where that Gaussian is right.
/// Determinants are the same for all particles and cancel. [core/README.md; Del Moral 2006]
class BridgeSmc : public Bridge {
 public:
  explicit BridgeSmc(const SamplingTask& task)
      : Bridge(task), weights_(task.n_samples, static_cast<std::int64_t>(task.setting("group"))) {}

  at::Tensor advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) override {
    const bool last = level.next_sigma == 0.0;
    const SpectralCovariance covariance = task_.error_covariance(level.sigma);
    at::Tensor denoised = task_.denoise(x_t, level.sigma);
    SolveReport weighing;
    weigh(denoised, covariance, -0.5, weighing);
    record.effective_share = weights_.effective_share();
    weights_.temper(task_.setting("tempered-share"));
    const double threshold = last ? kAlways : task_.setting("resample-below");
    const auto ancestors = weights_.resample(threshold, task_.uniform(draw_at(level.step, Draw::kResample)));
    denoised = take_ancestors(denoised, ancestors);
    explained_ = take_ancestors(explained_, ancestors);

    const at::Tensor x0 = draw(denoised, covariance, task_.likelihood->sigma_y(), level, record);
    at::Tensor next = x0;
    if (!last) {
      const at::Tensor parents = take_ancestors(x_t, ancestors);
      next = cross(parents, x0, level);
      predict(parents, next, denoised, covariance, level, weighing);
    }
    keep_the_worse(record.solve, weighing);
    return next;
  }

  std::map<std::string, at::Tensor> state() const override {
    if (!explained_.defined()) return {};
    return {{"log_weights", weights_.state()}, {"explained", real_view(explained_)}};
  }

  void restore(const std::map<std::string, at::Tensor>& state) override {
    if (state.empty()) return;
    weights_.restore(state.at("log_weights"));
    const at::Tensor explained = state.at("explained").to(task_.device).contiguous();
    explained_ = task_.image.dtype == at::kComplexFloat ? at::view_as_complex(explained) : explained;
  }

 private:
  static constexpr double kAlways = 2.0;       // above every effective share

  // Multiplies the weights by exp(factor r^H S^-1 r). The solution for one level's prediction is the first guess for the next level's image.
  // The solver's errors all have one sign and add up over the levels, differently in different modes, so that the budget is for the whole run.
  void weigh(const at::Tensor& mean, const SpectralCovariance& covariance, double factor, SolveReport& total) {
    SolveOptions options = task_.solve;
    const double weight_error = task_.setting("weight-error") / static_cast<double>(task_.sigmas.size());
    options.tolerance = std::sqrt(2.0 * weight_error / static_cast<double>(real_components(mean)));
    SolveReport report;
    std::vector<double> distance = task_.likelihood->data_distance(mean, covariance, explained_, options, report);
    for (double& value : distance) value *= factor;
    weights_.multiply(distance);
    keep_the_worse(total, report);
  }

  // Divides the weights by p(y | D', C'): x0 given x_t and x' for x0 ~ N(D, C), x' = a x_t + b x0 + v^(1/2) n.
  void predict(const at::Tensor& x_t, const at::Tensor& next, const at::Tensor& denoised, const SpectralCovariance& covariance, const Level& level,
               SolveReport& weighing) {
    const double ratio = level.next_sigma / level.sigma, a = ratio * ratio, b = 1.0 - a, v = level.next_sigma * level.next_sigma * b;
    const at::Tensor surprise = linear_combination(1.0, next, -1.0, linear_combination(a, x_t, b, denoised));
    const at::Tensor& c = covariance.eigenvalues();
    const at::Tensor share = (c * (b * b) + v).reciprocal().mul(c);
    const at::Tensor moved = SpectralCovariance(covariance.basis(), share * b).apply(surprise);
    weigh(linear_combination(1.0, denoised, 1.0, moved), SpectralCovariance(covariance.basis(), share * v), 0.5, weighing);
  }

  ParticleWeights weights_;
  at::Tensor explained_;                       // u of the last weighing, see GaussianLikelihood::data_distance
};

}  // namespace

// Groups of 32: on T2c-box4 16 leave a weight error of .088, 32 of .036, 64 of .020; elsewhere 32 and 64 give the same. tests/benchmark/sampler_study.cpp
MethodEntry bridge_smc_entry() {
  MethodEntry entry;
  entry.info = {"brsmc",
                "The bridge with particle weights, which give ambiguous data their right modes (BRSMC).",
                "[core/README.md]",
                {{"group", 32, 1, 4096, "samples that know of each other"},
                 {"tempered-share", 0.4, 0.0, 1.0, "weights are flattened until the effective sample size is this share of the group; 0: never"},
                 {"resample-below", 0.5, 0.0, 1.0, "a group is resampled when its effective share is below this"},
                 {"weight-error", 0.1, 1e-6, 10.0, "error of a log weight that the solver may leave over the whole run"}},
                ""};
  entry.group_setting = "group";
  entry.leaps = true;
  entry.walk = [](const SamplingTask& task) { return std::make_unique<BridgeSmc>(task); };
  return entry;
}

}  // namespace postrec
