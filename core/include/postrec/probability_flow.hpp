#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "postrec/observer.hpp"
#include "postrec/prior.hpp"

namespace postrec {

struct FlowOptions {
  /// Error of a step that is tolerated in x: root mean square over its real components, as a share of the noise level. Images that differ by
  /// less than their noise are one image, so this needs no other scale.
  double rtol = 1e-3;
  /// Error of a step that is tolerated in the log-density, in bits per dimension: that of its integral and what the error of x does to it.
  /// Not asked for without probes.
  double atol = 1e-4;
  int max_steps = 500;                         ///< tried, not only accepted

  /// Throws Error(kUsage) that names the option, its value and what would be right.
  void validate() const;
};

struct FlowResult {
  at::Tensor x;                                ///< [1, domain] at the noise level `sigma`
  double sigma = 0.0;                          ///< the one asked for, or where the observer cancelled
  /// Integral of the divergence along the way, estimated with each probe, over the number of real components: what the log-density at the
  /// begin exceeds that at the end by, in nats per dimension. It is positive towards more noise.
  std::vector<double> divergence;
  std::int64_t nfe = 0;                        ///< network evaluations
  std::int64_t n_steps = 0;
  std::int64_t n_rejected = 0;
  bool interrupted = false;
};

/// Follows the probability flow, the ordinary differential equation dx/dsigma = (x - D(x, sigma))/sigma whose solutions have the densities
/// p_sigma [Song 2021, eq. 13; Karras 2022, eq. 1], from one noise level to another, in the variable log sigma: there the right-hand side is
/// x - D, never larger than the noise, and for a Gaussian the steps are as long at every level.
///
/// One image x [1, domain] at a time, on its own steps: Prior::denoise takes one noise level, and a result must not depend on the other images.
/// With `probes` v [n, domain], E v v^T = I, the divergence of the flow is integrated beside x by Hutchinson's estimate v^T (I - dD/dx) v, one
/// vector-Jacobian product each [Skilling 1989; Grathwohl 2019, eq. 8]; the probes stay the same all the way, so that what is integrated is
/// smooth. Undefined: no divergence.
/// Law: gaussian_flow. For N(m, Q s Q^H) it is x -> m + Q ((s + to^2)/(s + from^2))^(1/2) Q^H (x - m).
/// Throws Error: kUsage (levels that are not positive, options), kBadData (shapes), kNumerical (max_steps, a value that is not finite),
/// kUnavailable (probes with a prior that cannot be differentiated).
FlowResult follow_flow(const Prior& prior, const at::Tensor& x, double sigma_from, double sigma_to, const at::Tensor& probes,
                       const FlowOptions& options, Observer& observer);

}  // namespace postrec
