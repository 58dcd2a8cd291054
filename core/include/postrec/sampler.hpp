#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "postrec/likelihood.hpp"
#include "postrec/observer.hpp"
#include "postrec/prior.hpp"

namespace postrec {

struct SamplerOptions {
  std::string method = "bridge";               ///< see sampler_names()
  std::int64_t n_samples = 8;
  std::int64_t batch_size = 0;                 ///< samples computed together; 0: all of them
  int n_steps = 20;                            ///< network evaluations per sample
  double sigma_max = 0.0;                      ///< 0: the prior's
  double sigma_min = 0.0;                      ///< 0: the prior's
  std::uint64_t seed = 0;
  SolveOptions solve;

  /// Throws Error(kUsage) that names the option, its value and what would be right.
  void validate() const;
};

struct SamplerReport {
  std::int64_t nfe = 0;                        ///< network evaluations per sample
  double seconds = 0.0;
  bool interrupted = false;                    ///< fewer samples than asked for, because the observer cancelled
  std::vector<double> sigmas;
  std::vector<double> misfit_trace;            ///< reduced chi-square of the denoised image at each level, mean over samples
  std::vector<int> solve_iterations;           ///< of conjugate gradients at each level, the largest over batches
};

struct Samples {
  at::Tensor x;                                ///< [n, domain]; n < n_samples only when interrupted
  SamplerReport report;
};

/// The methods that `SamplerOptions::method` accepts.
std::vector<std::string> sampler_names();

/// Samples of p(x | y), or of p(x) when `likelihood` is null. `image_shape` is [C, (D,) H, W].
/// Law: reproducible. The same seed gives bit-identical samples on the CPU whatever the batch size and thread count.
/// Throws Error(kNumerical) on a NaN, naming the step.
Samples sample(const Prior& prior, const GaussianLikelihood* likelihood, const std::vector<std::int64_t>& image_shape,
               const SamplerOptions& options, Observer& observer);

}  // namespace postrec
