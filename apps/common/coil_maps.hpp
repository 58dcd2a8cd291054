#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace postrec {

/// Smooth synthetic receive sensitivities, complex64 [coils, H, W], sum of squares 1 in every pixel: loops evenly spaced around the image at
/// 1.5 times its half width, each falling off with the distance and turning its phase with the direction, as a birdcage does.
at::Tensor birdcage_maps(std::int64_t n_coils, std::int64_t height, std::int64_t width);

}  // namespace postrec
