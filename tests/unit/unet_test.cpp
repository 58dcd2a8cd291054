#include "postrec/unet.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "expect_error.hpp"
#include "postrec/random.hpp"

namespace postrec::test {
namespace {

UNetConfig small() {
  UNetConfig config;
  config.in_channels = 2;
  config.out_channels = 1;
  config.widths = {16, 16, 32};
  config.blocks = {1, 1, 1};
  config.embedding = 16;
  return config;
}

std::vector<UNetConfig> variants() {
  std::vector<UNetConfig> all(5, small());
  all[1].group_norm = true;
  all[2].attention = true;
  all[3].unshuffle = 2;
  all[4].unshuffle = 4;
  all[4].group_norm = all[4].attention = true;
  return all;
}

/// Weights of a network that has learned something: none is zero.
Weights busy_weights(const UNetConfig& config) {
  Weights weights = UNet::initial_weights(config, 3);
  std::uint64_t draw = 1000;
  for (auto& [name, weight] : weights) weight = weight + 0.05 * RandomStreams(4, 0, 1).normal(draw++, weight.sizes().vec(), at::kFloat).squeeze(0);
  return weights;
}

at::Tensor input(std::int64_t batch, std::int64_t height, std::int64_t width) { return RandomStreams(5, 0, batch).normal(0, {2, height, width}, at::kFloat); }
at::Tensor levels(std::int64_t batch) { return at::linspace(-1.0, 0.5, batch, at::kFloat); }

TEST(UNet, AnyImageSizeKeepsItsShape) {
  for (const UNetConfig& config : variants()) {
    const UNet network(config, busy_weights(config));
    for (const auto& [height, width] : {std::pair{32, 32}, {17, 23}, {1, 1}, {3, 40}, {16, 9}}) {
      const at::Tensor y = network.forward(input(2, height, width), levels(2));
      EXPECT_EQ(y.sizes(), at::IntArrayRef({2, 1, height, width}));
      EXPECT_TRUE(at::isfinite(y).all().item<bool>()) << height << "x" << width;
      EXPECT_GT(y.abs().max().item<double>(), 0.0);
    }
  }
}

TEST(UNet, ABatchIsItsSingles) {
  for (const UNetConfig& config : variants()) {
    const UNet network(config, busy_weights(config));
    const at::Tensor x = input(3, 19, 14), c = levels(3), together = network.forward(x, c);
    for (std::int64_t b = 0; b < 3; ++b)
      // Convolutions may be summed in another order for another batch: float32 rounding over a few hundred terms, values of order 1.
      EXPECT_TRUE(at::allclose(network.forward(x.slice(0, b, b + 1), c.slice(0, b, b + 1)), together.slice(0, b, b + 1), 1e-4, 1e-5));
    EXPECT_FALSE(at::allclose(network.forward(x, c + 0.3), together, 1e-3, 1e-3)) << "the noise level makes no difference";
  }
}

at::Tensor without_graph(const UNet& network, const at::Tensor& x, const at::Tensor& c_noise) {
  const at::NoGradGuard no_grad;
  return network.forward(x, c_noise);
}

/// With weights that take gradients, a network goes through ATen's operations one by one.
UNet layer_by_layer(const UNetConfig& config) {
  Weights weights = busy_weights(config);
  for (auto& [name, weight] : weights) weight.set_requires_grad(true);
  return UNet(config, weights);
}

std::vector<UNetConfig> prepared_and_not() {
  std::vector<UNetConfig> all = variants();
  all.push_back(small());
  all.back().widths = {48, 16, 32, 16};  // as many panels as not, deeper than wide, several blocks a level
  all.back().blocks = {2, 1, 3, 2};
  all.push_back(small());
  all.back().widths = {12, 20, 28};      // widths that the prepared kernels do not take
  all.push_back(small());
  all.back().widths = {32};
  all.back().blocks = {2};
  return all;
}

double distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>() / b.abs().max().item<double>(); }

constexpr std::pair<int, int> kSizes[] = {{32, 48}, {17, 23}, {1, 1}, {3, 40}};

TEST(UNet, FixedWeightsComputeWhatTheLayersDo) {
  for (const UNetConfig& config : prepared_and_not()) {
    const UNet network(config, busy_weights(config)), layers = layer_by_layer(config);
    for (const auto& [height, width] : kSizes) {
      const at::Tensor x = input(3, height, width), c = levels(3), expected = layers.forward(x, c).detach();
      // Float32 rounding, summed in another order: sums of a few hundred terms, some twenty layers deep.
      EXPECT_LT(distance(without_graph(network, x, c), expected), 1e-5) << height << "x" << width;
      EXPECT_LT(distance(network.forward(x, c), expected), 1e-5) << "where a graph is allowed; " << height << "x" << width;
    }
  }
}

struct Derivative {
  at::Tensor y, product;
};

/// The network's answer about x and the adjoint of its derivative there, applied to v; taken twice, for whoever asks again.
Derivative derivative(const UNet& network, const at::Tensor& image, const at::Tensor& c, const at::Tensor& v) {
  const at::Tensor x = image.detach().clone().requires_grad_(true), y = network.forward(x, c);
  torch::autograd::grad({y}, {x}, {v * 3.0}, /*retain_graph=*/true);
  return {y.detach(), torch::autograd::grad({y}, {x}, {v})[0]};
}

TEST(UNet, FixedWeightsHaveTheDerivativeOfTheLayers) {
  for (const UNetConfig& config : prepared_and_not()) {
    const UNet network(config, busy_weights(config)), layers = layer_by_layer(config);
    for (const auto& [height, width] : kSizes) {
      const at::Tensor x = input(3, height, width), c = levels(3), v = RandomStreams(6, 0, 3).normal(0, {1, height, width}, at::kFloat);
      const Derivative found = derivative(network, x, c, v), expected = derivative(layers, x, c, v);
      // As above, and as deep again on the way back.
      EXPECT_LT(distance(found.y, expected.y), 1e-5) << height << "x" << width;
      EXPECT_LT(distance(found.product, expected.product), 2e-5) << height << "x" << width;
    }
  }
}

// A batch is NetworkPrior's concern: it takes the images one by one, since products of matrices of other sizes are summed in another order.
TEST(UNet, FixedWeightsGiveTheSameBitsForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  const UNet network(small(), busy_weights(small()));
  const at::Tensor x = input(3, 33, 50), c = levels(3), v = RandomStreams(6, 0, 3).normal(0, {1, 33, 50}, at::kFloat);
  at::set_num_threads(1);
  const Derivative alone = derivative(network, x, c, v);
  for (const int threads : {1, 2, 3, 5}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(without_graph(network, x, c).equal(alone.y)) << threads;
    const Derivative found = derivative(network, x, c, v);
    EXPECT_TRUE(found.y.equal(alone.y)) << threads;
    EXPECT_TRUE(found.product.equal(alone.product)) << threads;
  }
  at::set_num_threads(before);
}

TEST(UNet, ANewNetworkAnswersZero) {
  for (const UNetConfig& config : variants()) {
    const UNet network(config, UNet::initial_weights(config, 1));
    EXPECT_EQ(network.forward(input(2, 13, 21), levels(2)).abs().max().item<float>(), 0.0f);
  }
}

TEST(UNet, GradientsReachEveryWeight) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);  // so small a network waits for other threads longer than it computes
  for (const UNetConfig& config : variants()) {
    Weights weights = busy_weights(config);
    for (auto& [name, weight] : weights) weight.set_requires_grad(true);
    UNet(config, weights).forward(input(2, 16, 16), levels(2)).square().sum().backward();
    for (const auto& [name, weight] : weights) {
      ASSERT_TRUE(weight.grad().defined()) << name;
      EXPECT_GT(weight.grad().abs().max().item<double>(), 0.0) << name;
    }
  }
  at::set_num_threads(threads);
}

TEST(UNet, InitialWeightsAreHeNormal) {
  const Weights weights = UNet::initial_weights(small(), 1), again = UNet::initial_weights(small(), 1), other = UNet::initial_weights(small(), 2);
  const at::Tensor& kernel = weights.at("down2.block0.conv1.weight");
  ASSERT_EQ(kernel.sizes(), at::IntArrayRef({32, 32, 3, 3}));
  EXPECT_TRUE(kernel.equal(again.at("down2.block0.conv1.weight")));
  EXPECT_FALSE(kernel.equal(other.at("down2.block0.conv1.weight")));
  // 9216 numbers: their standard deviation is known to .7 %; 5 of these are a false-alarm rate of 6e-7.
  EXPECT_NEAR(kernel.std().item<double>() / std::sqrt(2.0 / (32 * 9)), 1.0, 0.037);
}

TEST(UNet, ACoarseCellSeesFarAndAFineOneNear) {
  // An impulse far from a pixel changes it through the coarse level: 3 levels of 3x3 kernels reach at least 12 pixels.
  const UNetConfig config = small();
  const UNet network(config, busy_weights(config));
  const at::Tensor x = at::zeros({1, 2, 32, 32}), c = levels(1);
  at::Tensor touched = x.clone();
  touched[0][0][16][16] = 5.0;
  const at::Tensor change = (network.forward(touched, c) - network.forward(x, c)).abs();
  EXPECT_GT(change[0][0][16][28].item<double>(), 0.0);
  EXPECT_GT(change[0][0][16][16].item<double>(), change[0][0][16][28].item<double>());
}

TEST(UNet, RefusesWhatMakesNoNetwork) {
  const auto refused = [](auto change) {
    UNetConfig config = small();
    change(config);
    expect_error(ErrorKind::kBadData, "", [&] { config.validate(); });
  };
  refused([](UNetConfig& c) { c.widths.clear(); });
  refused([](UNetConfig& c) { c.blocks = {1, 1}; });
  refused([](UNetConfig& c) { c.unshuffle = 3; });
  refused([](UNetConfig& c) { c.group_norm = true, c.widths = {16, 17, 32}; });
  refused([](UNetConfig& c) { c.widths = {16, -16, 32}; });
  Weights weights = busy_weights(small());
  weights.erase("input.bias");
  expect_error(ErrorKind::kBadData, "input.bias", [&] { UNet(small(), weights); });
  weights = busy_weights(small());
  weights["more"] = at::zeros({1});
  expect_error(ErrorKind::kBadData, "tensors", [&] { UNet(small(), weights); });
  weights = busy_weights(small());
  weights["input.bias"] = at::zeros({17});
  expect_error(ErrorKind::kBadData, "input.bias", [&] { UNet(small(), weights); });
}

}  // namespace
}  // namespace postrec::test
