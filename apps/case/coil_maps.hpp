#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace postrec {

/// Smooth synthetic receive sensitivities, complex64 [coils, H, W], sum of squares 1 in every pixel: loops evenly spaced on a ring around the
/// image at 1.2 half widths. Each sees (1 + (d/a)^2)^(-3/2), the field of a loop of radius a = 0.6 half widths at distance d on its axis, and
/// turns its phase with the direction, as a birdcage does.
at::Tensor birdcage_maps(std::int64_t n_coils, std::int64_t height, std::int64_t width);

}  // namespace postrec
