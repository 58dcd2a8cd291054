#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "ct_radon/device_tasks.hpp"
#include "ct_radon/filtered_back_projection.hpp"
#include "ct_radon/geometry.hpp"

namespace postrec::ct {

/// Projector and FilteredBackProjection for float32 tensors of one device other than the CPU, on its current stream and without waiting for it.
///
/// A thread owns a ray (forward), a pixel (adjoint) or a value of up to eight images; no atomics, no texture filtering. Sums run in the order of
/// the CPU's kernels, so that results are the same bits; only a curved detector's back-projection rests on the device's arc tangent.
class DeviceProjector {
 public:
  /// Puts the tables of the scan into the device's memory. `launcher` must outlive the projector.
  DeviceProjector(const Geometry& geometry, const FilteredBackProjection& fbp, at::Device device, const Launcher& launcher);

  at::Tensor forward(const at::Tensor& images) const;                  ///< contiguous [B, 1, H, W] -> [B, view, detector]
  at::Tensor adjoint(const at::Tensor& sinograms) const;               ///< contiguous [B, view, detector] -> [B, 1, H, W]
  at::Tensor filtered_back_projection(const at::Tensor& sinograms) const;

 private:
  void pack_rays(const Geometry& geometry);
  void pack_back_projection(const FilteredBackProjection& fbp);
  template <class T>
  const T* keep(const std::vector<T>& values);
  template <class Part>
  void for_each_group(std::int64_t batch, Part part) const;

  at::Device device_;
  const Launcher& launcher_;
  std::vector<at::Tensor> memory_;             ///< what the tables point to
  RayTables rays_{};
  at::Tensor length_mm_;                       ///< [view, detector], 0 for rays that miss the image
  FilteredBackProjection fbp_;
  Sights sights_{};                            ///< of its geometry
  const ViewDirection* views_ = nullptr;
  const float* ray_weights_ = nullptr;
  const float* taps_ = nullptr;
};

}  // namespace postrec::ct
