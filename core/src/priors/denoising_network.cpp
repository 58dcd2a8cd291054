#include "postrec/denoising_network.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "postrec/error.hpp"
#include "../spectral_transform.hpp"

namespace postrec {
namespace {

std::int64_t real_channels(const GaussianPrior& gaussian) {
  return gaussian.spectrum().size(0) * (gaussian.basis() == SpectralBasis::kDft ? 2 : 1);
}

/// [B, C, H, W] complex -> [B, 2C, H, W]; a real image as it is.
at::Tensor to_channels(const at::Tensor& x) {
  return x.is_complex() ? at::view_as_real(x).permute({0, 1, 4, 2, 3}).flatten(1, 2) : x;
}

at::Tensor from_channels(const at::Tensor& x, bool is_complex) {
  return is_complex ? at::view_as_complex(x.unflatten(1, {-1, 2}).permute({0, 1, 3, 4, 2}).contiguous()) : x;
}

at::Tensor per_image(const at::Tensor& values) { return values.view({-1, 1, 1, 1}); }

}  // namespace

DenoisingNetwork::DenoisingNetwork(GaussianPrior gaussian, UNet network)
    : gaussian_(std::move(gaussian)), network_(std::move(network)), flat_spectrum_(gaussian_.spectrum().flatten()),
      data_variance_(flat_spectrum_.mean(at::kDouble).item<double>()) {
  const std::int64_t channels = real_channels(gaussian_);
  if (network_.config().in_channels != 2 * channels || network_.config().out_channels != channels)
    throw Error(ErrorKind::kBadData, "the network has " + std::to_string(network_.config().out_channels) + " channels, its Gaussian part " + std::to_string(channels),
                "train the prior again");
}

UNetConfig DenoisingNetwork::config_for(const GaussianPrior& gaussian, UNetConfig config) {
  config.out_channels = real_channels(gaussian);
  config.in_channels = 2 * config.out_channels;
  return config;
}

at::Tensor DenoisingNetwork::output_scale(const at::Tensor& sigma) const {
  const at::Tensor s = flat_spectrum_.to(sigma.device()).unsqueeze(0), variance = sigma.square().unsqueeze(1);
  return (s * variance / (s + variance)).mean(1).sqrt();
}

at::Tensor DenoisingNetwork::linear_part(const at::Tensor& centred, const at::Tensor& sigma) const {
  const SpectralBasis basis = gaussian_.basis();
  const at::Tensor s = to_natural_order(basis, gaussian_.spectrum_for(centred.sizes().slice(1).vec()).to(centred.device()));
  return from_natural_basis(basis, to_natural_basis(basis, centred) * (s / (s + per_image(sigma.square()))));
}

at::Tensor DenoisingNetwork::denoise(const at::Tensor& x_t, const at::Tensor& sigma) const {
  const at::Tensor mean = gaussian_.mean().to(x_t.device()).view({-1, 1, 1});
  const at::Tensor centred = x_t - mean;
  const at::Tensor linear = linear_part(centred, sigma);
  const at::Tensor c_in = (sigma.square() + data_variance_).rsqrt();
  const at::Tensor input = at::cat({to_channels(centred) * per_image(c_in), to_channels(linear) / std::sqrt(data_variance_)}, 1);
  const at::Tensor answer = network_.forward(input, (sigma.log() / 4.0).expand({x_t.size(0)}));
  return linear + from_channels(answer * per_image(output_scale(sigma)), x_t.is_complex()) + mean;
}

}  // namespace postrec
