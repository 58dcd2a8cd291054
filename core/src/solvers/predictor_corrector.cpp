#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "reverse_sde.hpp"

namespace postrec {
namespace {

/// Reverse diffusion predicts x at the next level; moves of Hamiltonian dynamics, which leave the law of that level as it is, correct it.
/// A move draws a momentum and takes `leaps` leapfrog steps; one leap is a step of Langevin dynamics. [Song 2021, algorithms 4 and 5; Neal 2011]
///
/// The length of a leap follows the signal-to-noise rule: eps = 2 alpha (r |n|/|score|)^2, leap^2 = 2 eps, with the norms of each sample by itself.
/// alpha = 1 for VE and 1 - beta for VP. In x_sigma the rule reads the same.
/// Differs from [Song 2021]: beta of the step just taken, not of the next one, so that the last correction has one too.
class PredictorCorrector : public Solver {
 public:
  PredictorCorrector(const SamplingTask& task, int moves, int leaps) : Solver(task), moves_(moves), leaps_(leaps) {}

  at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) override {
    const at::Tensor denoised = denoise(x_t, level.sigma);
    if (level.next_sigma == 0.0) return denoised;
    const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kStep), task_.image);
    at::Tensor x = reverse_diffusion_step(task_.process, level.sigma, level.next_sigma, x_t, denoised, noise);
    for (int move = 0; move < moves_; ++move) correct(x, level, move, denoise);
    return x;
  }

 private:
  void correct(at::Tensor& x, const Level& level, int move, const Denoiser& denoise) const {
    at::Tensor momentum = task_.normal(draw_at(level.step, Draw::kCorrector, static_cast<std::uint64_t>(move)), task_.image);
    at::Tensor score = score_at(x, level.next_sigma, denoise);
    const std::vector<double> leap = leap_lengths(score, momentum, level), half = scaled(leap, 0.5);
    add_scaled(momentum, half, score);
    add_scaled(x, leap, momentum);
    for (int i = 1; i < leaps_; ++i) {
      score = score_at(x, level.next_sigma, denoise);
      add_scaled(momentum, leap, score);
      add_scaled(x, leap, momentum);
    }
  }

  at::Tensor score_at(const at::Tensor& x, double sigma, const Denoiser& denoise) const {
    const double precision = 1.0 / (sigma * sigma);
    return linear_combination(precision, denoise(x, sigma), -precision, x);
  }

  std::vector<double> leap_lengths(const at::Tensor& score, const at::Tensor& noise, const Level& level) const {
    const NoiseProcess& process = task_.process;
    const double alpha_root = process.scale(process.time(level.sigma)) / process.scale(process.time(level.next_sigma));
    const std::vector<double> of_noise = dots(noise, noise), of_score = dots(score, score);
    std::vector<double> lengths;
    for (std::size_t b = 0; b < of_noise.size(); ++b) lengths.push_back(2.0 * alpha_root * task_.setting("snr") * std::sqrt(of_noise[b] / of_score[b]));
    return lengths;
  }

  static std::vector<double> scaled(std::vector<double> values, double factor) {
    for (double& value : values) value *= factor;
    return values;
  }

  int moves_;
  int leaps_;
};

constexpr double kMostRepeats = 1000.0;

const SamplerSetting kSnr = {"snr", 0.16, 0.0, 10.0, "signal-to-noise ratio r of the corrector's steps"};

}  // namespace

SolverEntry predictor_corrector_entry() {
  SolverEntry entry;
  entry.info = {"predictor-corrector", "Reverse diffusion, corrected by Langevin dynamics at each level.", "[Song 2021, algorithms 4 and 5]",
                {kSnr, {"corrector-steps", 1.0, 1.0, kMostRepeats, "Langevin steps a level, one evaluation each"}}, ""};
  entry.evaluations = {1.0, "corrector-steps"};
  entry.make = [](const SamplingTask& task) { return std::make_unique<PredictorCorrector>(task, static_cast<int>(task.setting("corrector-steps")), 1); };
  return entry;
}

SolverEntry predictor_corrector_hmc_entry() {
  SolverEntry entry;
  entry.info = {"predictor-corrector-hmc", "Reverse diffusion, corrected by a move of Hamiltonian dynamics at each level.",
                "[Song 2021, section 4.2; Neal 2011, eq. 2.28 to 2.30]",
                {kSnr, {"leapfrog-steps", 3.0, 1.0, kMostRepeats, "leapfrog steps of a move, one evaluation each; our choice, the papers name none"}}, ""};
  entry.evaluations = {1.0, "leapfrog-steps"};
  entry.make = [](const SamplingTask& task) { return std::make_unique<PredictorCorrector>(task, 1, static_cast<int>(task.setting("leapfrog-steps"))); };
  return entry;
}

}  // namespace postrec
