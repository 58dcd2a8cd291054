#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
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

/// Where voxel (x, y, z) lies, in mm LPS.
inline std::array<double, 3> place_mm(const ImageGeometry& g, double x, double y, double z) {
  std::array<double, 3> p = g.origin_mm;
  const double steps[3] = {x * g.spacing_mm[0], y * g.spacing_mm[1], z * g.spacing_mm[2]};
  for (int row = 0; row < 3; ++row)
    for (int axis = 0; axis < 3; ++axis) p[row] += g.direction[3 * row + axis] * steps[axis];
  return p;
}

/// The largest distance of the corners of a volume of nx x ny x nz voxels between two geometries, in mm.
inline double corner_distance_mm(const ImageGeometry& a, const ImageGeometry& b, std::int64_t nx, std::int64_t ny, std::int64_t nz) {
  double worst = 0.0;
  for (const double x : {0.0, static_cast<double>(nx - 1)})
    for (const double y : {0.0, static_cast<double>(ny - 1)})
      for (const double z : {0.0, static_cast<double>(nz - 1)}) {
        const auto p = place_mm(a, x, y, z), q = place_mm(b, x, y, z);
        worst = std::max(worst, std::hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]));
      }
  return worst;
}

/// What the numbers of an image mean.
enum class IntensityUnit { kArbitrary, kHounsfield };

/// An image or a stack of slices: pixels [slice, C, H, W], float32 or complex64, and where they lie.
struct Image {
  at::Tensor pixels;
  ImageGeometry geometry;
  IntensityUnit unit = IntensityUnit::kArbitrary;
};

}  // namespace postrec
