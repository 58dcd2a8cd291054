#pragma once

#include "postrec/operator.hpp"

namespace postrec {

/// `mri-fourier`: Cartesian MRI, y_c = M F (S_c x) for coil c; images complex64 [1, H, W], k-space complex64 [coil, ky, kx] with ky along
/// the rows, DC at (H/2, W/2), orthonormal F, and 0 where nothing was acquired. Parameters and formulas: README.md beside this file.
/// make() throws Error: kConfiguration for parameters that do not fit together, kBadData for maps or a mask that cannot be right.
const OperatorType& mri_fourier_type();

}  // namespace postrec
