#pragma once

#include "postrec/operator.hpp"

namespace postrec {

/// `grayscale`: y = w_r R + w_g G + w_b B, pixel by pixel; float32 [3, H, W] to float32 [1, H, W]. Formulas: README.md beside this file.
/// make() throws Error(kConfiguration) for weights that are not three finite numbers, not all 0.
const OperatorType& grayscale_type();

}  // namespace postrec
