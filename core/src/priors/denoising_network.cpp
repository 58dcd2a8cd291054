#include "postrec/denoising_network.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "../batched_vectors.hpp"
#include "../spectral_transform.hpp"
#include "learned_prior.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

std::int64_t real_channels(const GaussianPrior& gaussian) {
  return gaussian.spectrum().size(0) * (gaussian.basis() == SpectralBasis::kDft ? 2 : 1);
}

at::Tensor per_image(const at::Tensor& values) { return values.view({-1, 1, 1, 1}); }

}  // namespace

DenoisingNetwork::DenoisingNetwork(GaussianPrior gaussian, UNet network)
    : gaussian_(std::move(gaussian)), network_(std::move(network)), data_variance_(gaussian_.spectrum().mean(at::kDouble).item<double>()) {
  const std::int64_t channels = real_channels(gaussian_);
  if (network_.config().in_channels != 2 * channels || network_.config().out_channels != channels)
    throw Error(ErrorKind::kBadData, "the network has " + std::to_string(network_.config().out_channels) + " channels, its Gaussian part " + std::to_string(channels),
                "train the prior again");
  const std::int64_t conditions = network_.config().conditions;
  if (conditions != 0 && conditions != SpectralNoise::kSummarySize)
    throw Error(ErrorKind::kBadData, "the network takes " + std::to_string(conditions) + " conditions, this program gives " + std::to_string(SpectralNoise::kSummarySize),
                "train the prior again");
}

UNetConfig DenoisingNetwork::config_for(const GaussianPrior& gaussian, UNetConfig config) {
  config.out_channels = real_channels(gaussian);
  config.in_channels = 2 * config.out_channels;
  return config;
}

at::Tensor DenoisingNetwork::output_scale(const at::Tensor& sigma) const {
  const at::Tensor s = gaussian_.on(sigma.device()).spectrum.flatten(0, 1), variance = sigma.square().view({-1, 1, 1});
  // Row by row: the sum of a long line would be cut into one part a thread.
  return (s * variance / (s + variance)).mean(2).mean(1).sqrt();
}

// Relative to white noise of the same level on the same frequencies, so that white noise gives what it gave on the table's.
at::Tensor DenoisingNetwork::output_scale(const SpectralNoise& noise) const {
  const at::Tensor v = noise.natural_variance(), white = per_image(noise.level().square()).expand_as(v);
  const at::Tensor s = gaussian_.natural_spectrum_for(v.sizes().slice(1).vec(), v.device()).expand_as(v);
  const at::Tensor ones = at::ones_like(v);
  const at::Tensor ratios = (batched_dot(s * v / (s + v), ones) / batched_dot(s * white / (s + white), ones)).sqrt();
  return output_scale(noise.level()) * ratios.to(at::kFloat);
}

at::Tensor DenoisingNetwork::linear_part(const at::Tensor& centred, const at::Tensor& variance) const {
  const c10::impl::ExcludeDispatchKeyGuard in_full_precision(c10::autocast_dispatch_keyset);  // mixed precision is for the network
  const SpectralBasis basis = gaussian_.basis();
  const at::Tensor s = gaussian_.natural_spectrum_for(centred.sizes().slice(1).vec(), centred.device());
  return from_natural_basis(basis, to_natural_basis(basis, centred) * (s / (s + variance)));
}

at::Tensor DenoisingNetwork::denoise(const at::Tensor& x_t, const at::Tensor& sigma) const {
  const std::int64_t conditions = network_.config().conditions;
  const at::Tensor nothing_to_tell = conditions > 0 ? at::zeros({1, conditions}, sigma.options()) : at::Tensor();  // zeros, so that training finds a gradient
  return denoise(x_t, Noise{per_image(sigma.square()), sigma, output_scale(sigma), nothing_to_tell});
}

at::Tensor DenoisingNetwork::denoise(const at::Tensor& z, const SpectralNoise& noise) const {
  if (noise.basis() != gaussian_.basis() || noise.variance().sizes().slice(1) != z.sizes().slice(1))
    throw Error(ErrorKind::kInternal, "a noise spectrum of another basis or shape than the images", "make it for these images");
  const bool is_told = network_.config().conditions > 0;
  return denoise(z, Noise{noise.natural_variance(), noise.level(), output_scale(noise), is_told ? noise.summary() : at::Tensor()});
}

at::Tensor DenoisingNetwork::denoise(const at::Tensor& x_t, const Noise& noise) const {
  const at::Tensor mean = gaussian_.on(x_t.device()).mean.view({-1, 1, 1});
  const at::Tensor centred = x_t - mean;
  const at::Tensor linear = linear_part(centred, noise.variance);
  const at::Tensor c_in = (noise.level.square() + data_variance_).rsqrt();
  const at::Tensor input = at::cat({to_channels(centred) * per_image(c_in), to_channels(linear) / std::sqrt(data_variance_)}, 1);
  const at::Tensor answer = network_.forward(input, (noise.level.log() / 4.0).expand({x_t.size(0)}), noise.summary);
  return linear + from_channels(answer * per_image(noise.output_scale), x_t.is_complex()) + mean;
}

}  // namespace postrec
