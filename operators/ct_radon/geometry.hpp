#pragma once

#include <cstdint>
#include <vector>

namespace postrec::ct {

enum class Beam { kParallel, kFanFlat, kFanCurved };

/// Where source, detector and pixels are. README.md has the formulas; x points right and z up, as in IEC 61217.
struct Geometry {
  std::int64_t height = 0;
  std::int64_t width = 0;
  double pixel_mm = 1.0;
  Beam beam = Beam::kParallel;
  std::vector<double> angles_rad;
  std::int64_t n_detectors = 0;
  double detector_spacing_mm = 1.0;            ///< along the detector: chord of a flat one, arc of a curved one
  double detector_offset_mm = 0.0;             ///< detector coordinate of the middle of the row
  double source_to_isocenter_mm = 0.0;         ///< fan beams only
  double source_to_detector_mm = 0.0;          ///< fan beams only

  std::int64_t n_views() const { return static_cast<std::int64_t>(angles_rad.size()); }
  double magnification() const { return beam == Beam::kParallel ? 1.0 : source_to_detector_mm / source_to_isocenter_mm; }
  double column_x_mm(double column) const { return (column - 0.5 * static_cast<double>(width - 1)) * pixel_mm; }
  double row_z_mm(double row) const { return (0.5 * static_cast<double>(height - 1) - row) * pixel_mm; }
  double x_column(double x_mm) const { return x_mm / pixel_mm + 0.5 * static_cast<double>(width - 1); }
  double z_row(double z_mm) const { return 0.5 * static_cast<double>(height - 1) - z_mm / pixel_mm; }
  double detector_mm(double detector) const {
    return (detector - 0.5 * static_cast<double>(n_detectors - 1)) * detector_spacing_mm + detector_offset_mm;
  }
  /// The angle of a fan ray from the central one, positive towards positive detector coordinates.
  double fan_angle_rad(double detector) const;
  /// From the isocentre to the outer edge of the image's corner pixels.
  double image_radius_mm() const;
  /// Detectors that cover the whole image at every angle: whole, and perhaps more than any integer.
  double covering_detectors() const;
};

/// A point of a ray (mm) and its unit direction, away from the source.
struct Ray {
  double x_mm, z_mm;
  double dx, dz;
};

Ray ray_of(const Geometry& geometry, std::int64_t view, double detector);

/// Throws Error(kConfiguration) when the image would not lie between source and detector, or a curved detector would reach round the source.
void check_geometry(const Geometry& geometry);

}  // namespace postrec::ct
