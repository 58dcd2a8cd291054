#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "postrec/calibration.hpp"
#include "postrec/observer.hpp"
#include "postrec/prior.hpp"
#include "postrec/sampler.hpp"

namespace postrec {

/// The levels of the intervals whose coverage is counted.
inline const std::vector<double> kCoverageLevels = {0.5, 0.8, 0.9, 0.95};

/// A truth and its measurement, in model units. Both are where the sampler is to work; the pixels and regions are on the host, as the figures.
struct CalibrationProblem {
  std::string name;                            ///< "replicate 3", "head.nii.gz slice 90"
  std::shared_ptr<const Prior> prior;
  std::shared_ptr<const Operator> op;
  at::Tensor truth;                            ///< [domain]
  at::Tensor y;                                ///< [codomain]
  double sigma_y = 0.0;
  double told_sigma_y = 0.0;                   ///< what the sampler is told; another one to see that it is found out
  at::Tensor pixels;                           ///< those whose coverage counts, bool [C, H, W]
  at::Tensor regions;                          ///< bool [K, H, W]
  std::uint64_t seed = 0;
  std::int64_t subject = -1;                   ///< whose image the truth is; -1: nobody's, it is independent of all others
};

/// What one truth says about the sampler. Its JSON is what the journal keeps, so that a stopped run can go on.
struct CalibrationRecord {
  std::string name;
  std::vector<std::int64_t> ranks;             ///< one for each of ranked_quantities(); -1 where the operator has no such direction
  std::vector<Coverage> pixels;                ///< one for each of kCoverageLevels
  std::vector<Coverage> regions;
  double data_chi2 = 0.0;                      ///< ||y - A x||^2/(m sigma_y^2), mean over samples; m counts the entries that were measured
  ErrorAndSpread image;                        ///< of the pixels that count
  ErrorAndSpread measured;                     ///< of A x
  ErrorAndSpread unmeasured;                   ///< of the part of x that the measurement says little about
  std::int64_t n_samples = 0;
  std::int64_t nfe = 0;                        ///< per sample
  double seconds = 0.0;
  std::int64_t subject = -1;                   ///< as the problem's

  nlohmann::ordered_json json() const;
  /// Throws Error(kBadData) on anything that json() did not write.
  static CalibrationRecord from_json(const nlohmann::ordered_json& json);
};

/// What is ranked, by name: inner products <w, x> with w random ("random 1"), smooth, rough, in the row space of A, in its null space; means
/// over the pixels that count in each of the four quarters; and the misfit.
std::vector<std::string> ranked_quantities();

/// The functions w of an operator. Made anew only when the operator changes.
class TestFunctions {
 public:
  explicit TestFunctions(std::uint64_t seed) : seed_(seed) {}

  /// Values of ranked_quantities() for images x [B, domain], double [B, quantities]; NaN for those that the operator has not.
  at::Tensor values(const CalibrationProblem& problem, const at::Tensor& x);

 private:
  std::uint64_t seed_;
  std::shared_ptr<const Operator> op_;
  at::Tensor functions_;                       ///< rows of real components, double [functions, n]; NaN where there is none
};

/// Samples the posterior and compares it with the truth; nothing when the user interrupts. Throws Error: what the sampler throws, kUsage on less than two samples.
std::optional<CalibrationRecord> calibrate_problem(const CalibrationProblem& problem, TestFunctions& functions, SamplerOptions options, Observer& observer);

/// Whether points (truths [n, domain], noise of level sigma is added) and the prior's score at sigma go together, in coordinates in which the prior is about white.
/// Points must be independent. Throws Error: what the prior throws.
SteinDiscrepancy score_discrepancy(const Prior& prior, const at::Tensor& points, double sigma, std::uint64_t seed);

}  // namespace postrec
