#pragma once

#include <ATen/core/Tensor.h>

#include "postrec/linear_solve.hpp"
#include "postrec/spectral_covariance.hpp"

namespace postrec {

/// About the inverse of H = I + F^H N F, Hermitian positive definite: F = W Q diag(c)^(1/2) is the factor of `covariance`, N about Q diag(n) Q^H, n = `diagonal` >= 0 [C, H, W] in the
/// coordinates of the factor.
///
/// Without an envelope it is 1/(1 + c n). Where the envelope is w, H acts on what lies there like 1 + w^2 c n; with a and b its extremes in this image the inverse is taken to be
///   M = 1/(1 + b^2 c n) + R Q^H S Q R,  R^2 = 1/(1 + a^2 c n) - 1/(1 + b^2 c n),  S = (b - W)(g + a)/((b - a)(g + W)),  g^2 = a b:
/// S is 1 at a, 0 at b and 1/2 at g, so that M is right at all frequencies where W is extreme and at the middle one where W is g. After the circulants that Fessler and Booth blend by
/// place [Fessler 1999], here two, at the cost of one pair of transforms. 1/(1 + c n) alone takes twice as many iterations (core/README.md).
/// Law: batch, as conjugate_gradients has it.
LinearMap white_preconditioner(const SpectralCovariance& covariance, const at::Tensor& diagonal);

}  // namespace postrec
