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

/// What still counts as a fit. Good priors err by far more than the noise of these figures, so the limits come from scans: they are to refuse where the
/// spread of the samples is below .6 of the error of their mean, that is where intervals are much too short. R = 4, 4 samples, 8 levels, one slice each,
/// by a bridge that believed its table (`inflate` 0; with it chi-square is near 1 and the spread larger, so the limits refuse less often and later):
///
/// | prior on | chi-square | inflation | spread over error |
/// |---|---|---|---|
/// | brain-mr on OASIS, persons not seen: 4 coils; 1 coil, noise .01; .002 | 1.17; 1.74; 1.61 | 2.1; 2.7; 2.7 | .85; .80; .70 |
/// | brain-mr on T2 with skull, person not seen, 1 coil | 1.93 | 4.1 | .61 |
/// | ct on a head, and on a chest, 60 views | 1.44, 1.60 | 2.9, 2.8 | .82, .62 |
/// | brain-mr on lungs: 4 coils; 1 coil, noise .01; .002; 4 coils, R = 8 | 1.26; 1.96; 1.74; 1.33 | 2.9; 3.8; 3.1; 4.2 | .62; .51; .51; .61 |
/// | brain-mr on a patch of noise | 17 | 44 | .23 |
/// | sigma_y told half, double | 3.0, .50 | | .81, .83 |
///
/// The limits were fitted to these slices, so the table validates nothing; a pass proves little: lungs at noise .002 pass, and so does a stationary Gaussian
/// prior on OASIS (chi-square .98) whose spread is .74 of the error. To be drawn closer as priors get better, and checked on slices that did not choose them.
struct PriorFitLimits {
  double least_chi2 = 0.6;
  double most_chi2 = 2.0;
  double most_inflation = 3.3;
  /// The limits are at least so many standard deviations of the exact case from 1: false alarms under 1 in 1000 scans when prior and noise are exact and m >= 50,
  /// fewer for larger m (1 in 30,000 in the Gaussian limit).
  double standard_deviations = 4.0;
};

/// Looks at up to four samples [n, domain] in model units: an evaluation of the prior and a solve for each, and one more solve. `seed` names the noise, in a domain
/// that the samplers leave free.
PriorFit examine_prior_fit(const Prior& prior, const GaussianLikelihood& likelihood, const at::Tensor& samples, std::uint64_t seed);

/// Why the prior does not fit, in a sentence with the figures; empty when nothing speaks against it.
std::string prior_misfit(const PriorFit& fit, const PriorFitLimits& limits = {});

}  // namespace postrec
