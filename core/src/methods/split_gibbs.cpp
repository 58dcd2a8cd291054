#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "flat_draw.hpp"
#include "operator_root.hpp"
#include "postrec/noise_schedule.hpp"

namespace postrec {
namespace {

constexpr double kBelowNoise = 0.98;           // of sigma_y/||A||: the last rho, at which the coupling is free of bias
constexpr double kLowest = 0.05;               // of rho: where the reverse process ends
constexpr double kRootTolerance = 1e-4;        // of the norm: 1/2000 of the smallest eigenvalue of the root, (1 - .98^2)^(1/2)

/// Gibbs sweeps over an image x and its noisy companion z, which sees the data: z given x and y, and x given z by the reverse process from
/// rho. [Wu 2024, algorithm 1]
///
/// While rho ||A|| > sigma_y, z given x is the Gaussian of precision A^H A/sigma_y^2 + I/rho^2, and x has a law that is wider than the
/// posterior: p(x) N(y; A x, sigma_y^2 I + rho^2 A A^H). Below,
///   z = x + (rho/sigma_y)^2 A^H (y - A x) + rho (I - (rho/sigma_y)^2 A^H A)^(1/2) n.
/// With x from p(x | y) the joint law is, as a function of x, proportional to p(x) N(z; x, rho^2 I): the two draws leave p(x | y) as it is.
///
/// Differs from [Wu 2024]: the kernel below sigma_y; a start from the bridge sampler with particle weights; and the reverse process draws
/// x0 about the denoised image with the covariance of its error before each step, which makes x given z exact for Gaussian priors and
/// changes nothing in the limit of many steps.
class SplitGibbs : public SamplingMethod {
 public:
  using SamplingMethod::SamplingMethod;

  /// rho, falling geometrically for a share of the sweeps and constant then.
  std::vector<double> levels() const override {
    const int n = static_cast<int>(task_.sigmas.size());
    const int falling = static_cast<int>(std::lround(task_.setting("burn-in") * n));
    std::vector<double> rho(n, last_rho_);
    for (int i = 0; i < falling; ++i) rho[i] = first_rho_ * std::pow(last_rho_ / first_rho_, static_cast<double>(i) / falling);
    return rho;
  }

  /// Samples of the bridge with particle weights.
  at::Tensor start(double rho) const override {
    if (start_steps_ == 0) return SamplingMethod::start(rho);
    const MethodEntry bridge = bridge_smc_entry();
    SamplingTask task = task_;
    task.settings = complete_settings(bridge, nullptr, {{"group", task_.setting("group")}});
    const SigmaRange range = task_.process.range();
    task.sigmas = NoiseSchedule::karras(start_steps_, range.maximum, range.minimum).sigmas();
    const auto method = bridge.walk(task);
    at::Tensor x = method->start(task.sigmas.front());
    for (int i = 0; i < start_steps_; ++i) {
      LevelRecord record;
      x = method->advance(x, {i, task.sigmas[i], i + 1 < start_steps_ ? task.sigmas[i + 1] : 0.0, start_steps_}, record);
      share_at_start_ = std::min(share_at_start_, record.effective_share);
    }
    task_.nfe = task.nfe;
    task_.network_seconds = task.network_seconds;
    return x;
  }

  at::Tensor advance(const at::Tensor& x, const Level& level, LevelRecord& record) override {
    if (level.step == 0) record.effective_share = share_at_start_;
    return draw_image(draw_companion(x, level, record), level);
  }

 private:
  /// z given x and y.
  at::Tensor draw_companion(const at::Tensor& x, const Level& level, LevelRecord& record) const {
    const GaussianLikelihood& likelihood = *task_.likelihood;
    const Operator& op = likelihood.op();
    const double rho = level.sigma;
    const at::Tensor white = task_.normal(draw_at(level.step, Draw::kGuidanceImage), task_.image);
    if (rho > bias_free_rho_) {
      const at::Tensor white_data = task_.normal(draw_at(level.step, Draw::kGuidanceData), op.codomain());
      return draw_about(task_, x, rho * rho, white, white_data, 0.0, record);
    }
    record.misfit = misfit_of(likelihood, x);
    const double share = rho / likelihood.sigma_y(), bound = share * op.norm_bound();
    const auto scaled_normal = [&](const at::Tensor& v) {
      const at::Tensor normal = op.normal(v);
      return linear_combination(share * share, normal, 0.0, normal);
    };
    const at::Tensor noise = root_of_one_minus(scaled_normal, bound * bound, white, kRootTolerance);
    const at::Tensor data_gradient = op.adjoint(likelihood.y().unsqueeze(0) - op.forward(x));
    return linear_combination(1.0, linear_combination(1.0, x, share * share, data_gradient), rho, noise);
  }

  /// x given z = x + rho n, by the reverse process.
  at::Tensor draw_image(at::Tensor x, const Level& level) const {
    const double rho = level.sigma, lowest = std::max(kLowest * rho, task_.prior.range().minimum);
    const bool one_step = sde_steps_ == 1 || lowest >= rho;
    const std::vector<double> sigmas = one_step ? std::vector<double>{rho} : NoiseSchedule::karras(sde_steps_, rho, lowest).sigmas();
    for (std::size_t i = 0; i < sigmas.size(); ++i) {
      const at::Tensor white = task_.normal(draw_at(level.step, Draw::kStep, i), task_.image);
      const at::Tensor x0 = task_.denoise(x, sigmas[i]) + task_.error_covariance(sigmas[i]).apply_factor(white);
      if (i + 1 == sigmas.size()) return x0;
      const double ratio = sigmas[i + 1] / sigmas[i], keep = ratio * ratio;
      const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kCorrector, i), task_.image);
      x = linear_combination(1.0, linear_combination(keep, x, 1.0 - keep, x0), sigmas[i + 1] * std::sqrt(1.0 - keep), noise);
    }
    return x;
  }

  mutable double share_at_start_ = 1.0;        // smallest effective share of the particles: sweeps begin alike where these collapsed
  const int sde_steps_ = static_cast<int>(task_.setting("sde-steps"));
  const int start_steps_ = static_cast<int>(task_.setting("start-steps"));
  const double bias_free_rho_ = kBelowNoise * task_.likelihood->sigma_y() / task_.likelihood->op().norm_bound();
  const double first_rho_ = task_.setting("rho") > 0.0 ? task_.setting("rho") : start_steps_ > 0 ? bias_free_rho_ : 1.0;
  const double last_rho_ = std::min(first_rho_, bias_free_rho_);
};

}  // namespace

MethodEntry split_gibbs_entry() {
  MethodEntry entry;
  entry.info = {"split-gibbs",
                "Gibbs sweeps between the image and a noisy companion that sees the data, in the end free of bias. Slow, for validation.",
                "[Wu 2024, algorithm 1; bias-free kernel: core/README.md]",
                {{"sde-steps", 20, 1, 10000, "evaluations of a sweep: steps of the reverse process"},
                 {"start-steps", 60, 0, 4000, "evaluations of brsmc for the start; 0: start from noise"},
                 {"group", 32, 1, 4096, "samples that know of each other at the start"},
                 {"rho", 0.0, 0.0, 1e6, "noise of the companion at the first sweep; 0: that of the last one, or 1 when started from noise"},
                 {"burn-in", 0.85, 0.0, 1.0, "share of the sweeps over which rho falls to its last value, .98 sigma_y/||A||"}},
                ""};
  entry.evaluations = {0.0, "sde-steps"};
  entry.evaluations_besides = {0.0, "start-steps"};
  entry.group_setting = "group";
  entry.walk = [](const SamplingTask& task) { return std::make_unique<SplitGibbs>(task); };
  return entry;
}

}  // namespace postrec
