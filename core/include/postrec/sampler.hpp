#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "postrec/classifier.hpp"
#include "postrec/likelihood.hpp"
#include "postrec/observer.hpp"
#include "postrec/prior.hpp"

namespace postrec {

/// What calls of sample() have learned of the memory of one device.
struct BatchLimit {
  std::int64_t image_bytes = 0;                ///< of the images of a batch together, at most; 0: no limit was met
};

struct SamplerOptions {
  std::string method = "bridge";               ///< see sampling_methods()
  std::string solver;                          ///< of the reverse process, see reverse_solvers(); empty: the method's own
  std::map<std::string, double> settings;      ///< of method and solver, by the names that they declare
  std::int64_t n_samples = 8;
  std::int64_t batch_size = 0;                 ///< samples computed together; 0: all of them. Rounded up to whole groups of the method, halved when the device's memory runs out
  int n_steps = 20;                            ///< noise levels
  std::int64_t nfe = 0;                        ///< network evaluations per sample: sets the number of levels; 0: n_steps does
  std::string process = "edm";                 ///< noise process whose reverse the solvers follow: edm, ve, vp, sub-vp, ncsn
  std::string levels = "auto";                 ///< leap (see NoiseSchedule), karras, geometric, process (even in the time of the noise process), or auto: the method's own
  double sigma_max = 0.0;                      ///< 0: the prior's
  double sigma_min = 0.0;                      ///< 0: the prior's
  std::uint64_t seed = 0;
  SolveOptions solve;
  double deadline_s = 0.0;                     ///< leave out levels, then samples, so that sample() ends within this time; 0: never
  std::filesystem::path checkpoint;            ///< where to write the run's state between levels; a file there is gone on from. Empty: nowhere
  double checkpoint_interval_s = 20.0;
  std::function<double()> clock;               ///< seconds, rising; empty: the system's steady clock
  const Classifier* classifier = nullptr;      ///< for the method class-guidance; borrowed
  c10::Device device = c10::kCPU;              ///< where to sample without a measurement; with one, where that is
  std::shared_ptr<BatchLimit> batch_limit;     ///< shared by calls on one device: a batch without memory is not tried, nor told of, again. Null: each call finds out by itself

  /// Throws Error(kUsage) that names the option, its value and what would be right.
  void validate() const;
};

struct SamplerReport {
  std::int64_t nfe = 0;                        ///< network evaluations per sample; a vector-Jacobian product counts as one more
  double seconds = 0.0;
  double network_seconds = 0.0;                ///< of them in the prior
  bool interrupted = false;                    ///< fewer samples than asked for, because the observer cancelled
  bool levels_left_out = false;                ///< because of the deadline
  bool samples_left_out = false;               ///< because of the deadline
  std::vector<double> sigmas;                  ///< of the first batch, as all after it, where the deadline left none out
  std::vector<double> misfit_trace;            ///< reduced chi-square of the denoised image at each level, mean over samples; 0 where a method does not say
  std::vector<double> inflation_trace;         ///< variance of the denoiser's error over what the prior's table says, at each level, mean over samples; 0 where not estimated
  std::vector<int> solve_iterations;           ///< of conjugate gradients at each level, the largest over batches
  std::vector<double> effective_share;         ///< effective sample size over the size of the group at each level, smallest of all groups; 1 without weights
  std::int64_t group = 1;                      ///< samples that share weights
};

struct Samples {
  at::Tensor x;                                ///< [n, domain]; n < n_samples only when interrupted or out of time
  SamplerReport report;
};

/// A number that a method or solver can be told.
struct SamplerSetting {
  std::string name;                            ///< lower-hyphen
  double standard = 0.0;                       ///< the published default, unless the help says otherwise
  double minimum = 0.0;                        ///< inclusive, as the maximum
  double maximum = std::numeric_limits<double>::infinity();
  std::string help;
};

/// A method or solver that a user can name.
struct SamplerInfo {
  std::string name;                            ///< lower-hyphen: "pigdm"
  std::string summary;                         ///< one sentence
  std::string source;                          ///< "[Song 2023, algorithm 1]"
  std::vector<SamplerSetting> settings;
  std::string solver;                          ///< the method's own choice; empty: it walks by itself and takes none
};

/// What `SamplerOptions::method` and `solver` accept, in the order of their names.
std::vector<SamplerInfo> sampling_methods();
std::vector<SamplerInfo> reverse_solvers();

/// Samples of p(x | y), or of p(x) when `likelihood` is null. `image_shape` is [C, (D,) H, W].
/// Law: reproducible. The same seed gives bit-identical samples on the CPU whatever the batch size and thread count (without a deadline).
/// Law: resume. A run that was stopped at any moment and goes on from its checkpoint gives the same samples as an uninterrupted one.
/// Throws Error: kNumerical on a NaN, naming the step; kUsage on a method that needs a measurement (or none) or what this operator cannot do.
Samples sample(const Prior& prior, const GaussianLikelihood* likelihood, const std::vector<std::int64_t>& image_shape,
               const SamplerOptions& options, Observer& observer);

}  // namespace postrec
