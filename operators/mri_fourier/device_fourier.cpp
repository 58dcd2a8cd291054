#include "mri_fourier/device_fourier.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "mri_fourier/centred_dft.hpp"
#include "mri_fourier/spectral_filter.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kCoilAxis = 1, kRowAxis = 2;

/// sum over c of weights[c] * images[:, c], [B, coil, ...] -> [B, 1, ...]; the images are used up.
at::Tensor combined(at::Tensor images, const at::Tensor& weights) {
  images.mul_(weights);
  return images.size(kCoilAxis) == 1 ? images : images.sum(kCoilAxis, true);
}

}  // namespace

DeviceFourier::DeviceFourier(const at::Tensor& maps, const at::Tensor& mask)
    : has_maps_(maps.defined()), constants_([maps, mask](at::Device device) { return make_constants(maps, mask, device); }) {}

DeviceFourier::Constants DeviceFourier::make_constants(const at::Tensor& maps, const at::Tensor& mask, at::Device device) {
  const std::int64_t height = mask.size(0), width = mask.size(1);
  const double root_n = std::sqrt(static_cast<double>(height * width));
  const SpectralFilter filter(mask, false);
  const at::Tensor ramp = image_ramp(height, width).unsqueeze(0);
  const at::Tensor image_weights = maps.defined() ? maps * ramp : ramp;
  const at::Tensor kspace_weights = at::where(mask, kspace_ramp(height, width) / root_n, 0);
  const auto there = [&](const at::Tensor& constant) { return constant.resolve_conj().contiguous().to(device); };
  Constants constants;
  constants.image_weights = there(image_weights);
  constants.conj_image_weights = there(image_weights.conj());
  constants.kspace_weights = there(kspace_weights);
  constants.conj_kspace_weights = there(kspace_weights.conj());
  if (maps.defined()) {
    constants.maps = there(filter.to_working(maps));
    constants.conj_maps = there(filter.to_working(maps).conj());
  }
  constants.mask = there(filter.mask());
  constants.projection = there(filter.weights(1.0, 0.0).to(at::kComplexFloat));
  for (const std::int64_t axis : filter.axes()) constants.axes.push_back(axis + kRowAxis);
  constants.n_frequencies = filter.n_frequencies();
  constants.is_transposed = filter.is_transposed();
  return constants;
}

at::Tensor DeviceFourier::forward(const at::Tensor& images) const {
  const at::NoGradGuard no_graph;
  const Constants& constants = constants_.on(images.device());
  return unscaled_dft(images * constants.image_weights, {kRowAxis, kRowAxis + 1}, true).mul_(constants.kspace_weights);
}

at::Tensor DeviceFourier::adjoint(const at::Tensor& kspace) const {
  const at::NoGradGuard no_graph;
  const Constants& constants = constants_.on(kspace.device());
  return combined(unscaled_dft(kspace * constants.conj_kspace_weights, {kRowAxis, kRowAxis + 1}, false), constants.conj_image_weights);
}

at::Tensor DeviceFourier::normal(const at::Tensor& images) const {
  const at::NoGradGuard no_graph;
  const Constants& constants = constants_.on(images.device());
  const auto project = [&](const at::Tensor& working) {
    if (!has_maps_) return filtered(working, constants.projection, constants);
    return combined(filtered(working * constants.maps, constants.projection, constants), constants.conj_maps);
  };
  if (!constants.is_transposed) return project(images);
  return project(images.transpose(-2, -1).contiguous()).transpose(-2, -1).contiguous();
}

at::Tensor DeviceFourier::normal_solve(double lambda, const at::Tensor& images) const {
  const at::NoGradGuard no_graph;
  const Constants& constants = constants_.on(images.device());
  const double acquired = 1.0 / (1.0 + lambda) / constants.n_frequencies, missing = 1.0 / lambda / constants.n_frequencies;
  const at::Tensor weights = at::full(constants.mask.sizes(), missing, constants.projection.options()).masked_fill_(constants.mask, acquired);
  if (!constants.is_transposed) return filtered(images, weights, constants);
  return filtered(images.transpose(-2, -1).contiguous(), weights, constants).transpose(-2, -1).contiguous();
}

/// F^H diag(weights) F image, both in the working layout.
at::Tensor DeviceFourier::filtered(at::Tensor images, const at::Tensor& weights, const Constants& constants) {
  if (constants.axes.empty()) return images * weights;
  images = unscaled_dft(images, constants.axes, true).mul_(weights);  // what came in is free before the next one is made
  return unscaled_dft(images, constants.axes, false);
}

}  // namespace postrec
