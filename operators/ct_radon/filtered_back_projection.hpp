#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "ct_radon/geometry.hpp"
#include "ct_radon/view_sight.hpp"

namespace postrec::ct {

enum class FbpFilter { kRamp, kHann };

/// The angle (rad) that each view stands for: half the gaps to its neighbours on a circle of `period`. A gap more than twice as wide as any other
/// ends the arc, and its two ends then count half their one gap twice.
std::vector<double> angular_weights(const std::vector<double>& angles_rad, double period);

/// How the pixels of a scan are found in its views, and the direction of each view.
Sights sights_of(const Geometry& geometry);
std::vector<ViewDirection> view_directions(const Geometry& geometry);

/// Filtered back-projection: weights, band-limited ramp filter, back-projection with linear interpolation.
/// Parallel beam over any angles; fan beams with Parker's weights unless the views go all the way round; then a detector that is displaced by more than two elements has Wang's weights.
/// Source: G. Wang, Med. Phys. 29 (2002) 1634; A. C. Kak, M. Slaney, Principles of Computerized Tomographic Imaging (1988), chapter 3; short scans: M. D. Silver, Med. Phys. 27 (2000) 773.
class FilteredBackProjection {
 public:
  FilteredBackProjection(const Geometry& geometry, FbpFilter filter);

  /// Contiguous [B, view, detector] line integrals -> [B, 1, H, W].
  at::Tensor operator()(const at::Tensor& sinograms) const;

  /// The scan with both sides of the detector: a displaced one has elements on its short side that measure nothing.
  const Geometry& geometry() const { return geometry_; }
  /// [B, view, detector] with zeros there.
  at::Tensor with_both_sides(const at::Tensor& sinograms) const;
  /// Of that geometry.
  const std::vector<float>& ray_weights() const { return ray_weights_; }
  const std::vector<float>& kernel() const { return kernel_; }

 private:
  at::Tensor filter(const at::Tensor& sinograms) const;

  Geometry geometry_;
  std::int64_t n_left_ = 0, n_right_ = 0;      ///< elements that measure nothing
  std::vector<float> ray_weights_;             ///< [view, detector]: angle, redundancy and fan weight
  std::vector<float> kernel_;                  ///< at offsets -(n - 1) .. n - 1, times the detector spacing
};

}  // namespace postrec::ct
