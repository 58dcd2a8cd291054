#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "calibration/calibration_run.hpp"
#include "case/case.hpp"
#include "run/session.hpp"

namespace postrec {

/// The regions whose means are to be covered: rows x rows blocks or discs of the image, or the values other than 0 of an image of labels.
struct RegionOptions {
  std::string kind = "blocks";                 ///< blocks, discs, or a file
  std::int64_t rows = 4;
};

/// Truths of the prior itself.
struct PriorProblemOptions {
  CaseOptions measurement;                     ///< operator, settings, coils and seed; "zero" and "identity" are operators here too
  double noise = 0.0;                          ///< sigma_y in model units
  std::optional<double> told_noise;            ///< what the sampler is told
  std::int64_t height = 0;
  std::int64_t width = 0;
  double pixel_mm = 0.0;                       ///< 0: the prior's own
  int truth_steps = 0;
  std::int64_t n_replicates = 0;
};

/// Problems that are made one by one, when they are needed.
struct CalibrationProblems {
  std::int64_t n = 0;
  std::function<std::string(std::int64_t)> name;
  std::function<CalibrationProblem(std::int64_t)> make;
  at::Tensor truths;                           ///< of the prior, [n, domain]; undefined for scans
  PriorInfo prior;
};

/// Truths drawn from the prior by the bridge sampler, measurements of them with noise. Fewer, when the user interrupts.
/// Throws Error: kUsage, kConfiguration (operator and size do not fit), what the prior and the plugins throw.
CalibrationProblems prior_problems(const PriorProblemOptions& options, const RegionOptions& regions, Session& session, Observer& observer);

/// Up to `n_slices` slices of each scan (0: all), evenly spread over those that are not almost empty, and simulated measurements of them; a
/// pixel counts where the truth is over a tenth of its range, a region when half of its pixels do, with these.
/// Throws Error: what read_case, the prior and the plugins throw, kBadData when nothing is left.
CalibrationProblems scan_problems(const std::vector<std::filesystem::path>& scans, const CaseOptions& how, std::int64_t n_slices, const RegionOptions& regions, Session& session);

}  // namespace postrec
