#pragma once

#include <cmath>
#include <cstdint>

#include "postrec/host_device.hpp"

// Plain data and arithmetic only: the CUDA file includes this.
namespace postrec::ct {

/// Sine and cosine of a view's angle.
struct ViewDirection {
  double sine, cosine;
};

/// Where back-projection finds a pixel in a view.
struct Sights {
  int height, width, n_detectors;
  bool fan, curved;
  double pixel_mm, detector_spacing_mm, detector_offset_mm, source_to_isocenter_mm, source_to_detector_mm;

  /// filtered[detector] counts `left`, its right neighbour (itself where there is one detector) `right`; both 0 for what the view does not see.
  struct Sample {
    int detector;
    float left, right;
  };

  POSTREC_HOST_DEVICE Sample of(const ViewDirection& view, int row, int column) const {
    const double x = (column - 0.5 * (width - 1)) * pixel_mm, z = (0.5 * (height - 1) - row) * pixel_mm;
    double weight = 1.0;
    const double detector = seen_at(view, x, z, weight);
    if (!(detector >= 0 && detector <= static_cast<double>(n_detectors - 1))) return {0, 0.0f, 0.0f};
    const int last = n_detectors > 1 ? n_detectors - 2 : 0, whole = static_cast<int>(detector) < last ? static_cast<int>(detector) : last;
    const float right = static_cast<float>(weight * (detector - static_cast<double>(whole)));
    return {whole, static_cast<float>(weight) - right, right};
  }

 private:
  /// The fractional detector index, and with which weight it is back-projected.
  POSTREC_HOST_DEVICE double seen_at(const ViewDirection& view, double x_mm, double z_mm, double& weight) const {
    const double across = x_mm * view.cosine - z_mm * view.sine;
    if (!fan) return index(across);
    const double depth = source_to_isocenter_mm - (x_mm * view.sine + z_mm * view.cosine);
    if (!curved) {
      const double ratio = source_to_isocenter_mm / depth;
      weight = ratio * ratio;
      return index(source_to_detector_mm * across / depth);
    }
    weight = 1.0 / (across * across + depth * depth);
    return index(source_to_detector_mm * ::atan2(across, depth));
  }

  POSTREC_HOST_DEVICE double index(double detector_mm) const {
    return (detector_mm - detector_offset_mm) / detector_spacing_mm + 0.5 * (n_detectors - 1);
  }
};

}  // namespace postrec::ct
