#include "postrec/network_precision.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "networks.hpp"
#include "postrec/network_prior.hpp"
#include "postrec/random.hpp"
#include "pretend_device.hpp"

namespace postrec::test {
namespace {

constexpr NetworkPrecision kAll[] = {NetworkPrecision::kFloat32, NetworkPrecision::kTf32, NetworkPrecision::kBfloat16};

float one_rounded(double x, NetworkPrecision precision) { return rounded(at::tensor({static_cast<float>(x)}), precision).item<float>(); }

at::Tensor noisy(std::int64_t n, const std::vector<std::int64_t>& shape, at::ScalarType dtype) { return RandomStreams(9, 0, n).normal(0, shape, dtype); }

/// A network that a precision makes a difference to, with every part that one may have.
NetworkPrior busy_prior(bool extras = true) {
  UNetConfig config;
  config.widths = {16, 32};
  config.blocks = {1, 1};
  config.embedding = 16;
  config.group_norm = config.attention = extras;
  return network_prior(SpectralBasis::kDft, 1, config, 8);
}

double relative_distance(const at::Tensor& a, const at::Tensor& b) { return ((a - b).abs().max() / b.abs().max()).item<double>(); }

// Numbers with `bits` after the point of a significand 1.xxx: the last place at 1 is 2^-bits.
TEST(NetworkPrecision, RoundsToTheNearestTiesToEven) {
  for (const auto& [precision, bits] : {std::pair{NetworkPrecision::kTf32, 10}, {NetworkPrecision::kBfloat16, 7}}) {
    const double place = std::ldexp(1.0, -bits);
    for (const double sign : {1.0, -1.0})
      for (const double scale : {1.0, std::ldexp(1.0, 40), std::ldexp(1.0, -126)}) {  // the last is the smallest normal number
        const auto nearest = [&](double x) { return one_rounded(sign * scale * x, precision) / (sign * scale); };
        EXPECT_EQ(nearest(1.0 + 3 * place), 1.0 + 3 * place) << precision_name(precision);
        EXPECT_EQ(nearest(1.0 + 0.5 * place), 1.0);                       // ties: to the even neighbour, down ...
        EXPECT_EQ(nearest(1.0 + 1.5 * place), 1.0 + 2 * place);           // ... and up
        EXPECT_EQ(nearest(1.0 + 0.499 * place), 1.0);
        EXPECT_EQ(nearest(1.0 + 0.501 * place), 1.0 + place);
        EXPECT_EQ(nearest(2.0 - 0.5 * place), 2.0);                       // the sum carries into the exponent
      }
    // Below the normal numbers the places no longer shrink: 2^-126 - bits.
    const double smallest = std::ldexp(1.0, -126 - bits);
    EXPECT_EQ(one_rounded(3.4 * smallest, precision), 3 * smallest);
    EXPECT_EQ(one_rounded(-0.5 * smallest, precision), 0.0);
    EXPECT_TRUE(std::signbit(one_rounded(-0.5 * smallest, precision)));
    EXPECT_EQ(one_rounded(1.5 * smallest, precision), 2 * smallest);
    const double infinity = std::numeric_limits<double>::infinity();
    EXPECT_EQ(one_rounded(-infinity, precision), -infinity);
    EXPECT_EQ(one_rounded(std::numeric_limits<float>::max(), precision), infinity);
    EXPECT_EQ(one_rounded(std::ldexp(2.0 - place, 127), precision), std::ldexp(2.0 - place, 127));
    EXPECT_TRUE(std::isnan(one_rounded(std::nan(""), precision)));
    EXPECT_TRUE(std::isnan(rounded(at::full({1}, -1, at::kInt).view(at::kFloat), precision).item<float>()));  // all bits set
  }
  EXPECT_EQ(one_rounded(0.1, NetworkPrecision::kFloat32), 0.1f);
}

TEST(NetworkPrecision, RoundingKeepsOrderAndGradient) {
  const at::Tensor x = noisy(2, {3, 5, 7}, at::kFloat), last = x.contiguous(at::MemoryFormat::ChannelsLast);
  for (const NetworkPrecision precision : {NetworkPrecision::kTf32, NetworkPrecision::kBfloat16}) {
    const at::Tensor nearest = rounded(x, precision);
    EXPECT_TRUE(rounded(last, precision).is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(rounded(last, precision).equal(nearest));
    EXPECT_TRUE(rounded(x.transpose(1, 3).narrow(2, 1, 2), precision).equal(nearest.transpose(1, 3).narrow(2, 1, 2)));
    at::Tensor leaf = x.clone();
    leaf.set_requires_grad(true);
    const at::Tensor through = rounded(leaf, precision);
    EXPECT_TRUE(through.detach().equal(nearest));
    (through * 3.0).sum().backward();
    EXPECT_TRUE(leaf.grad().eq(3.0).all().item<bool>());
  }
}

// What bfloat16 is in LibTorch: a convolution of bfloat16 numbers is the float32 one of the rounded factors, rounded. Both sum in float32, in another order: where a sum
// falls between two numbers they may choose differently, by one place, 2^-7 of the value, in few of the pixels.
TEST(NetworkPrecision, IsWhatLibTorchComputes) {
  const at::Tensor x = noisy(2, {16, 24, 20}, at::kFloat), kernel = RandomStreams(3, 0, 8).normal(0, {16, 3, 3}, at::kFloat), bias = noisy(1, {8}, at::kFloat).flatten();
  const auto emulate = [&](const at::Tensor& t) { return rounded(t, NetworkPrecision::kBfloat16); };
  const at::Tensor expected = emulate(at::conv2d(emulate(x), emulate(kernel), emulate(bias), 1, 1));
  const at::Tensor found = at::conv2d(x.to(at::kBFloat16), kernel.to(at::kBFloat16), bias.to(at::kBFloat16), 1, 1).to(at::kFloat);
  EXPECT_LT(found.ne(expected).to(at::kFloat).mean().item<double>(), 0.01);
  EXPECT_TRUE(((found - expected).abs() <= 0.0079 * expected.abs() + 1e-3).all().item<bool>());
  // And the activation, which the processor computes in float32.
  EXPECT_LT((at::silu(x.to(at::kBFloat16)).to(at::kFloat) - emulate(at::silu(emulate(x)))).abs().max().item<double>(), 0.04);
}

TEST(NetworkPrecision, AddsAsMuchErrorAsItHasPlaces) {
  for (const bool extras : {false, true}) {
    const NetworkPrior prior = busy_prior(extras);
    const at::Tensor x_t = noisy(2, {1, 21, 16}, at::kComplexFloat), exact = prior.denoise(x_t, 0.5);
    const at::Tensor network_part = exact - prior.network().gaussian().denoise(x_t, 0.5);
    const auto added = [&](NetworkPrecision precision) {
      const NetworkPrior other = prior.in_precision(precision);
      EXPECT_EQ(other.precision(), precision);
      EXPECT_EQ(other.denoise(x_t, 0.5).scalar_type(), at::kComplexFloat);
      return ((other.denoise(x_t, 0.5) - exact).abs().square().mean() / network_part.abs().square().mean()).sqrt().item<double>();
    };
    EXPECT_EQ(added(NetworkPrecision::kFloat32), 0.0);
    // Half a place of 2^-10 or 2^-7 is 5e-4 or 4e-3; some layers' worth of it, partly averaged out. Outside F nothing is rounded, or the share would be larger than this of F.
    const double tf32 = added(NetworkPrecision::kTf32), bfloat16 = added(NetworkPrecision::kBfloat16);
    EXPECT_GT(tf32, 1e-5);
    EXPECT_LT(tf32, 2e-3);
    EXPECT_GT(bfloat16, 3 * tf32);
    EXPECT_LT(bfloat16, 2e-2);
  }
}

// What a precision does not resolve makes no difference, from the first layer on; in float32 it does.
TEST(NetworkPrecision, RoundsFeaturesAndKernels) {
  const UNet network = busy_prior().network().network();
  const at::Tensor x = noisy(2, {4, 16, 16}, at::kFloat), c_noise = at::full({2}, -0.3f);
  const at::NoGradGuard no_grad;
  for (const NetworkPrecision precision : kAll) {
    const UNet other = network.in_precision(precision);
    for (const NetworkPrecision coarse : {NetworkPrecision::kTf32, NetworkPrecision::kBfloat16})
      EXPECT_EQ(other.forward(rounded(x, coarse), c_noise).equal(other.forward(x, c_noise)), coarse == precision) << precision_name(precision) << " " << precision_name(coarse);
    Weights weights = network.weights();
    for (auto& [name, weight] : weights)
      if (weight.dim() == 4) weight = rounded(weight, NetworkPrecision::kTf32);
    const UNet from_rounded = UNet(network.config(), weights).in_precision(precision);
    EXPECT_EQ(from_rounded.forward(x, c_noise).equal(other.forward(x, c_noise)), precision == NetworkPrecision::kTf32) << precision_name(precision);
  }
}

TEST(NetworkPrecision, LeavesTheWeightsAndTheOthersAlone) {
  const NetworkPrior prior = busy_prior(), other = prior.in_precision(NetworkPrecision::kBfloat16);
  const at::Tensor x_t = noisy(1, {1, 16, 16}, at::kComplexFloat), before = prior.denoise(x_t, 0.5), there = other.denoise(x_t, 0.5);
  EXPECT_FALSE(there.equal(before));
  EXPECT_TRUE(prior.denoise(x_t, 0.5).equal(before));
  EXPECT_TRUE(other.in_precision(NetworkPrecision::kFloat32).denoise(x_t, 0.5).equal(before));
  for (const auto& [name, weight] : other.network().network().weights()) EXPECT_TRUE(weight.equal(prior.network().network().weights().at(name))) << name;
}

TEST(NetworkPrecision, GradientsPassThroughEveryOne) {
  const NetworkPrior prior = busy_prior();
  const auto gradient = [&](NetworkPrecision precision) {
    at::Tensor x_t = noisy(1, {1, 16, 16}, at::kComplexFloat);
    x_t.set_requires_grad(true);
    at::abs(prior.in_precision(precision).denoise(x_t, 0.5)).square().sum().backward();
    return x_t.grad();
  };
  const at::Tensor exact = gradient(NetworkPrecision::kFloat32);
  // As far apart as the answers are, and a few times that: each layer's factor is rounded on the way back too.
  EXPECT_LT(relative_distance(gradient(NetworkPrecision::kTf32), exact), 0.01);
  EXPECT_LT(relative_distance(gradient(NetworkPrecision::kBfloat16), exact), 0.1);
}

// The path of devices other than the CPU: operators of ATen on the whole batch. With gradients the CPU takes it too.
TEST(DevicePath, ABatchIsItsImagesOneByOne) {
  for (const bool extras : {false, true}) {
    const NetworkPrior prior = busy_prior(extras);
    const at::Tensor x_t = noisy(5, {1, 21, 16}, at::kComplexFloat), one_by_one = prior.denoise(x_t, 0.5);
    const at::Tensor together = prior.errors().corrected(x_t, prior.network().denoise(x_t, at::full({1}, 0.5f)), 0.5);
    ASSERT_TRUE(at::GradMode::is_enabled());
    // Float32 rounding of 6e-8, summed in another order over a few hundred terms, through some ten layers.
    EXPECT_LT(relative_distance(together, one_by_one), 1e-5);
  }
}

/// What one call of denoise moved between host and device, the second for this image size.
pretend::Traffic traffic_of(const NetworkPrior& prior, const at::Tensor& x_t) {
  (void)prior.denoise(x_t, 0.7);
  pretend::reset_traffic();
  (void)prior.denoise(x_t, 0.5);
  return pretend::traffic();
}

TEST(DevicePath, NothingIsCopiedAndNobodyWaits) {
  const at::NoGradGuard no_grad;
  for (const NetworkPrecision precision : kAll)
    for (const auto& [basis, channels, dtype] : {std::tuple{SpectralBasis::kDft, 1, at::kComplexFloat}, {SpectralBasis::kDct, 3, at::kFloat}}) {
      UNetConfig config;
      config.widths = {16, 32};
      config.blocks = {1, 1};
      config.embedding = 16;
      const NetworkPrior prior = network_prior(basis, channels, config, 8).in_precision(precision);
      const at::Tensor x_t = noisy(3, {channels, 21, 16}, dtype).to(pretend::device());
      const pretend::Traffic moved = traffic_of(prior, x_t);
      EXPECT_EQ(moved.to_host, 0) << precision_name(precision);
      EXPECT_EQ(moved.to_device, 0) << precision_name(precision);
      EXPECT_EQ(moved.waits, 0) << precision_name(precision);
    }
}

TEST(DevicePath, NoiseWithASpectrumIsNotWaitedForEither) {
  const at::NoGradGuard no_grad;
  UNetConfig config;
  config.widths = {16, 32};
  config.blocks = {1, 1};
  config.conditions = SpectralNoise::kSummarySize;
  const NetworkPrior prior = network_prior(SpectralBasis::kDft, 1, config, 8);
  const at::Tensor z = noisy(2, {1, 21, 16}, at::kComplexFloat), variance = RandomStreams(7, 0, 1).uniform(0, {1, 21, 16}) + 0.1;
  const SpectralNoise noise(SpectralBasis::kDft, variance), noise_there(SpectralBasis::kDft, variance.to(pretend::device()));
  const at::Tensor z_there = z.to(pretend::device()), here = prior.denoise_under(z, noise), there = prior.denoise_under(z_there, noise_there);
  EXPECT_LT(relative_distance(there.cpu(), here), 1e-5);  // as ABatchIsItsImagesOneByOne
  pretend::reset_traffic();
  (void)prior.denoise_under(z_there, noise_there);
  const pretend::Traffic moved = pretend::traffic();
  EXPECT_EQ(moved.to_host, 0);
  EXPECT_EQ(moved.to_device, 0);
  EXPECT_EQ(moved.waits, 0);
}

TEST(DevicePath, GivesWhatTheCpuGives) {
  const NetworkPrior prior = busy_prior();
  const at::Tensor x_t = noisy(3, {1, 21, 16}, at::kComplexFloat), there = prior.denoise(x_t.to(pretend::device()), 0.5);
  EXPECT_EQ(there.device(), pretend::device());
  EXPECT_LT(relative_distance(there.cpu(), prior.denoise(x_t, 0.5)), 1e-5);  // as ABatchIsItsImagesOneByOne
}

}  // namespace
}  // namespace postrec::test
