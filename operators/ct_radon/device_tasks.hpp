#pragma once

#include <cstdint>

#include "ct_radon/kernels.hpp"
#include "ct_radon/view_sight.hpp"

// Plain data only: the CUDA file includes this. Every pointer is an address of the device.
namespace postrec::ct {

inline constexpr int kMaxImages = 8;           ///< that one thread handles, sharing the rays' places and weights

/// A RayBundle whose arrays are parts of tables that all bundles share; its members of the same name mean the same.
struct DeviceBundle {
  std::int64_t first_entry;                    ///< of ray 0 in RayTables::start and slope
  std::int64_t first_block;                    ///< of rays 0 .. 7 in RayTables::block_first_row and block_last_row
  std::int64_t first_ray;                      ///< of ray 0 in a sinogram [view, detector]; ray k is at first_ray + k * detector_step
  int first_detector, detector_step;
  int n_rays;
  int width;                                   ///< of the image as it is marched
  int first_row, last_row;
  bool transposed;                             ///< marches along columns
  bool affine, curved;
  float affine_start, affine_step, affine_inverse_step, affine_slope;
  float index_start, index_scale, tap_margin;
  RayBundle::Plane across, depth;
};

/// Every ray of a scan.
struct RayTables {
  int height, width, n_views, n_detectors;
  const DeviceBundle* bundles;                 ///< by view
  const int* first_bundle;                     ///< of each view, and one past the last of all
  const int* along_rows;                       ///< bundles
  const int* along_columns;
  int n_along_rows, n_along_columns;
  const float* start;
  const float* slope;
  const int* block_first_row;
  const int* block_last_row;

  POSTREC_HOST_DEVICE std::int64_t n_pixels() const { return static_cast<std::int64_t>(height) * width; }
  POSTREC_HOST_DEVICE std::int64_t n_rays() const { return static_cast<std::int64_t>(n_views) * n_detectors; }
};

/// One index a ray: sinograms[image, ray] = length_mm[ray] times the image summed along it.
struct ForwardTask {
  RayTables rays;
  const float* length_mm;                      ///< [view, detector]
  const float* images;                         ///< [n, height, width]
  const float* transposed;                     ///< [n, width, height]
  float* sinograms;                            ///< [n, view, detector]

  std::int64_t size() const { return rays.n_rays(); }
};

/// One index a pixel: images[image, pixel] = the sum of weight * weighted[image, ray] over the rays that meet it.
struct AdjointTask {
  RayTables rays;
  const float* weighted;                       ///< [n, view, detector]: sinograms times length_mm
  float* images;                               ///< [n, height, width]

  std::int64_t size() const { return rays.n_pixels(); }
};

/// One index a value: the weighted sinograms under the ramp filter.
struct FilterTask {
  std::int64_t n_rows;                         ///< images times views
  int n_views, n_detectors;
  const float* ray_weights;                    ///< [view, detector]
  const float* taps;                           ///< at offsets -(n_detectors - 1) .. n_detectors - 1
  const float* sinograms;                      ///< [row, detector]
  float* filtered;                             ///< [row, detector]

  std::int64_t size() const { return n_rows * n_detectors; }
};

/// One index a pixel: what each view shows there.
struct BackProjectTask {
  Sights sights;
  const ViewDirection* views;
  int n_views;
  const float* filtered;                       ///< [n, view, detector]
  float* images;                               ///< [n, height, width]

  std::int64_t size() const { return static_cast<std::int64_t>(sights.height) * sights.width; }
};

/// How a kind of device runs the tasks for n = 1, 2, 4 or 8 images: queued on a stream of the current device.
struct Launcher {
  void (*forward)(const ForwardTask& task, int n, void* stream);
  void (*adjoint)(const AdjointTask& task, int n, void* stream);
  void (*filter)(const FilterTask& task, void* stream);
  void (*back_project)(const BackProjectTask& task, int n, void* stream);
};

const Launcher& cuda_launcher();               ///< only with POSTREC_HAS_CUDA

}  // namespace postrec::ct
