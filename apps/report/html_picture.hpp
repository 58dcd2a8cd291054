#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "report/preview.hpp"

namespace postrec {

/// A picture as "data:image/png;base64,...", 8 bit. [C, H, W], C = 1 or 3; what is not finite is black.
std::string grey_data_uri(const at::Tensor& picture, GreyWindow window);

/// A signed picture [1, H, W]: -extent is blue, 0 white, +extent red.
std::string signed_data_uri(const at::Tensor& picture, double extent);

}  // namespace postrec
