#include "case/volume_scale.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace postrec {
namespace {

// Below 1, so that slices about as bright as the volume keep the scale that they would have alone.
constexpr double kLeastShare = 0.9;
constexpr std::int64_t kSlicesOfVolume = 8;    // that are reconstructed directly, to see how bright the volume is

}  // namespace

std::vector<std::int64_t> slices_across(std::int64_t n_slices, std::int64_t at_most) {
  const std::int64_t n = std::min(n_slices, at_most);
  std::vector<std::int64_t> slices(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) slices[static_cast<std::size_t>(i)] = (2 * i + 1) * n_slices / (2 * n);
  return slices;
}

at::Tensor direct_reconstruction(const Operator& op, const at::Tensor& y) {
  const at::Tensor batch = y.unsqueeze(0);
  if (op.traits().pseudo_inverse != PseudoInverseKind::kNone) return op.pseudo_inverse(batch).squeeze(0);
  // The adjoint is brighter than the image by about the square of the norm of A: one step of steepest descent on |A x - y|^2 from x = 0.
  const at::Tensor image = op.adjoint(batch), seen = op.forward(image);
  const double length = seen.abs().square().sum(at::kDouble).item<double>();
  return (length > 0.0 ? image * (image.abs().square().sum(at::kDouble).item<double>() / length) : image).squeeze(0);
}

at::Tensor coil_magnitude(const at::Tensor& y) {
  // A transform that is not centred differs by a shift and by phases.
  const at::Tensor images = at::fft_ifft2(y, c10::nullopt, {-2, -1}, "ortho");
  return images.abs().square().sum(0).sqrt();
}

double volume_intensity(std::int64_t n_slices, const std::function<at::Tensor(std::int64_t slice)>& direct) {
  if (n_slices < 2) return 0.0;
  std::vector<at::Tensor> images;
  for (const auto slice : slices_across(n_slices, kSlicesOfVolume)) images.push_back(direct(slice));
  return magnitude_percentile(at::stack(images));
}

IntensityScale scale_of(const Measurement& measurement, const Prior& prior, const at::Tensor& direct, double of_volume) {
  const PriorIntensity intensity = prior.info().intensity;
  if (intensity == PriorIntensity::kPercentile) {
    const double least = of_volume > 0.0 ? kLeastShare * of_volume : direct.abs().max().item<double>() == 0.0 ? measurement.sigma_y : 0.0;
    if (magnitude_percentile(direct) < least) return IntensityScale::make(measurement.unit, intensity, at::full({1}, least, at::kFloat));
  }
  return IntensityScale::make(measurement.unit, intensity, direct);
}

}  // namespace postrec
