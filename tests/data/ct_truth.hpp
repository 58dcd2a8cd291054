#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "postrec/measurement.hpp"

namespace postrec::test {

/// The chord of a ray in a disc, times its attenuation: a ray through (px, pz) along (dx, dz), of any length.
inline double disc_integral(double px, double pz, double dx, double dz, double x, double z, double radius, double mu) {
  const double distance = ((x - px) * dz - (z - pz) * dx) / std::hypot(dx, dz);
  return distance * distance < radius * radius ? 2.0 * mu * std::sqrt(radius * radius - distance * distance) : 0.0;
}

/// What "ct-radon" measures of a disc around (x, z), by the formulas of operators/ct_radon/README.md and nothing else: S(a), c(a), e(a) and u_k.
inline double expected_integral(const Parameters& parameters, std::int64_t view, std::int64_t detector, double x, double z, double radius, double mu) {
  const double a = parameters.real_list("angles-rad")[static_cast<std::size_t>(view)];
  const double u = (static_cast<double>(detector) - 0.5 * static_cast<double>(parameters.integer("n-detectors") - 1)) * parameters.real("detector-spacing-mm") + parameters.real("detector-offset-mm");
  const double ex = std::cos(a), ez = -std::sin(a), cx = -std::sin(a), cz = -std::cos(a);
  const std::string beam = parameters.text("beam");
  if (beam == "parallel") return disc_integral(u * ex, u * ez, cx, cz, x, z, radius, mu);
  const double source = parameters.real("source-to-isocenter-mm"), detector_mm = parameters.real("source-to-detector-mm");
  const double fan = beam == "fan-flat" ? std::atan(u / detector_mm) : u / detector_mm;
  return disc_integral(-source * cx, -source * cz, std::cos(fan) * cx + std::sin(fan) * ex, std::cos(fan) * cz + std::sin(fan) * ez, x, z, radius, mu);
}

/// The largest difference between y[slice] and what is expected of the disc.
inline double largest_error(const Measurement& measurement, std::int64_t slice, double x, double z, double radius, double mu) {
  double worst = 0.0;
  const auto y = measurement.y[slice];
  for (std::int64_t view = 0; view < y.size(0); ++view)
    for (std::int64_t detector = 0; detector < y.size(1); ++detector)
      worst = std::max(worst, std::abs(y[view][detector].item<double>() - expected_integral(measurement.parameters, view, detector, x, z, radius, mu)));
  return worst;
}

}  // namespace postrec::test
