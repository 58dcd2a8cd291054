#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "sampling_method.hpp"

namespace postrec {

/// Where in a run a conditional denoiser is asked: names its random numbers, task.normal(draw_at(step, Draw::kGuidance..., call)).
struct GuidanceCall {
  int step = 0;
  std::uint64_t call = 0;                      ///< counts the calls of one level: a solver may ask several times
  double sigma = 0.0;                          ///< of the level; a solver may ask at others
  double next_sigma = 0.0;                     ///< of the level
};

/// How a measurement bends the prior's denoiser: a denoiser of x given y, for any Solver. Needs task.likelihood, except class guidance.
class Guidance {
 public:
  explicit Guidance(const SamplingTask& task) : task_(task) {}
  virtual ~Guidance() = default;
  /// x_t as the method wants it before anything else happens at a level; most leave it.
  virtual at::Tensor prepare(const at::Tensor& x_t, const Level& /*level*/) { return x_t; }
  /// An approximation of E[x0 | x_t, y]: by Tweedie, x_t + sigma^2 (score of the prior + approximate score of the likelihood).
  /// Fills record.misfit and record.solve where it knows them.
  virtual at::Tensor denoise(const at::Tensor& x_t, double sigma, const GuidanceCall& call, LevelRecord& record) = 0;

 protected:
  const SamplingTask& task_;
};

}  // namespace postrec
