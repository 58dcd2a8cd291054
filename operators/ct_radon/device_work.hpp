#pragma once

#include <cmath>
#include <cstdint>

#include "ct_radon/device_tasks.hpp"
#include "postrec/host_device.hpp"

// What one thread of a device does, in the order of kernels_portable.cpp and projector.cpp: the results are the same bits.
namespace postrec::ct {

/// Adds what n images hold along ray k of a bundle to sums: a sum of sums over tiles of kTileRows march steps.
template <int n>
POSTREC_HOST_DEVICE inline void sum_along_ray(const RayTables& tables, const DeviceBundle& bundle, int k, const float* images, float* sums) {
  const float start = tables.start[bundle.first_entry + k], slope = tables.slope[bundle.first_entry + k];
  const int first = tables.block_first_row[bundle.first_block + k / kLanes], last = tables.block_last_row[bundle.first_block + k / kLanes];
  const float right_border = static_cast<float>(bundle.width);
  for (int tile = first / kTileRows * kTileRows; tile < last; tile += kTileRows) {
    const int row_begin = tile > first ? tile : first, row_end = tile + kTileRows < last ? tile + kTileRows : last;
    float of_tile[n] = {};
    for (int row = row_begin; row < row_end; ++row) {
      const float position = ::fminf(right_border, ::fmaxf(-1.0f, ::fmaf(static_cast<float>(row), slope, start)));
      const float whole = ::floorf(position), fraction = position - whole;
      const int column = static_cast<int>(whole);
      const float* pixel = images + (static_cast<std::int64_t>(row) * bundle.width + column);
      // Around the image are zeros.
      const bool has_left = column >= 0 && column < bundle.width, has_right = column < bundle.width - 1;
      for (int i = 0; i < n; ++i, pixel += tables.n_pixels()) {
        const float left = has_left ? pixel[0] : 0.0f, right = has_right ? pixel[1] : 0.0f;
        of_tile[i] += ::fmaf(fraction, right - left, left);
      }
    }
    for (int i = 0; i < n; ++i) sums[i] += of_tile[i];
  }
}

template <int n>
struct ForwardRays : ForwardTask {
  POSTREC_HOST_DEVICE void operator()(std::int64_t ray) const {
    const int view = static_cast<int>(ray / rays.n_detectors), detector = static_cast<int>(ray % rays.n_detectors);
    float sums[n] = {};
    for (int b = rays.first_bundle[view]; b < rays.first_bundle[view + 1]; ++b) {
      const DeviceBundle& bundle = rays.bundles[b];
      const int k = (detector - bundle.first_detector) * bundle.detector_step;
      if (k >= 0 && k < bundle.n_rays) sum_along_ray<n>(rays, bundle, k, bundle.transposed ? transposed : images, sums);
    }
    for (int i = 0; i < n; ++i) sinograms[i * rays.n_rays() + ray] = sums[i] * length_mm[ray];
  }
};

/// A ray of the bundle before which none comes within a column of the pixel: see ParallelRow and FanRow of kernels_avx2.cpp.
POSTREC_HOST_DEVICE inline int first_candidate(const DeviceBundle& bundle, float row, float column) {
  float ray;
  if (bundle.affine) {
    const float base = ::fmaf(row, bundle.affine_slope, bundle.affine_start);
    ray = ::fmaf(column, bundle.affine_inverse_step, 1.0f - bundle.tap_margin - (base + 1.0f) * bundle.affine_inverse_step);
  } else {
    // Where the pixel's left neighbour is seen.
    const float across = ::fmaf(column, bundle.across.column, bundle.across.start + bundle.across.row * row - bundle.across.column);
    const float depth = ::fmaf(column, bundle.depth.column, bundle.depth.start + bundle.depth.row * row - bundle.depth.column);
    const float ratio = across / depth;
    ray = ::fmaf(bundle.curved ? ::atanf(ratio) : ratio, bundle.index_scale, bundle.index_start + 1.0f - bundle.tap_margin);
  }
  return static_cast<int>(::fminf(::fmaxf(::floorf(ray), 0.0f), static_cast<float>(bundle.n_rays)));
}

/// Where ray k of the bundle crosses the row: the forward's own fused multiply-add.
POSTREC_HOST_DEVICE inline float position_of(const RayTables& tables, const DeviceBundle& bundle, int k, float row) {
  if (bundle.affine) return ::fmaf(row, bundle.affine_slope, ::fmaf(static_cast<float>(k), bundle.affine_step, bundle.affine_start));
  return ::fmaf(row, tables.slope[bundle.first_entry + k], tables.start[bundle.first_entry + k]);
}

/// Adds what the rays of a bundle carry to the pixel at (row, column) of the image as it is marched.
template <int n>
POSTREC_HOST_DEVICE inline void gather_rays(const RayTables& tables, const DeviceBundle& bundle, int row, int column, const float* weighted, float* sums) {
  if (row < bundle.first_row || row >= bundle.last_row) return;
  const float r = static_cast<float>(row), c = static_cast<float>(column);
  for (int k = first_candidate(bundle, r, c); k < bundle.n_rays; ++k) {
    const float position = position_of(tables, bundle, k, r);
    if (position >= c + 1.0f) return;
    if (position <= c - 1.0f) continue;
    const float weight = 1.0f - ::fabsf(position - c);
    const float* value = weighted + (bundle.first_ray + static_cast<std::int64_t>(k) * bundle.detector_step);
    for (int i = 0; i < n; ++i, value += tables.n_rays()) sums[i] = ::fmaf(weight, *value, sums[i]);
  }
}

template <int n>
struct AdjointPixels : AdjointTask {
  POSTREC_HOST_DEVICE void operator()(std::int64_t pixel) const {
    const int row = static_cast<int>(pixel / rays.width), column = static_cast<int>(pixel % rays.width);
    float of_rows[n] = {}, of_columns[n] = {};
    for (int i = 0; i < rays.n_along_rows; ++i) gather_rays<n>(rays, rays.bundles[rays.along_rows[i]], row, column, weighted, of_rows);
    for (int i = 0; i < rays.n_along_columns; ++i) gather_rays<n>(rays, rays.bundles[rays.along_columns[i]], column, row, weighted, of_columns);
    for (int i = 0; i < n; ++i) images[i * rays.n_pixels() + pixel] = of_rows[i] + of_columns[i];
  }
};

struct FilterValues : FilterTask {
  POSTREC_HOST_DEVICE void operator()(std::int64_t index) const {
    const std::int64_t row = index / n_detectors;
    const int k = static_cast<int>(index % n_detectors);
    const float* values = sinograms + row * n_detectors;
    const float* weights = ray_weights + row % n_views * n_detectors;
    const float* tap = taps + (n_detectors - 1 + k);
    float sum = 0.0f;
    for (int j = 0; j < n_detectors; ++j) {
      const float value = values[j] * weights[j];
      if (value != 0.0f) sum += value * tap[-j];
    }
    filtered[index] = sum;
  }
};

template <int n>
struct BackProjectPixels : BackProjectTask {
  POSTREC_HOST_DEVICE void operator()(std::int64_t pixel) const {
    const int row = static_cast<int>(pixel / sights.width), column = static_cast<int>(pixel % sights.width);
    const int next = sights.n_detectors > 1 ? 1 : 0;
    float sums[n] = {};
    for (int view = 0; view < n_views; ++view) {
      const Sights::Sample sample = sights.of(views[view], row, column);
      const float* value = filtered + (static_cast<std::int64_t>(view) * sights.n_detectors + sample.detector);
      for (int i = 0; i < n; ++i, value += static_cast<std::int64_t>(n_views) * sights.n_detectors) {
        sums[i] += sample.left * value[0] + sample.right * value[next];
      }
    }
    for (int i = 0; i < n; ++i) images[i * size_of_image() + pixel] = sums[i];
  }

 private:
  POSTREC_HOST_DEVICE std::int64_t size_of_image() const { return static_cast<std::int64_t>(sights.height) * sights.width; }
};

/// The launcher that runs each task's work by Run::over(work, size, stream, what it is in words).
template <class Run>
struct LauncherOf {
  static Launcher make() { return {forward, adjoint, filter, back_project}; }

 private:
  template <template <int> class Work, class Task>
  static void for_images(const Task& task, int n, void* stream, const char* what) {
    switch (n) {
      case 1: return Run::over(Work<1>{task}, task.size(), stream, what);
      case 2: return Run::over(Work<2>{task}, task.size(), stream, what);
      case 4: return Run::over(Work<4>{task}, task.size(), stream, what);
      case kMaxImages: return Run::over(Work<kMaxImages>{task}, task.size(), stream, what);
    }
  }
  static void forward(const ForwardTask& task, int n, void* stream) { for_images<ForwardRays>(task, n, stream, "ct-radon's forward projection"); }
  static void adjoint(const AdjointTask& task, int n, void* stream) { for_images<AdjointPixels>(task, n, stream, "ct-radon's adjoint"); }
  static void filter(const FilterTask& task, void* stream) { Run::over(FilterValues{task}, task.size(), stream, "ct-radon's ramp filter"); }
  static void back_project(const BackProjectTask& task, int n, void* stream) {
    for_images<BackProjectPixels>(task, n, stream, "ct-radon's back-projection");
  }
};

}  // namespace postrec::ct
