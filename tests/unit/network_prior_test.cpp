#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "expect_error.hpp"
#include "networks.hpp"
#include "postrec/network_prior.hpp"
#include "postrec/random.hpp"
#include "threads.hpp"

namespace postrec::test {
namespace {

at::Tensor noisy(std::int64_t n, const std::vector<std::int64_t>& shape, at::ScalarType dtype) { return RandomStreams(9, 0, n).normal(0, shape, dtype); }

TEST(NetworkPrior, SaysWhatItIs) {
  const NetworkPrior complex = small_network_prior(SpectralBasis::kDft, 1), colour = small_network_prior(SpectralBasis::kDct, 3);
  EXPECT_EQ(complex.domain(), (TensorSpec{{1, -1, -1}, at::kComplexFloat}));
  EXPECT_EQ(colour.domain(), (TensorSpec{{3, -1, -1}, at::kFloat}));
  EXPECT_EQ(complex.range().minimum, 0.01);
  EXPECT_EQ(complex.range().maximum, 20.0);
  for (const auto& shape : {std::vector<std::int64_t>{3, 16, 24}, {3, 9, 13}}) {
    EXPECT_EQ(colour.denoise(noisy(2, shape, at::kFloat), 0.3).sizes().slice(1), at::IntArrayRef(shape));
    EXPECT_EQ(colour.error_covariance(0.3, shape).eigenvalues().sizes(), at::IntArrayRef(shape));
  }
}

TEST(NetworkPrior, TheNetworkHasAPart) {
  const NetworkPrior prior = small_network_prior(SpectralBasis::kDft, 1);
  const at::Tensor x_t = noisy(1, {1, 16, 16}, at::kComplexFloat);
  EXPECT_GT((prior.denoise(x_t, 0.5) - prior.network().gaussian().denoise(x_t, 0.5)).abs().max().item<double>(), 0.01);
}

TEST(NetworkPrior, MakesAGraphOnlyWhenAskedTo) {
  const NetworkPrior prior = small_network_prior(SpectralBasis::kDct, 1);
  at::Tensor x_t = noisy(1, {1, 12, 12}, at::kFloat);
  EXPECT_FALSE(prior.denoise(x_t, 0.5).requires_grad());
  x_t.set_requires_grad(true);
  {
    const at::NoGradGuard no_grad;
    EXPECT_FALSE(prior.denoise(x_t, 0.5).requires_grad());
  }
  // The directional derivative by central differences: its error is rounding, 1e-7/1e-3, and h^2.
  const at::Tensor direction = noisy(1, {1, 12, 12}, at::kFloat).flip({-1}), weight = noisy(2, {1, 12, 12}, at::kFloat).select(0, 1);
  (prior.denoise(x_t, 0.5) * weight).sum().backward();
  const double slope = (x_t.grad() * direction).sum().item<double>();
  const at::NoGradGuard no_grad;
  constexpr double kStep = 1e-2;
  const at::Tensor change = prior.denoise(x_t + kStep * direction, 0.5).to(at::kDouble) - prior.denoise(x_t - kStep * direction, 0.5).to(at::kDouble);
  EXPECT_NEAR((change * weight).sum().item<double>() / (2.0 * kStep), slope, 2e-3 * std::abs(slope) + 2e-3);
}

// Law: batch. The default architecture, whose layers of 128 channels at small sizes are where kernels change with the batch.
TEST(NetworkPrior, batch) {
  const NetworkPrior prior = network_prior(SpectralBasis::kDft, 1, UNetConfig{}, 64);
  for (const auto& shape : {std::vector<std::int64_t>{1, 64, 64}, {1, 37, 50}}) {
    const at::Tensor x_t = noisy(8, shape, at::kComplexFloat);
    const at::Tensor all = prior.denoise(x_t, 0.5);
    EXPECT_TRUE(at::equal(prior.denoise(x_t.narrow(0, 2, 1), 0.5), all.narrow(0, 2, 1)));
    EXPECT_TRUE(at::equal(prior.denoise(x_t.narrow(0, 1, 3), 0.5), all.narrow(0, 1, 3)));
  }
}

// Law: threads.
TEST(NetworkPrior, threads) {
  const NetworkPrior prior = network_prior(SpectralBasis::kDft, 1, UNetConfig{}, 64);
  for (const auto& shape : {std::vector<std::int64_t>{1, 64, 64}, {1, 37, 50}}) {
    const at::Tensor x_t = noisy(1, shape, at::kComplexFloat);
    const auto with_threads = [&](int n) {
      const Threads threads(n);
      return prior.denoise(x_t, 0.5);
    };
    const at::Tensor one = with_threads(1);
    for (const int n : {2, 3, 4})
      EXPECT_TRUE(at::equal(with_threads(n), one)) << n;
  }
}

TEST(NetworkPrior, RefusesPartsThatDoNotFit) {
  const NetworkPrior good = small_network_prior(SpectralBasis::kDct, 1);
  const auto refuse = [&](const std::string& named, ErrorTable errors, SigmaRange range) {
    expect_error(ErrorKind::kBadData, named, [&] { NetworkPrior(good.network(), errors, range, good.info()); });
  };
  refuse("another basis", ErrorTable(SpectralBasis::kDft, {1.0}, at::ones({1, 1, 4, 4})), {0.1, 1.0});
  refuse("channels", ErrorTable(SpectralBasis::kDct, {1.0}, at::ones({1, 3, 4, 4})), {0.1, 1.0});
  refuse("noise range", good.errors(), {1.0, 0.1});
  refuse("noise range", good.errors(), {0.0, 0.1});
  refuse("noise range", good.errors(), {0.1, INFINITY});
}

}  // namespace
}  // namespace postrec::test
