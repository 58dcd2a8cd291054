#pragma once

#include <filesystem>
#include <vector>

namespace postrec {

/// One projection of RTK's ThreeDCircularProjectionGeometry, under the names of its files. Lengths in mm, angles in degrees.
///
/// The detector is turned about y by the gantry angle g, then about its own axes. In the turned frame its axes are e = (cos g, 0, -sin g) (columns, u), y (rows, v) and
/// s = (sin g, 0, cos g), all in the fixed frame of IEC 61217; the source lies at source_offset_x e + source_offset_y y + source_to_isocenter s, and
/// the pixel (u, v) at (u + projection_offset_x) e + (v + projection_offset_y) y + (source_to_isocenter - source_to_detector) s.
struct RtkProjection {
  double source_to_isocenter = 0.0, source_to_detector = 0.0;  ///< a source_to_detector of 0: parallel beam along -s
  double gantry_angle = 0.0, out_of_plane_angle = 0.0, in_plane_angle = 0.0;
  double projection_offset_x = 0.0, projection_offset_y = 0.0, source_offset_x = 0.0, source_offset_y = 0.0;
};

struct RtkGeometry {
  std::vector<RtkProjection> projections;
  double cylinder_radius = 0.0;  ///< of a detector bent about an axis parallel to y; 0: flat
};

/// Reads an RTK geometry file (root RTKThreeDCircularGeometry, version 2 or 3). As in RTK's reader a value holds from where it stands, so that what all projections share
/// stands once before them. A projection's matrix, if there, must be the one of its parameters (1e-3).
/// Throws Error: kNoInput, kBadData (no XML, an element that is not known, a number that is none, collimation).
RtkGeometry read_rtk_geometry(const std::filesystem::path& path);

}  // namespace postrec
