#include "ct_radon/geometry.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>
#include <string>

#include "postrec/error.hpp"

namespace postrec::ct {
namespace {

std::string millimetres(double value) {
  std::ostringstream text;
  text << value << " mm";
  return text.str();
}

}  // namespace

double Geometry::fan_angle_rad(double detector) const {
  const double ratio = detector_mm(detector) / source_to_detector_mm;
  return beam == Beam::kFanFlat ? std::atan(ratio) : ratio;
}

double Geometry::image_radius_mm() const { return 0.5 * pixel_mm * std::hypot(static_cast<double>(height), static_cast<double>(width)); }

double Geometry::covering_detectors() const {
  double half_mm = image_radius_mm();
  if (beam != Beam::kParallel) {
    const double half_fan = std::asin(std::min(0.999, image_radius_mm() / source_to_isocenter_mm));
    half_mm = source_to_detector_mm * (beam == Beam::kFanFlat ? std::tan(half_fan) : half_fan);
  }
  return std::ceil(2 * (half_mm + std::abs(detector_offset_mm)) / detector_spacing_mm) + 1;
}

Ray ray_of(const Geometry& geometry, std::int64_t view, double detector) {
  const double angle = geometry.angles_rad[static_cast<std::size_t>(view)];
  const double sine = std::sin(angle), cosine = std::cos(angle);
  if (geometry.beam == Beam::kParallel) {
    const double u = geometry.detector_mm(detector);
    return {u * cosine, -u * sine, -sine, -cosine};
  }
  const double fan = geometry.fan_angle_rad(detector), along = std::cos(fan), across = std::sin(fan);
  const double distance = geometry.source_to_isocenter_mm;
  return {distance * sine, distance * cosine, -along * sine + across * cosine, -along * cosine - across * sine};
}

void check_geometry(const Geometry& geometry) {
  if (geometry.beam == Beam::kParallel) return;
  // Two pixels of margin: the interpolation reaches one pixel beyond the image.
  const double radius = geometry.image_radius_mm() + 2 * geometry.pixel_mm;
  if (geometry.source_to_isocenter_mm <= radius) {
    throw Error(ErrorKind::kConfiguration, "source-to-isocenter-mm is " + millimetres(geometry.source_to_isocenter_mm) + ", inside the image",
                "the image's corners are " + millimetres(radius) + " from the isocentre");
  }
  if (geometry.source_to_detector_mm < geometry.source_to_isocenter_mm) {
    throw Error(ErrorKind::kConfiguration,
                "source-to-detector-mm is " + millimetres(geometry.source_to_detector_mm) + ", less than source-to-isocenter-mm, " +
                    millimetres(geometry.source_to_isocenter_mm),
                "the isocentre lies between source and detector");
  }
  const double last = static_cast<double>(geometry.n_detectors - 1);
  const double half_fan = std::max(std::abs(geometry.fan_angle_rad(0)), std::abs(geometry.fan_angle_rad(last)));
  if (half_fan >= 0.5 * std::numbers::pi) {
    throw Error(ErrorKind::kConfiguration, "a curved detector of " + std::to_string(geometry.n_detectors) + " elements reaches round the source",
                "its rays must stay within 90 degrees of the central one: fewer or smaller detector elements");
  }
}

}  // namespace postrec::ct
