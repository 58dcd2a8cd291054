#pragma once

#include <ATen/core/Tensor.h>

#include "postrec/spectral_covariance.hpp"

namespace postrec {

// The average power of images of any size over a table of frequency, in the order of the basis.

/// Adds a power spectrum |Q^H x|^2, double [C, H, W], to the sums of a table: `sum` double [C, n, n] and how many coefficients fell into each
/// cell, `weight` double [n, n]. `ratio`: pixels of the table over pixels of the image. `skip_mean`: leaves frequency 0 out (DCT).
void accumulate_power(SpectralBasis basis, const at::Tensor& power, double ratio, bool skip_mean, at::Tensor& sum, at::Tensor& weight);

/// The table from its sums, double [C, n, n]. Its ratio to the average over rings of equal |f| is averaged over 3x3 cells with weights
/// [1 2 1]/4, and further where no image has reached. For the DFT the table is symmetric, s(-k) = s(k).
/// Throws Error(kBadData) for a channel without any power.
at::Tensor smoothed_power(SpectralBasis basis, const at::Tensor& sum, const at::Tensor& weight);

}  // namespace postrec
