#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "postrec/classifier.hpp"
#include "postrec/error.hpp"
#include "postrec/likelihood.hpp"
#include "postrec/noise_process.hpp"
#include "postrec/prior.hpp"
#include "postrec/random.hpp"

namespace postrec {

/// D(x_t, sigma) with its derivative.
struct DenoisedWithJacobian {
  at::Tensor denoised;                         ///< [B, domain], without a graph
  /// v -> (dD/dx_t)^T v in real components, [B, domain] -> [B, domain]; as often as wanted. The Jacobian of an exact denoiser is symmetric. Empty: not to be had.
  std::function<at::Tensor(const at::Tensor& v)> jacobian_product;
};

/// One batch of samples and what is asked of it. Lives as long as the batch.
struct SamplingTask {
  const Prior& prior;
  const GaussianLikelihood* likelihood;        ///< null: samples of the prior
  TensorSpec image;
  at::Device device;
  std::uint64_t seed;
  std::int64_t first_sample;
  std::int64_t n_samples;
  SolveOptions solve;
  NoiseProcess process;                        ///< whose reverse the solvers follow; covers the levels
  std::vector<double> sigmas;                  ///< the levels that the user's options make
  std::map<std::string, double> settings;      ///< every declared setting of method and solver, defaults filled in
  const Classifier* classifier = nullptr;      ///< for class guidance
  mutable int step = 0;                        ///< of the loop, for messages
  mutable std::int64_t nfe = 0;                ///< evaluations per sample so far
  mutable double network_seconds = 0.0;

  double setting(const std::string& name) const { return settings.at(name); }

  /// Standard normal images or data [B, spec] on the task's device.
  at::Tensor normal(std::uint64_t draw, const TensorSpec& spec) const;
  /// Uniform numbers of the stream of sample `first_sample + b`: one for each of the batch.
  std::vector<double> uniform(std::uint64_t draw) const;

  /// The prior's denoiser; counted, timed, and checked: throws Error(kNumerical) when the answer is not finite.
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const;
  /// E[x | x + n = z] for noise with a spectrum, counted, timed and checked as denoise is; sigma names it in messages. Throws as Prior::denoise_under.
  at::Tensor denoise_under(const at::Tensor& z, const SpectralNoise& noise, double sigma) const;
  /// The prior's C(sigma), on the task's device.
  SpectralCovariance error_covariance(double sigma) const { return prior.error_covariance(sigma, image.shape).to(device); }
  /// D(x_t, sigma) with its Jacobian; each product counts as an evaluation. Throws Error(kUnavailable) with a prior that cannot be differentiated.
  DenoisedWithJacobian denoise_with_jacobian(const at::Tensor& x_t, double sigma) const;
  /// The same, without a product where the prior cannot be differentiated.
  DenoisedWithJacobian denoise_with_jacobian_if_any(const at::Tensor& x_t, double sigma) const;
};

/// Steps that have random numbers of their own.
constexpr int kMostSteps = 4095;

/// The positions of a sample's random stream: what is drawn at which step. Fixed for ever, so that a seed means the same samples.
enum class Draw : std::uint64_t { kWhiteImage, kWhiteData, kBridge, kStep, kCorrector, kGuidanceImage, kGuidanceData, kResample, kNoiseEnergy, kCount = 16 };
constexpr std::uint64_t kInitialDraw = 0;
/// `repeat`: which of several draws for the same purpose within one step, below 2^16. A position has 32 bits, step and purpose the lower 16 of them.
constexpr std::uint64_t draw_at(int step, Draw purpose, std::uint64_t repeat = 0) {
  constexpr auto kPurposes = static_cast<std::uint64_t>(Draw::kCount);
  static_assert((kMostSteps + 1) * kPurposes == 1u << 16);
  if (step >= kMostSteps) throw Error(ErrorKind::kUsage, "a sampler with a step " + std::to_string(step), "at most 4095 steps have random numbers of their own");
  return (repeat << 16) + static_cast<std::uint64_t>(step + 1) * kPurposes + static_cast<std::uint64_t>(purpose);
}

struct Level {
  int step = 0;
  double sigma = 0.0;
  double next_sigma = 0.0;                     ///< 0 after the last level
  int n_levels = 1;                            ///< of the walk; a deadline may leave some of the user's out
};

/// What happened at one level, for the report.
struct LevelRecord {
  std::vector<double> misfit;                  ///< reduced chi-square of the denoised image per sample; empty when not known
  SolveReport solve;
  std::vector<double> inflation;               ///< of the denoiser's error per sample, see error_inflation.hpp; empty when not estimated
  bool lacks_jacobian = false;                 ///< the method does without, though it would have used it
  double effective_share = 1.0;                ///< smallest effective sample size of a group over its size
};

/// How one method fills the shared loop. Made anew for every batch, so it may keep state between levels.
class SamplingMethod {
 public:
  explicit SamplingMethod(const SamplingTask& task) : task_(task) {}
  virtual ~SamplingMethod() = default;

  /// The noise levels to walk: those of the user's options, unless the method has a schedule of its own.
  virtual std::vector<double> levels() const { return task_.sigmas; }
  /// x at the first level. Noise alone, unless the method knows better.
  virtual at::Tensor start(double sigma) const;
  /// x at level.next_sigma from x_t at level.sigma; the finished image where next_sigma is 0.
  virtual at::Tensor advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) = 0;

  /// What advance() keeps between levels, so that a stopped run can go on: named float32 tensors. Empty: nothing but x.
  virtual std::map<std::string, at::Tensor> state() const { return {}; }
  virtual void restore(const std::map<std::string, at::Tensor>& /*state*/) {}

 protected:
  const SamplingTask& task_;
};

}  // namespace postrec
