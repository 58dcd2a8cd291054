#pragma once

#include "postrec/operator.hpp"

namespace postrec {

/// `masking`: inpainting, y = m x with a mask m of 0 and 1 that all channels share; image and measurement [C, H, W], float32 or complex64,
/// the measurement 0 where pixels are hidden. Parameters and formulas: README.md beside this file.
/// make() throws Error: kConfiguration for parameters that do not fit together, kBadData for a mask that cannot be right.
const OperatorType& masking_type();

}  // namespace postrec
