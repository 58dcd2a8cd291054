#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "postrec/observer.hpp"
#include "postrec/prior.hpp"
#include "postrec/probability_flow.hpp"

namespace postrec {

/// Where the random vectors v of the trace estimate are white: E v v^T = I in both.
enum class ProbeBasis {
  kSpectral,  ///< signs in the basis of the prior's error covariance: exact for a stationary Gaussian, whose Jacobian is diagonal there
  kPixels,    ///< signs in the pixels: exact for a prior of independent pixels
};

struct PriorLikelihoodOptions {
  double sigma = 0.0;                          ///< noise level of the density; 0: the lowest of the prior
  double sigma_max = 0.0;                      ///< T, where the way ends; 0: the highest of the prior, beyond which a network has not learned
  std::int64_t n_probes = 4;
  ProbeBasis probe_basis = ProbeBasis::kSpectral;
  /// The trace itself, by one vector-Jacobian product a component and step, instead of probes: for images of at most 4096 components.
  bool exact_trace = false;
  std::uint64_t seed = 0;                      ///< of the probes
  FlowOptions flow;

  /// Throws Error(kUsage) that names the option, its value and what would be right.
  void validate() const;
};

struct PriorLikelihood {
  double sigma = 0.0;                          ///< the density is that of p_sigma, the prior's images plus noise of this level
  std::int64_t dimensions = 0;                 ///< real components of the image: a complex pixel has two
  double bits_per_dimension = 0.0;             ///< -log2 p_sigma(x) / dimensions
  double standard_error = 0.0;                 ///< of it, from the spread over probes; NaN with one probe, 0 with the exact trace
  std::int64_t nfe = 0;                        ///< network evaluations
  std::int64_t n_products = 0;                 ///< vector-Jacobian products
  bool interrupted = false;                    ///< the observer cancelled; there is no figure then
};

/// How likely the prior finds an image: log p_sigma(x) by the instantaneous change of variables along the probability flow,
///   log p_sigma(x) = log p_T(x_T) + int_sigma^T div f dsigma,  div f = tr(I - dD/dx)/sigma   [Song 2021, eq. 39; Chen 2018, theorem 1]
/// with the trace by Hutchinson's estimate [Skilling 1989; Grathwohl 2019]. x [1, domain] in model units is taken as it is: add noise of
/// level sigma to an image of the prior's kind first, since p_sigma is the density of noisy images.
///
/// p_T, where noise drowns the image, is the Gaussian of the moments that the denoiser tells: with c the eigenvalues of its error
/// covariance, a = c/T^2 the share of x_T - m that it keeps, Q^H (x_T - D)/(1 - a) is N(0, T^2/(1 - a)). Exact for a stationary Gaussian at any T; for
/// other priors the error is of second order in (spread of the images)/T, and shared by all components.
/// Law: gaussian_likelihood. For N(m, Q s Q^H) it is that of N(m, Q (s + sigma^2) Q^H), whatever the probes in the spectral basis.
/// Throws Error: kUsage (options), and what follow_flow throws.
PriorLikelihood prior_likelihood(const Prior& prior, const at::Tensor& x, const PriorLikelihoodOptions& options, Observer& observer);

}  // namespace postrec
