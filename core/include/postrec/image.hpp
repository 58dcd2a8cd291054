#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cmath>
#include <string>

namespace postrec {

/// Where the voxels of an image lie in the patient, in ITK's convention: axes in the order (x, y, z) = (column, row, slice),
/// positions in mm in the LPS frame. Column j of `direction` (row-major 3x3) is the unit vector of axis j.
struct ImageGeometry {
  std::array<double, 3> spacing_mm{1.0, 1.0, 1.0};
  std::array<double, 3> origin_mm{0.0, 0.0, 0.0};
  std::array<double, 9> direction{1, 0, 0, 0, 1, 0, 0, 0, 1};
};

/// Whether two sizes of pixels are one, but for what headers in float32 and printed numbers lose.
inline bool same_pixel_size(double a_mm, double b_mm) { return std::abs(a_mm - b_mm) <= 1e-3 * b_mm; }

/// What the numbers of an image mean.
enum class IntensityUnit { kArbitrary, kHounsfield };

/// An image or a stack of slices: pixels [slice, C, H, W], float32 or complex64, and where they lie.
struct Image {
  at::Tensor pixels;
  ImageGeometry geometry;
  IntensityUnit unit = IntensityUnit::kArbitrary;
};

}  // namespace postrec
