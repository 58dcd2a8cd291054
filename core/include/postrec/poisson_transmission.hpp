#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "postrec/likelihood.hpp"
#include "postrec/operator.hpp"

namespace postrec {

/// The log-likelihood of each ray as a parabola: up to a constant, -weight/2 (target - l)^2 in the line integral l.
struct RayParabola {
  at::Tensor target;                           ///< [codomain], 1
  at::Tensor weight;                           ///< [codomain], >= 0; 0: the ray says nothing
};

/// Photons counted behind an absorber: N_i ~ Poisson(b_i exp(-l_i) + r_i), l = A x the line integrals.
///
/// The samplers know Gaussian noise, so the log-likelihood of each ray is replaced by a parabola that has the same average slope over
/// given line integrals, and the expected curvature q^2/(q + r), q = b exp(-l), averaged too:
///   weight = <q^2/(q + r)>,  target = <l> - <q (N/(q + r) - 1)>/weight.
/// Around the data alone this is weighted least squares with weights (N - r)^2/N [Sauer 1993; Fessler 2000], biased where
/// counts are low. Around one l, it is a step of Fisher scoring: the second derivative q (1 - N r/(q + r)^2) can be negative and its
/// expectation cannot. Around samples of the posterior it is what the Gaussian closest to the posterior sees [Opper 2009],
/// so repeating it until nothing moves gives the posterior's mean rather than its mode.
class PoissonTransmission {
 public:
  /// All float32 [codomain]: counts N >= 0, blank scan b >= 0 (0: a dead detector), background r >= 0.
  /// Throws Error(kBadData) on another shape or type, NaN, infinity, negative numbers, and when every blank scan is 0.
  PoissonTransmission(at::Tensor counts, at::Tensor blank_scan, at::Tensor background);

  /// log(b/(N - r)), with N - r at least half a count; 0 for a dead detector. [codomain]
  at::Tensor line_integrals() const;

  /// The parabolas around line integrals [n, codomain]: one guess or samples.
  RayParabola expand(const at::Tensor& line_integrals) const;

  /// Standard deviation of l for a ray that nothing absorbs, without background: 1/sqrt(largest b).
  double sigma_y() const { return sigma_y_; }

  /// Rays as a likelihood of images in units of `unit`: A x in place of l = unit A x.
  GaussianLikelihood likelihood(std::shared_ptr<const Operator> op, const RayParabola& rays, double unit = 1.0) const;

 private:
  at::Tensor counts_, blank_scan_, background_;
  double sigma_y_;
};

/// Counts to simulate with: N_i ~ Poisson(mean_i), independent, float32 of the shape of `mean`; `seed` names them. Inversion below a mean
/// of 10, transformed rejection above [Hoermann 1993, algorithm PTRS]. Counts above 2^24 are rounded as float32 does. Throws
/// Error(kBadData) on means that are negative, not finite or above 1e9.
at::Tensor poisson_counts(const at::Tensor& mean, std::uint64_t seed);

}  // namespace postrec
