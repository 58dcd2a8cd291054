#pragma once

#include <array>
#include <string>
#include <vector>

#include "postrec/image.hpp"

namespace postrec {

/// Where the middle of a slice lies and how it is turned: mm and unit vectors in LPS, as an acquisition header of ISMRMRD says it.
struct SlicePlane {
  std::array<double, 3> position_mm{};
  std::array<double, 3> read_dir{};
  std::array<double, 3> phase_dir{};
};

struct PlacedSlices {
  ImageGeometry geometry;
  std::vector<std::size_t> order;  ///< which of the planes is slice 0, 1, ... of the geometry
  std::vector<std::string> notes;
};

/// The stack of slices of rows x columns pixels whose columns go along read_dir and rows along phase_dir. The middle of a slice is pixel n/2, where
/// the Fourier transform has its origin. Slices are ordered along read_dir x phase_dir, so that the directions are right-handed.
/// `thickness_mm` is the distance of slices when there is one, or their positions are all the same.
/// Throws Error(kBadData), which begins with `name`, when slices are turned against each other.
PlacedSlices place_slices(const std::vector<SlicePlane>& planes, std::array<double, 2> pixel_mm, double thickness_mm, std::int64_t rows, std::int64_t columns,
                          const std::string& name);

}  // namespace postrec
