#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "postrec/spectral_covariance.hpp"

namespace postrec {

// The transforms behind SpectralCovariance in the order that they are computed in: frequency 0 comes first in both bases.

/// Q^H x over the last two axes.
at::Tensor to_natural_basis(SpectralBasis basis, const at::Tensor& x);

/// Q k over the last two axes.
at::Tensor from_natural_basis(SpectralBasis basis, const at::Tensor& k);

/// A table in the order of the basis (DFT: DC at n/2; DCT: DC at 0) to natural order and back, over the last two axes.
at::Tensor to_natural_order(SpectralBasis basis, const at::Tensor& table);
at::Tensor from_natural_order(SpectralBasis basis, const at::Tensor& table);

/// |frequency| of each coefficient in cycles per pixel, double [rows, columns] in natural order.
at::Tensor frequency_radius(SpectralBasis basis, std::int64_t rows, std::int64_t columns);

}  // namespace postrec
