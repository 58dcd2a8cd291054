#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "postrec/error.hpp"
#include "reverse_sde.hpp"

namespace postrec {
namespace {

constexpr int kMostTries = 10000;              // a level; the published tolerances need tens

/// The reverse stochastic process by Euler's rule and its improvement of weak order 2, whose difference sets the next step. One sample at a time,
/// because a step that asked the other samples would make a sample depend on its batch. [Jolicoeur-Martineau 2021, algorithm 1]
/// Differs from [Jolicoeur-Martineau 2021]: steps end at the levels too, and a rejected step keeps the score that it began with.
class AdaptiveSde : public Solver {
 public:
  explicit AdaptiveSde(const SamplingTask& task) : Solver(task) {
    if (task.n_samples != 1)
      throw Error(ErrorKind::kUsage, "solver 'adaptive-sde' with samples in groups", "choose a method without groups, or a solver whose steps are fixed");
  }

  at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) override {
    if (level.next_sigma == 0.0) return denoise(x_t, level.sigma);
    const NoiseProcess& process = task_.process;
    const double end = process.time(level.next_sigma);
    double t = process.time(level.sigma);
    at::Tensor x = multiple(process.scale(t), x_t);
    if (!before_.defined()) before_ = x;
    const auto denoise_scaled = [&](const at::Tensor& scaled, double time) {
      return denoise(multiple(1.0 / process.scale(time), scaled), process.sigma(time));
    };
    at::Tensor denoised = denoise_scaled(x, t);
    for (int n_tried = 0; t > end; ++n_tried) {
      if (n_tried == kMostTries) give_up(level, process.sigma(t));
      const bool last = length_ >= t - end;
      const double length = last ? t - end : length_, next = last ? end : t - length;
      const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kStep, static_cast<std::uint64_t>(n_tried)), task_.image);
      const at::Tensor euler = linear_combination(1.0, x, 1.0, reverse_increment(process, t, length, x, denoised, noise));
      const at::Tensor ahead = reverse_increment(process, next, length, euler, denoise_scaled(euler, next), noise);
      const at::Tensor improved = combination(0.5, euler, 0.5, x, 0.5, ahead);
      const double size = error(euler, improved);
      if (size <= 1.0) {
        x = improved;
        before_ = euler;
        t = next;
        if (t > end) denoised = denoise_scaled(x, t);
      }
      length_ = std::min(1.0, task_.setting("safety") * length * std::pow(std::max(size, kSmallestError), -task_.setting("exponent")));
    }
    return multiple(1.0 / process.scale(end), x);
  }

  std::map<std::string, at::Tensor> state() const override {
    if (!before_.defined()) return {};
    return {{"before", before_}, {"length", at::full({1}, length_, at::kDouble)}};
  }
  void restore(const std::map<std::string, at::Tensor>& state) override {
    if (state.empty()) return;
    before_ = state.at("before").to(task_.device);
    length_ = state.at("length").item<double>();
  }

 private:
  static constexpr double kSmallestError = 1e-9;

  /// Root mean square of the difference in units of what is tolerated at each component; 1 is accepted.
  double error(const at::Tensor& euler, const at::Tensor& improved) const {
    const at::Tensor tolerated = at::maximum(real_view(euler).abs(), real_view(before_).abs())
                                     .mul(task_.setting("relative-tolerance"))
                                     .clamp_min(task_.setting("absolute-tolerance"));
    const at::Tensor difference = real_view(linear_combination(1.0, euler, -1.0, improved)).div(tolerated);
    return std::sqrt(dots(difference, difference)[0] / static_cast<double>(real_components(euler)));
  }

  [[noreturn]] void give_up(const Level& level, double sigma) const {
    throw Error(ErrorKind::kNumerical, "solver 'adaptive-sde' has come from sigma " + std::to_string(level.sigma) + " to " + std::to_string(sigma) +
                " of " + std::to_string(level.next_sigma) + " in " + std::to_string(kMostTries) + " steps", "use a larger tolerance");
  }

  at::Tensor before_;                          ///< Euler's x at the last accepted step, scaled as the process does
  double length_ = task_.setting("first-step");
};

}  // namespace

SolverEntry adaptive_sde_entry() {
  SolverEntry entry;
  entry.info = {"adaptive-sde", "The reverse stochastic process by steps as long as a tolerance allows, each sample on its own.",
                "[Jolicoeur-Martineau 2021, algorithm 1]",
                {{"relative-tolerance", 0.01, 1e-6, 1.0, "error of a step that is tolerated, as a share of x"},
                 // (y_max - y_min)/256 for images in [0, 1].
                 {"absolute-tolerance", 1.0 / 256.0, 1e-9, std::numeric_limits<double>::infinity(), "error that is always tolerated, in units of the image"},
                 {"first-step", 0.01, 1e-6, 1.0, "first step tried, in the time of the process, which runs from 1 to 0"},
                 {"safety", 0.9, 0.1, 1.0, "share of the longest acceptable step that is taken (theta)"},
                 {"exponent", 0.9, 0.5, 1.0, "of the error in the next step (r)"}},
                ""};
  entry.adaptive = true;
  entry.make = [](const SamplingTask& task) { return std::make_unique<AdaptiveSde>(task); };
  return entry;
}

}  // namespace postrec
