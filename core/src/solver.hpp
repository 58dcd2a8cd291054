#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>

#include "sampling_method.hpp"

namespace postrec {

/// D(x, sigma) of the prior, or its counterpart given y: [B, domain] -> [B, domain]. The score is (D - x)/sigma^2.
using Denoiser = std::function<at::Tensor(const at::Tensor& x, double sigma)>;

/// A way from one noise level to the next, given a denoiser: one step of the reverse process or of the probability flow.
///
/// Works in x_sigma = x + sigma n. A process scales: x'_t = scale(t) x_sigma; a solver whose published step depends on that takes it from
/// task.process and answers in x_sigma again. Random numbers: task.normal(draw_at(level.step, Draw::kStep or kCorrector, repeat)).
/// Made anew for every batch, so it may keep state between levels (see SamplingMethod::state).
class Solver {
 public:
  explicit Solver(const SamplingTask& task) : task_(task) {}
  virtual ~Solver() = default;
  /// x at level.next_sigma from x_t at level.sigma; where next_sigma is 0, the denoised image of the last level (one evaluation).
  virtual at::Tensor step(const at::Tensor& x_t, const Level& level, const Denoiser& denoise) = 0;
  virtual std::map<std::string, at::Tensor> state() const { return {}; }
  virtual void restore(const std::map<std::string, at::Tensor>& /*state*/) {}

 protected:
  const SamplingTask& task_;
};

}  // namespace postrec
