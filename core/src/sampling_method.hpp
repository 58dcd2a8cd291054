#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "postrec/likelihood.hpp"
#include "postrec/prior.hpp"
#include "postrec/random.hpp"

namespace postrec {

/// One batch of samples and what is asked of it. Lives as long as the batch.
struct SamplingTask {
  const Prior& prior;
  const GaussianLikelihood* likelihood;        ///< null: samples of the prior
  TensorSpec image;
  at::Device device;
  RandomStreams streams;
  SolveOptions solve;

  /// Standard normal images or data [B, spec] on the task's device.
  at::Tensor normal(std::uint64_t draw, const TensorSpec& spec) const { return streams.normal(draw, spec.shape, spec.dtype).to(device); }
};

/// The positions of a sample's random stream: what is drawn at which step. Fixed for ever, so that a seed means the same samples.
enum class Draw : std::uint64_t { kWhiteImage, kWhiteData, kBridge, kCount = 16 };
constexpr std::uint64_t kInitialDraw = 0;
constexpr std::uint64_t draw_at(int step, Draw purpose) {
  return static_cast<std::uint64_t>(step + 1) * static_cast<std::uint64_t>(Draw::kCount) + static_cast<std::uint64_t>(purpose);
}

struct Level {
  int step = 0;
  double sigma = 0.0;
  double next_sigma = 0.0;                     ///< 0 after the last level
};

/// What happened at one level, for the report.
struct LevelRecord {
  std::vector<double> misfit;                  ///< reduced chi-square of the denoised image per sample; empty without a measurement
  SolveReport solve;
};

/// How one method fills the shared loop: denoise, condition on y, step. Made anew for every batch, so it may keep state between levels.
class SamplingMethod {
 public:
  virtual ~SamplingMethod() = default;
  /// The estimate of x0 that is consistent with y, from x_t and D(x_t, sigma), all [B, domain].
  virtual at::Tensor condition(const at::Tensor& x_t, const at::Tensor& denoised, const Level& level, LevelRecord& record) = 0;
  /// x at the next level from x_t and that estimate.
  virtual at::Tensor step(const at::Tensor& x_t, const at::Tensor& x0, const Level& level) = 0;
};

/// One line in the table of sampler.cpp and one file in methods/ is all that a further method needs.
std::unique_ptr<SamplingMethod> make_bridge(const SamplingTask& task);
std::unique_ptr<SamplingMethod> make_flow(const SamplingTask& task);

}  // namespace postrec
