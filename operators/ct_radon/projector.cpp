#include "ct_radon/projector.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "ct_radon/image_layout.hpp"

namespace postrec::ct {
namespace {

// The adjoint fills an image band by band. Of a batch, it fills one strip of a band before the next: the strip's pixels and what a bundle
// adds to them stay in the level 1 cache.
constexpr std::int64_t kBandRows = 8;
constexpr int kStripColumns = 128;

template <int lanes>
constexpr Kernels::Forward Kernels::*forward_kernel() {
  return lanes == 1 ? &Kernels::forward_single : &Kernels::forward_batch;
}

template <int lanes>
constexpr Kernels::Adjoint Kernels::*adjoint_kernel() {
  return lanes == 1 ? &Kernels::adjoint_single : &Kernels::adjoint_batch;
}

/// Items of `work` interpolations each for which another thread is worth waking: about 0.1 ms.
std::int64_t grain(std::int64_t work) { return std::max<std::int64_t>(1, 200'000 / std::max<std::int64_t>(1, work)); }

std::int64_t n_bands(std::int64_t n_rows) { return (n_rows + kBandRows - 1) / kBandRows; }

/// Calls single(i) or group(i, n) for images i .. i + n of a batch.
template <class Single, class Group>
void for_each_group(std::int64_t batch, Single single, Group group) {
  for (std::int64_t i = 0; i < batch; i += kLanes) {
    const std::int64_t n = std::min<std::int64_t>(kLanes, batch - i);
    if (n == 1) {
      single(i);
    } else {
      group(i, n);
    }
  }
}

}  // namespace

Projector::Projector(const Geometry& geometry, const Kernels& kernels)
    : height_(geometry.height), width_(geometry.width), n_views_(geometry.n_views()), n_detectors_(geometry.n_detectors), rays_(geometry), kernels_(kernels) {}

at::Tensor Projector::forward(const at::Tensor& images) const {
  at::Tensor sinograms = at::zeros({images.size(0), n_views_, n_detectors_}, images.options());
  const float* from = images.const_data_ptr<float>();
  float* to = sinograms.mutable_data_ptr<float>();
  const std::int64_t n_pixels = height_ * width_, n_rays = n_views_ * n_detectors_;
  for_each_group(
      images.size(0), [&](std::int64_t i) { forward_group<1>(from + i * n_pixels, 1, to + i * n_rays); },
      [&](std::int64_t i, std::int64_t n) { forward_group<kLanes>(from + i * n_pixels, n, to + i * n_rays); });
  return sinograms;
}

at::Tensor Projector::adjoint(const at::Tensor& sinograms) const {
  at::Tensor images = at::empty({sinograms.size(0), 1, height_, width_}, sinograms.options());
  const float* from = sinograms.const_data_ptr<float>();
  float* to = images.mutable_data_ptr<float>();
  const std::int64_t n_pixels = height_ * width_, n_rays = n_views_ * n_detectors_;
  for_each_group(
      sinograms.size(0), [&](std::int64_t i) { adjoint_group<1>(from + i * n_rays, 1, to + i * n_pixels); },
      [&](std::int64_t i, std::int64_t n) { adjoint_group<kLanes>(from + i * n_rays, n, to + i * n_pixels); });
  return images;
}

std::int64_t Projector::n_adjoint_terms() const {
  std::int64_t n = 0;
  for (const RayBundle& bundle : rays_.bundles()) n += bundle.n_taps;
  return n;
}

/// Calls visit(placement, k, index in the sinogram) for each ray that meets the image.
template <class Visit>
void Projector::for_each_ray(Visit visit) const {
  at::parallel_for(0, static_cast<std::int64_t>(rays_.placements().size()), grain(n_detectors_), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const RaySet::Placement& place = rays_.placements()[i];
      for (int k = 0; k < rays_.bundles()[i].n_rays; ++k) visit(place, k, place.view * n_detectors_ + place.first_detector + k * place.detector_step);
    }
  });
}

template <int lanes>
void Projector::forward_group(const float* images, std::int64_t n, float* sinograms) const {
  BorderedImages<lanes> upright(height_, width_), transposed(width_, height_);
  upright.fill(images, n);
  transposed.fill_transposed(upright);
  at::Tensor memory = at::zeros({rays_.n_values() * lanes}, at::kFloat);
  float* sums = memory.mutable_data_ptr<float>();
  const auto& placements = rays_.placements();

  const auto project = [&](const BorderedImages<lanes>& image, std::int64_t n_rows, const std::vector<int>& bundles) {
    at::parallel_for(0, static_cast<std::int64_t>(bundles.size()), grain(n_rows * n_detectors_ * lanes / 4), [&](std::int64_t begin, std::int64_t end) {
      // Tile by tile, so that the image rows stay in the cache while all the thread's rays pass.
      for (std::int64_t row = 0; row < n_rows; row += kTileRows) {
        const int row_end = static_cast<int>(std::min(n_rows, row + kTileRows));
        for (std::int64_t i = begin; i < end; ++i) {
          const int b = bundles[i];
          (kernels_.*forward_kernel<lanes>())(rays_.bundles()[b], image.row(0), image.stride(), static_cast<int>(row), row_end,
                                              sums + placements[b].first_value * lanes);
        }
      }
    });
  };
  project(upright, height_, rays_.along_rows());
  project(transposed, width_, rays_.along_columns());

  for_each_ray([&](const RaySet::Placement& place, int k, std::int64_t ray) {
    const float* sum = sums + (place.first_value + k) * lanes;
    for (std::int64_t b = 0; b < n; ++b) sinograms[b * n_views_ * n_detectors_ + ray] = sum[b] * place.length_mm[k];
  });
}

/// The sinograms in the kernels' layout, times the path length of each ray; zeros around each bundle.
template <int lanes>
at::Tensor Projector::weighted_values(const float* sinograms, std::int64_t n) const {
  at::Tensor memory = at::zeros({rays_.n_values() * lanes}, at::kFloat);
  float* values = memory.mutable_data_ptr<float>();
  for_each_ray([&](const RaySet::Placement& place, int k, std::int64_t ray) {
    float* value = values + (place.first_value + k) * lanes;
    for (std::int64_t b = 0; b < n; ++b) value[b] = sinograms[b * n_views_ * n_detectors_ + ray] * place.length_mm[k];
  });
  return memory;
}

/// Bands of rows of the image (or of the transposed image, its columns) from all the bundles that march along them.
template <int lanes>
void Projector::project_back(const float* values, bool transposed, std::int64_t band_begin, std::int64_t band_end, float* image) const {
  const std::int64_t n_rows = transposed ? width_ : height_, n_columns = transposed ? height_ : width_;
  const std::int64_t stride = round_up_to_lanes(static_cast<int>(n_columns)) * lanes;
  const std::vector<int>& bundles = transposed ? rays_.along_columns() : rays_.along_rows();
  const int all_columns = round_up_to_lanes(static_cast<int>(n_columns)), strip = lanes > 1 ? kStripColumns : all_columns;
  for (std::int64_t band = band_begin; band < band_end; ++band) {
    const int first_row = static_cast<int>(band * kBandRows), last_row = static_cast<int>(std::min(n_rows, (band + 1) * kBandRows));
    for (int column = 0; column < all_columns; column += strip) {
      const int column_end = std::min(all_columns, column + strip);
      for (const int i : bundles) {
        const RayBundle& bundle = rays_.bundles()[i];
        const float* of_bundle = values + rays_.placements()[i].first_value * lanes;
        for (int row = std::max(first_row, bundle.first_row); row < std::min(last_row, bundle.last_row); ++row) {
          (kernels_.*adjoint_kernel<lanes>())(bundle, row, column, column_end, of_bundle, image + row * stride);
        }
      }
    }
  }
}

template <int lanes>
void Projector::adjoint_group(const float* sinograms, std::int64_t n, float* images) const {
  const at::Tensor values = weighted_values<lanes>(sinograms, n);
  const std::int64_t stride = round_up_to_lanes(static_cast<int>(width_)), transposed_stride = round_up_to_lanes(static_cast<int>(height_));
  at::Tensor upright = at::zeros({height_ * stride * lanes}, at::kFloat), transposed = at::zeros({width_ * transposed_stride * lanes}, at::kFloat);
  float* const along_rows = upright.mutable_data_ptr<float>();
  float* const along_columns = transposed.mutable_data_ptr<float>();

  const std::int64_t upright_bands = n_bands(height_), all_bands = upright_bands + n_bands(width_);
  at::parallel_for(0, all_bands, grain(kBandRows * width_ * n_views_ * lanes / 8), [&](std::int64_t begin, std::int64_t end) {
    const float* value = values.const_data_ptr<float>();
    project_back<lanes>(value, false, begin, std::min(end, upright_bands), along_rows);
    project_back<lanes>(value, true, std::max(begin, upright_bands) - upright_bands, end - upright_bands, along_columns);
  });

  at::parallel_for(0, n_bands(height_), grain(kBandRows * width_), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r0 = begin * kBandRows; r0 < std::min(height_, end * kBandRows); r0 += kBandRows) {
      // Squares: a line of the transposed image serves a few rows before it leaves the cache.
      for (std::int64_t c0 = 0; c0 < width_; c0 += kBandRows) {
        for (std::int64_t r = r0; r < std::min(height_, r0 + kBandRows); ++r) {
          for (std::int64_t c = c0; c < std::min(width_, c0 + kBandRows); ++c) {
            const float* a = along_rows + (r * stride + c) * lanes;
            const float* b = along_columns + (c * transposed_stride + r) * lanes;
            for (std::int64_t i = 0; i < n; ++i) images[(i * height_ + r) * width_ + c] = a[i] + b[i];
          }
        }
      }
    }
  });
}

}  // namespace postrec::ct
