#include "ct_radon/device_projector.hpp"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ct_radon/ray_set.hpp"

namespace postrec::ct {
namespace {

DeviceBundle device_bundle(const RayBundle& bundle, const RaySet::Placement& place, std::int64_t n_detectors) {
  DeviceBundle made{};
  made.first_ray = place.view * n_detectors + place.first_detector;
  made.first_detector = static_cast<int>(place.first_detector);
  made.detector_step = static_cast<int>(place.detector_step);
  made.n_rays = bundle.n_rays;
  made.width = bundle.width;
  made.first_row = bundle.first_row;
  made.last_row = bundle.last_row;
  made.affine = bundle.affine;
  made.curved = bundle.curved;
  made.affine_start = bundle.affine_start;
  made.affine_step = bundle.affine_step;
  made.affine_inverse_step = bundle.affine_inverse_step;
  made.affine_slope = bundle.affine_slope;
  made.index_start = bundle.index_start;
  made.index_scale = bundle.index_scale;
  made.tap_margin = bundle.tap_margin;
  made.across = bundle.across;
  made.depth = bundle.depth;
  return made;
}

/// The current stream of a CUDA device; a device that tests make up has none.
void* stream_of(at::Device device) {
  return device.is_cuda() ? c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle() : nullptr;
}

}  // namespace

DeviceProjector::DeviceProjector(const Geometry& geometry, const FilteredBackProjection& fbp, at::Device device, const Launcher& launcher)
    : device_(device), launcher_(launcher), fbp_(fbp) {
  pack_rays(geometry);
  pack_back_projection(fbp);
}

/// A copy of the values in the device's memory, which lives as long as this.
template <class T>
const T* DeviceProjector::keep(const std::vector<T>& values) {
  const auto n_bytes = static_cast<std::int64_t>(values.size() * sizeof(T));
  memory_.push_back(at::from_blob(const_cast<T*>(values.data()), {n_bytes}, at::kByte).clone().to(device_));
  return static_cast<const T*>(memory_.back().const_data_ptr());
}

void DeviceProjector::pack_rays(const Geometry& geometry) {
  const RaySet rays(geometry);
  std::vector<DeviceBundle> bundles;
  std::vector<int> first_bundle, block_first_row, block_last_row;
  std::vector<float> start, slope;
  at::Tensor lengths = at::zeros({geometry.n_views(), geometry.n_detectors}, at::kFloat);
  for (std::size_t i = 0; i < rays.bundles().size(); ++i) {
    const RayBundle& bundle = rays.bundles()[i];
    const RaySet::Placement& place = rays.placements()[i];
    while (static_cast<std::int64_t>(first_bundle.size()) <= place.view) first_bundle.push_back(static_cast<int>(i));
    DeviceBundle& made = bundles.emplace_back(device_bundle(bundle, place, geometry.n_detectors));
    made.first_entry = static_cast<std::int64_t>(start.size());
    made.first_block = static_cast<std::int64_t>(block_first_row.size());
    start.insert(start.end(), bundle.start, bundle.start + bundle.n_rays);
    slope.insert(slope.end(), bundle.slope, bundle.slope + bundle.n_rays);
    block_first_row.insert(block_first_row.end(), bundle.block_first_row, bundle.block_first_row + bundle.n_blocks);
    block_last_row.insert(block_last_row.end(), bundle.block_last_row, bundle.block_last_row + bundle.n_blocks);
    for (int k = 0; k < bundle.n_rays; ++k) lengths.mutable_data_ptr<float>()[made.first_ray + k * made.detector_step] = place.length_mm[k];
  }
  while (static_cast<std::int64_t>(first_bundle.size()) <= geometry.n_views()) first_bundle.push_back(static_cast<int>(bundles.size()));
  for (const int i : rays.along_columns()) bundles[static_cast<std::size_t>(i)].transposed = true;

  rays_ = {static_cast<int>(geometry.height), static_cast<int>(geometry.width), static_cast<int>(geometry.n_views()), static_cast<int>(geometry.n_detectors),
           keep(bundles), keep(first_bundle), keep(rays.along_rows()), keep(rays.along_columns()), static_cast<int>(rays.along_rows().size()),
           static_cast<int>(rays.along_columns().size()), keep(start), keep(slope), keep(block_first_row), keep(block_last_row)};
  length_mm_ = lengths.to(device_);
}

void DeviceProjector::pack_back_projection(const FilteredBackProjection& fbp) {
  sights_ = sights_of(fbp.geometry());
  views_ = keep(view_directions(fbp.geometry()));
  ray_weights_ = keep(fbp.ray_weights());
  taps_ = keep(fbp.kernel());
}

/// Calls part(first image, number of images) for groups of 8, and then of 4, 2 and 1.
template <class Part>
void DeviceProjector::for_each_group(std::int64_t batch, Part part) const {
  int n = kMaxImages;
  for (std::int64_t i = 0; i < batch; i += n) {
    while (n > batch - i) n /= 2;
    part(i, n);
  }
}

at::Tensor DeviceProjector::forward(const at::Tensor& images) const {
  const c10::DeviceGuard guard(device_);
  at::Tensor sinograms = at::empty({images.size(0), rays_.n_views, rays_.n_detectors}, images.options());
  // Rays that march along columns read neighbouring pixels of the transposed image.
  const at::Tensor transposed = rays_.n_along_columns > 0 ? images.transpose(-1, -2).contiguous() : images;
  for_each_group(images.size(0), [&](std::int64_t i, int n) {
    launcher_.forward({rays_, length_mm_.const_data_ptr<float>(), images.const_data_ptr<float>() + i * rays_.n_pixels(),
                       transposed.const_data_ptr<float>() + i * rays_.n_pixels(), sinograms.mutable_data_ptr<float>() + i * rays_.n_rays()},
                      n, stream_of(device_));
  });
  return sinograms;
}

at::Tensor DeviceProjector::adjoint(const at::Tensor& sinograms) const {
  const c10::DeviceGuard guard(device_);
  const at::Tensor weighted = sinograms * length_mm_;
  at::Tensor images = at::empty({sinograms.size(0), 1, rays_.height, rays_.width}, sinograms.options());
  for_each_group(sinograms.size(0), [&](std::int64_t i, int n) {
    launcher_.adjoint({rays_, weighted.const_data_ptr<float>() + i * rays_.n_rays(), images.mutable_data_ptr<float>() + i * rays_.n_pixels()}, n,
                      stream_of(device_));
  });
  return images;
}

at::Tensor DeviceProjector::filtered_back_projection(const at::Tensor& sinograms) const {
  const c10::DeviceGuard guard(device_);
  const at::Tensor whole = fbp_.with_both_sides(sinograms);
  at::Tensor filtered = at::empty_like(whole);
  launcher_.filter({sinograms.size(0) * rays_.n_views, rays_.n_views, sights_.n_detectors, ray_weights_, taps_, whole.const_data_ptr<float>(), filtered.mutable_data_ptr<float>()},
                   stream_of(device_));
  at::Tensor images = at::empty({sinograms.size(0), 1, rays_.height, rays_.width}, sinograms.options());
  for_each_group(sinograms.size(0), [&](std::int64_t i, int n) {
    launcher_.back_project({sights_, views_, rays_.n_views, filtered.const_data_ptr<float>() + i * rays_.n_views * sights_.n_detectors,
                            images.mutable_data_ptr<float>() + i * rays_.n_pixels()},
                           n, stream_of(device_));
  });
  return images;
}

}  // namespace postrec::ct
