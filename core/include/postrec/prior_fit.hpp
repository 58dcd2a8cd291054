#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "postrec/likelihood.hpp"
#include "postrec/prior.hpp"

namespace postrec {

/// Evidence on whether a prior fits a scan. Both figures are 1 on average when it does: if prior, noise and samples are exact, a sample and the truth are
/// drawn from the same p(x | y), so that the laws of chi-square hold for the sample.
struct PriorFit {
  /// Of the samples, mean over them; standard deviation at most (2/m)^(1/2). Finds a wrong sigma_y and what the images of the prior cannot explain; blind where
  /// the noise is so small that samples follow the data whatever the prior says.
  double reduced_chi2 = 0.0;
  /// How many times the variance of the denoiser's error on this scan is what C(sigma) says, as far as the data see it. With r = y - A D(x + sigma n, sigma), x a
  /// sample, and S = A C A^H + sigma_y^2: the f in E r^H S^-1 r = f tr(S^-1 A C A^H) + sigma_y^2 tr(S^-1). Standard deviation at most (2/m)^(1/2)/share. Also sees
  /// structure that the prior does not know where the noise is small. 0: not asked.
  double error_inflation = 0.0;
  double visible_share = 0.0;                  ///< tr(S^-1 A C A^H)/m: how much of the data speaks of that error rather than of noise
  double sigma = 0.0;                          ///< where: .3 of the standard deviation of the prior's images, where edges and texture are decided
  std::int64_t n_measured = 0;                 ///< m, real components of the measurement
};

/// What still counts as a fit. Good priors err by far more than the noise of these figures, so the limits come from scans: they are to refuse where intervals are much too
/// short. 4 samples, 8 levels, by the bridge with its defaults, which mends its table from the data: chi-square is 1.00 +- .03 throughout, and only the inflation speaks.
///
/// | prior on | slices | inflation | spread over error |
/// |---|---|---|---|
/// | brain-mr on OASIS, persons not seen: 4 coils, R = 4; 8 coils, R = 8; 1 coil, R = 4 | 3; 3; 4 | 1.5 - 2.0; 1.6 - 1.9; 1.8 - 2.4 | .93 - .99; .88 - 1.02; .94 - 1.24 |
/// | brain-mr on T1, T2, FLAIR with skull, person not seen: 4 coils; 1 coil | 3; 3 | 2.2 - 2.3; 2.8 - 3.1 | .86 - .94; .86 - .94 |
/// | ct on chests, 60 views | 4 | 1.0 - 2.0 | .85 - 1.04 |
/// | ct on brains in MR | 2 | 3.2 - 3.3 | 1.01 - 1.03 |
/// | brain-mr on a chest in CT: 4 coils; 8 coils; 1 coil | 2; 2; 3 | 2.0 - 2.2; 2.7; 2.0 - 2.6 | .73 - .86; .66 - .86; .60 - .99 |
/// | a page of bars: ct; brain-mr | 1; 1 | 4.3; 5.4 | .74; .78 |
/// | a patch of noise: ct; brain-mr | 1; 1 | 18; 62 | .73; .64 |
///
/// The limit is the middle, geometrically, between what should pass and the bars. It was fitted to these slices, so the table validates nothing, and a pass proves little: a chest
/// under a prior of brains passes, with intervals that hold .51 to .68 where .60 is right.
struct PriorFitLimits {
  double least_chi2 = 0.6;
  double most_chi2 = 2.0;
  double most_inflation = 3.8;
  /// The limits are at least so many standard deviations of the exact case from 1: false alarms under 1 in 1000 scans when prior and noise are exact and m >= 50,
  /// fewer for larger m (1 in 30,000 in the Gaussian limit).
  double standard_deviations = 4.0;
};

/// Looks at up to four samples [n, domain] in model units: an evaluation of the prior and a solve for each, and one more solve. `seed` names the noise, in a domain
/// that the samplers leave free.
PriorFit examine_prior_fit(const Prior& prior, const GaussianLikelihood& likelihood, const at::Tensor& samples, std::uint64_t seed);

/// Whether the measurement shows so much of the denoiser's error that `error_inflation` means anything.
bool shows_the_error(const PriorFit& fit, const PriorFitLimits& limits = {});

/// Why the prior does not fit, in a sentence with the figures; empty when nothing speaks against it.
std::string prior_misfit(const PriorFit& fit, const PriorFitLimits& limits = {});

}  // namespace postrec
