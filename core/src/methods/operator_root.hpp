#pragma once

#include <ATen/core/Tensor.h>

#include "postrec/linear_solve.hpp"

namespace postrec {

/// (I - M)^(1/2) x for a Hermitian M whose eigenvalues lie in [0, bound], bound < 1; [B, ...] -> [B, ...]. By Chebyshev polynomials, of the
/// lowest degree for which the error is at most tolerance ||x||: degree 12 for a bound of .96 and a tolerance of 1e-4. The degree depends
/// on bound and tolerance alone, so that a sample's bits depend on neither its neighbours nor the data. Throws Error(kInternal) when the
/// bound is so close to 1 that 256 terms are too few.
at::Tensor root_of_one_minus(const LinearMap& matrix, double bound, const at::Tensor& x, double tolerance);

}  // namespace postrec
