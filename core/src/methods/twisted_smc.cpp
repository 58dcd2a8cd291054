#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "../particles.hpp"

namespace postrec {
namespace {

/// The twisted diffusion sampler: particles walk with the guided score grad log p(x_t) + grad log q(y | x_t), q(y | x_t) = N(y; A D(x_t), v I), and
/// weights correct what q gets wrong; exact as particles grow in number, whatever q. [Wu 2023, algorithm 1]
///
/// Steps are DDPM's in x + sigma n: x' ~ N(a x + b (D + sigma^2 grad log q), t^2 b), with the law of x_t given x_s and x0 = D for a, b and t^2 b.
/// v = sigma_y^2 + tau^2 sigma^2/(tau^2 + sigma^2). [Wu 2023, section 5.2, after Song 2023; sigma_y^2 is ours, their data are noiseless.] A step adds
/// up to b sigma^2/v of a residual, sigma^2/tau^2 where D's Jacobian is near 1: with tau^2 = 1, the published one, few levels overshoot in patterns that
/// the prior gives a variance far above 1. On brain-mr 20 levels do so with 10 and not with 100.
/// Differs from [Wu 2023]: particles come in groups, so that a group's samples share no ancestor with another's; the twisted image is not clipped to
/// the range of pictures, which scans do not have; the last image is D of the last level, which has the variance 0 of the last step.
class TwistedSmc : public SamplingMethod {
 public:
  explicit TwistedSmc(const SamplingTask& task)
      : SamplingMethod(task), weights_(task.n_samples, static_cast<std::int64_t>(task.setting("group"))) {}

  at::Tensor advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) override {
    return level.next_sigma == 0.0 ? finish(task_.denoise(x_t, level.sigma), level, record) : walk(x_t, level, record);
  }

  std::map<std::string, at::Tensor> state() const override { return {{"log_weights", weights_.state()}}; }
  void restore(const std::map<std::string, at::Tensor>& state) override { weights_.restore(state.at("log_weights")); }

 private:
  static constexpr double kAlways = 2.0;       // above every effective share

  double twist_variance(double sigma) const {
    const double noise = task_.likelihood->sigma_y(), image = task_.setting("image-variance");
    return noise * noise + image * sigma * sigma / (image + sigma * sigma);
  }

  std::vector<double> squared_distance(const at::Tensor& residual, LevelRecord& record) const {
    const double noise = task_.likelihood->sigma_y(), n_measured = static_cast<double>(task_.likelihood->n_measured());
    const double expected = noise * noise * std::max(n_measured, 1.0);
    const std::vector<double> distance = dots(residual, residual);
    for (const double value : distance) record.misfit.push_back(value / expected);
    return distance;
  }

  // Multiplies the weights by N(y; A D, variance I), up to what all particles share, and resamples.
  std::vector<std::int64_t> weigh(std::vector<double> distance, double variance, double threshold, const Level& level, LevelRecord& record) {
    for (double& value : distance) value *= -0.5 / variance;
    weights_.multiply(distance);
    record.effective_share = weights_.effective_share();
    return weights_.resample(threshold, task_.uniform(draw_at(level.step, Draw::kResample)));
  }

  at::Tensor walk(const at::Tensor& x_t, const Level& level, LevelRecord& record) {
    const double ratio = level.next_sigma / level.sigma, a = ratio * ratio, b = 1.0 - a, spread = level.next_sigma * std::sqrt(b);
    const double variance = twist_variance(level.sigma);
    const DenoisedWithJacobian prior = task_.denoise_with_jacobian(x_t, level.sigma);
    const at::Tensor residual = task_.likelihood->y() - task_.likelihood->op().forward(prior.denoised);
    const at::Tensor pull = prior.jacobian_product(task_.likelihood->op().adjoint(residual, prior.denoised));  // variance times grad log q
    const std::vector<double> distance = squared_distance(residual, record);
    const auto ancestors = weigh(distance, variance, task_.setting("resample-below"), level, record);

    const at::Tensor mean = take_ancestors(linear_combination(a, x_t, b, prior.denoised), ancestors);
    const at::Tensor gradient = take_ancestors(pull, ancestors);
    const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kStep), task_.image);
    // In units of the noise.
    const at::Tensor shift = linear_combination(b * level.sigma * level.sigma / (variance * spread), gradient, 0.0, gradient);
    // The density of the prior's step over that of the twisted one, exp(-|noise + shift|^2/2 + |noise|^2/2), over q(y | x_t).
    const std::vector<double> squares = dots(shift, shift), products = dots(shift, noise);
    std::vector<double> correction(squares.size());
    for (std::size_t i = 0; i < correction.size(); ++i) correction[i] = -0.5 * squares[i] - products[i] + 0.5 / variance * distance[ancestors[i]];
    weights_.multiply(correction);
    return linear_combination(1.0, mean, spread, linear_combination(1.0, noise, 1.0, shift));
  }

  // The likelihood itself takes the place of q at the end.
  at::Tensor finish(const at::Tensor& denoised, const Level& level, LevelRecord& record) {
    const double noise = task_.likelihood->sigma_y();
    const at::Tensor residual = task_.likelihood->y() - task_.likelihood->op().forward(denoised);
    return take_ancestors(denoised, weigh(squared_distance(residual, record), noise * noise, kAlways, level, record));
  }

  ParticleWeights weights_;
};

}  // namespace

MethodEntry twisted_smc_entry() {
  MethodEntry entry;
  entry.info = {"twisted-smc",
                "The twisted diffusion sampler (TDS): guided particles whose weights correct the guidance.",
                "[Wu 2023, algorithm 1]",
                {{"group", 32, 1, 4096, "samples that know of each other"},
                 {"image-variance", 1.0, 0.0, 1e12, "tau^2, the variance under the prior; larger guides less far a step"},
                 {"resample-below", 0.5, 0.0, 1.0, "a group is resampled when its effective share is below this"}},
                ""};
  entry.evaluations = {2.0};
  entry.evaluations_besides = {-1.0};          // no product at the last level
  entry.group_setting = "group";
  entry.walk = [](const SamplingTask& task) { return std::make_unique<TwistedSmc>(task); };
  return entry;
}

}  // namespace postrec
