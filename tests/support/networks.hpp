#pragma once

#include <ATen/ATen.h>

#include <utility>

#include "postrec/network_prior.hpp"
#include "postrec/random.hpp"

namespace postrec::test {

/// A network of this architecture with every weight random and none zero: as after training, its answer is not 0.
inline UNet random_network(const UNetConfig& config, std::uint64_t seed = 3) {
  Weights weights = UNet::initial_weights(config, seed);
  std::uint64_t draw = 1000;
  for (auto& [name, weight] : weights)
    weight = weight + 0.05 * RandomStreams(seed, 1, 1).normal(draw++, weight.sizes().vec(), at::kFloat).squeeze(0);
  return UNet(config, std::move(weights));
}

/// A learned prior for images of `channels` channels, complex in the DFT's basis, that nobody has trained.
inline NetworkPrior network_prior(SpectralBasis basis, std::int64_t channels, UNetConfig config, std::int64_t table_size) {
  const PriorInfo info{"a network", "CC0", "nothing", PriorIntensity::kUnit, "", "", "none: random weights"};
  const at::Tensor spectrum = RandomStreams(1, 0, channels).uniform(0, {table_size, table_size}) + 0.1;
  const GaussianPrior gaussian(basis, spectrum, at::full({channels}, 0.25f), 0.0, info);
  const ErrorEnvelope envelope(at::tensor({0.1f, 0.5f, 2.0f}), RandomStreams(4, 0, 3).uniform(0, {3}) + 0.5);
  const DenoiserCorrection correction(basis, at::tensor({0.0f, 0.05f, 0.2f, 0.7f}), RandomStreams(5, 0, 3).uniform(0, {channels, 4}));
  const ErrorTable errors(basis, {0.1f, 1.0f, 5.0f}, RandomStreams(2, 0, 3).uniform(0, {channels, 4, 4}) + 0.1, envelope, correction);
  return NetworkPrior(DenoisingNetwork(gaussian, random_network(DenoisingNetwork::config_for(gaussian, std::move(config)))), errors, {0.01, 20.0}, info);
}

inline NetworkPrior small_network_prior(SpectralBasis basis, std::int64_t channels) {
  UNetConfig config;
  config.widths = {8, 16};
  config.blocks = {1, 1};
  config.embedding = 16;
  return network_prior(basis, channels, config, 8);
}

}  // namespace postrec::test
