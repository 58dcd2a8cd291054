#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>

#include "beds.hpp"
#include "exact_conditional.hpp"
#include "expect_error.hpp"
#include "postrec/conditional_denoiser.hpp"
#include "postrec/random.hpp"

namespace postrec::test {
namespace {

GaussianPrior complex_gaussian(float mean) {
  return GaussianPrior(SpectralBasis::kDft, lorentzian_spectrum(8, 0.25), at::full({1}, mean), 0.0, {});
}

UNetConfig small_config(std::int64_t conditions) {
  UNetConfig config;
  config.widths = {16, 16};
  config.blocks = {1, 1};
  config.embedding = 16;
  config.conditions = conditions;
  return DenoisingNetwork::config_for(complex_gaussian(0.0f), config);
}

/// Weights with no layer at 0.
Weights shaken_weights(std::int64_t conditions) {
  Weights weights = UNet::initial_weights(small_config(conditions), 3);
  std::int64_t i = 0;
  for (auto& [name, value] : weights) value = value + 0.1 * RandomStreams(4, i++, 1).normal(0, value.sizes().vec(), at::kFloat).squeeze(0);
  return weights;
}

DenoisingNetwork new_network(std::int64_t conditions) {
  return DenoisingNetwork(complex_gaussian(0.3f), UNet(small_config(conditions), UNet::initial_weights(small_config(conditions), 3)));
}

DenoisingNetwork shaken_network() {
  return DenoisingNetwork(complex_gaussian(0.3f), UNet(small_config(SpectralNoise::kSummarySize), shaken_weights(SpectralNoise::kSummarySize)));
}

std::shared_ptr<Operator> masked_fourier() {
  at::Tensor mask = at::zeros({8, 8});
  mask[0].fill_(1.0);
  mask[3].fill_(1.0);
  mask[6][5].fill_(1.0);
  return std::make_shared<CoilOperator>(at::ones({1, 8, 8}, at::kComplexFloat), mask);
}

at::Tensor images(std::int64_t batch, std::int64_t rows = 8, std::int64_t columns = 8) {
  return RandomStreams(8, 0, batch).normal(0, {1, rows, columns}, at::kComplexFloat);
}

double distance(const at::Tensor& a, const at::Tensor& b) { return (as_real_rows(a) - as_real_rows(b)).abs().max().item<double>(); }

// A new network answers 0, so that what is left is exact for the Gaussian.
TEST(ConditionalDenoiser, IsThePosteriorMeanOfAGaussian) {
  const auto op = masked_fourier();
  const MixturePrior prior(SpectralBasis::kDft, {{1.0, at::full({1, 8, 8}, 0.3).to(at::kComplexFloat), lorentzian_spectrum(8, 0.25)}}, {});
  const at::Tensor y = op->forward(images(1)), x_t = 1.5 * images(2);
  for (const auto& [sigma, sigma_y] : {std::pair{0.4, 0.1}, {2.0, 0.05}, {0.1, 0.5}}) {
    const ConditionalDenoiser denoiser(new_network(SpectralNoise::kSummarySize), GaussianLikelihood(op, y[0], sigma_y));
    const at::Tensor exact = exact_conditional_mean(prior, op, x_t, sigma, y.expand({2, 1, 8, 8}), sigma_y);
    // The dense side takes A in single precision over sigma_y: 1e-7 times a condition number of a few hundred.
    EXPECT_LT((as_real_rows(denoiser.denoise(x_t, sigma)) - exact).abs().max().item<double>(), 1e-4) << sigma;
  }
}

// Also on images of another size than the spectrum's table.
TEST(DenoisingNetwork, WhiteSpectrumIsWhiteNoise) {
  const DenoisingNetwork network = shaken_network();
  for (const auto& [rows, columns] : {std::pair{8, 8}, {12, 10}})
    for (const double sigma : {0.05, 0.8, 6.0}) {
      const at::Tensor x_t = (1.0 + sigma) * images(2, rows, columns);
      const at::Tensor expected = network.denoise(x_t, at::full({1}, sigma, at::kFloat));
      const SpectralNoise noise(SpectralBasis::kDft, at::full({1, 1, rows, columns}, sigma * sigma, at::kFloat));
      EXPECT_LT(distance(network.denoise(x_t, noise), expected), 1e-5 * (1.0 + sigma)) << sigma;  // rounding of the level and its logarithm
    }
}

TEST(DenoisingNetwork, OutputScaleIsTheErrorOfTheLinearPart) {
  const DenoisingNetwork network = new_network(SpectralNoise::kSummarySize);
  const at::Tensor v = RandomStreams(9, 0, 3).normal(0, {1, 8, 8}, at::kFloat).exp(), s = lorentzian_spectrum(8, 0.25);
  const at::Tensor expected = (s * v / (s + v)).mean({1, 2, 3}).sqrt();
  EXPECT_LT((network.output_scale(SpectralNoise(SpectralBasis::kDft, v)) / expected - 1.0).abs().max().item<double>(), 1e-5);
}

TEST(DenoisingNetwork, TheSpectrumIsHeard) {
  const DenoisingNetwork network = shaken_network();
  const at::Tensor z = images(1);
  at::Tensor v = at::ones({1, 1, 8, 8});
  v[0][0][4].fill_(1e-2);
  Weights deaf = shaken_weights(SpectralNoise::kSummarySize);
  deaf.at("embedding_condition.weight") = at::zeros_like(deaf.at("embedding_condition.weight"));
  const DenoisingNetwork other(complex_gaussian(0.3f), UNet(small_config(SpectralNoise::kSummarySize), deaf));
  const SpectralNoise noise(SpectralBasis::kDft, v);
  EXPECT_GT(distance(network.denoise(z, noise), other.denoise(z, noise)), 1e-4);
}

TEST(UNet, ConditionsLeaveTheOtherWeightsAlone) {
  Weights with = UNet::initial_weights(small_config(SpectralNoise::kSummarySize), 11);
  const Weights without = UNet::initial_weights(small_config(0), 11);
  EXPECT_EQ(with.at("embedding_condition.weight").abs().max().item<double>(), 0.0);
  with.erase("embedding_condition.weight");
  ASSERT_EQ(with.size(), without.size());
  for (const auto& [name, value] : without) EXPECT_TRUE(value.equal(with.at(name))) << name;
}

TEST(ConditionalDenoiser, IsDifferentiableInTheImage) {
  const auto op = masked_fourier();
  const ConditionalDenoiser denoiser(shaken_network(), GaussianLikelihood(op, op->forward(images(1))[0], 0.1));
  const at::Tensor x = images(1).detach(), direction = RandomStreams(10, 0, 1).normal(0, {1, 8, 8}, at::kComplexFloat);
  const at::Tensor x_t = x.clone().set_requires_grad(true);
  const at::Tensor weights = RandomStreams(11, 0, 1).normal(0, {1, 8, 8}, at::kComplexFloat);
  const auto scalar = [&](const at::Tensor& image) { return (at::view_as_real(denoiser.denoise(image, 0.5)) * at::view_as_real(weights)).sum(); };
  scalar(x_t).backward();
  const double slope = (at::view_as_real(x_t.grad()) * at::view_as_real(direction)).sum().item<double>();
  constexpr double kStep = 1e-2;
  const double difference = (scalar(x + kStep * direction) - scalar(x - kStep * direction)).item<double>() / (2.0 * kStep);
  EXPECT_NEAR(slope, difference, 2e-3 * std::abs(slope) + 1e-3);  // a central difference in single precision
  EXPECT_FALSE(denoiser.denoise(x, 0.5).requires_grad());
}

TEST(ConditionalDenoiser, RefusesANetworkOfWhiteNoise) {
  const auto op = masked_fourier();
  const GaussianLikelihood likelihood(op, op->forward(images(1))[0], 0.1);
  expect_error(ErrorKind::kConfiguration, "white noise", [&] { ConditionalDenoiser(new_network(0), likelihood); });
  expect_error(ErrorKind::kBadData, "conditions", [] { new_network(7); });
}

}  // namespace
}  // namespace postrec::test
