#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "expect_error.hpp"
#include "philox.hpp"
#include "postrec/random.hpp"

namespace postrec::test {
namespace {

using philox::Counter;

// The vectors of Random123's kat_vectors for philox4x32-10. [Salmon 2011]
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox::philox4x32({0, 0, 0, 0}, {0, 0}), (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox::philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox::philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Box-Muller in double from the same words. The words are exact; a single precision logarithm, square root and cosine err by at most
// 3 units in the last place each, 4e-7 of a radius below 6.7.
TEST(Philox, NormalIsBoxMuller) {
  constexpr int kGroups = 64;
  std::vector<float> normal(kGroups * philox::kGroupNumbers);
  philox::fill_normal(normal.data(), kGroups, {0, 3, 5, 0}, {7, 11});
  double worst = 0.0;
  for (int block = 0; block < kGroups * philox::kGroup; ++block) {
    const Counter words = philox::philox4x32({static_cast<std::uint32_t>(block), 3, 5, 0}, {7, 11});
    for (int pair = 0; pair < 2; ++pair) {
      const double u = ((words[2 * pair] >> 1) + 0.5) * 0x1p-31, angle = words[2 * pair + 1] * (6.283185307179586 * 0x1p-32);
      const float* group = normal.data() + block / philox::kGroup * philox::kGroupNumbers + block % philox::kGroup;
      const double radius = std::sqrt(-2.0 * std::log(u));
      worst = std::max(worst, std::abs(group[2 * pair * philox::kGroup] - radius * std::cos(angle)));
      worst = std::max(worst, std::abs(group[(2 * pair + 1) * philox::kGroup] - radius * std::sin(angle)));
    }
  }
  EXPECT_LT(worst, 2e-6);
}

// The bits are part of what a seed means: they must not change with compiler, vector width or release.
TEST(RandomStreams, BitsStayTheSame) {
  const at::Tensor x = RandomStreams(42, 0, 1).normal(1, {4096}, at::kFloat);
  std::uint32_t hash = 2166136261u;
  const auto* bytes = static_cast<const unsigned char*>(x.const_data_ptr());
  for (std::size_t i = 0; i < x.nbytes(); ++i) hash = (hash ^ bytes[i]) * 16777619u;
  EXPECT_EQ(hash, 3174439094u) << "FNV-1a of the first 4096 normal numbers of seed 42, draw 1";
}

// Law: streams.
TEST(RandomStreams, streams) {
  for (const std::int64_t n : {1, 5, 63, 64, 65, 16384, 16385, 40000}) {
    at::set_num_threads(2);
    const at::Tensor all = RandomStreams(9, 0, 5).normal(3, {n}, at::kFloat);
    at::set_num_threads(1);
    for (std::int64_t b = 0; b < 5; ++b) EXPECT_TRUE(at::equal(RandomStreams(9, b, 1).normal(3, {n}, at::kFloat)[0], all[b])) << n;
    EXPECT_TRUE(at::equal(RandomStreams(9, 2, 3).normal(3, {n}, at::kFloat), all.narrow(0, 2, 3)));
    // A shorter draw is the beginning of a longer one.
    EXPECT_TRUE(at::equal(RandomStreams(9, 0, 5).normal(3, {(n + 1) / 2}, at::kFloat), all.narrow(1, 0, (n + 1) / 2)));
  }
  const at::Tensor complex = RandomStreams(9, 0, 2).normal(3, {3, 4}, at::kComplexFloat);
  EXPECT_TRUE(at::equal(at::view_as_real(complex).flatten(1), RandomStreams(9, 0, 2).normal(3, {24}, at::kFloat)));
}

TEST(RandomStreams, EverythingInTheNameMatters) {
  const at::Tensor x = RandomStreams(1, 0, 1).normal(0, {64}, at::kFloat);
  EXPECT_FALSE(at::equal(x, RandomStreams(2, 0, 1).normal(0, {64}, at::kFloat)));
  EXPECT_FALSE(at::equal(x, RandomStreams(std::uint64_t{1} << 32 | 1, 0, 1).normal(0, {64}, at::kFloat)));
  EXPECT_FALSE(at::equal(x, RandomStreams(1, 1, 1).normal(0, {64}, at::kFloat)));
  EXPECT_FALSE(at::equal(x, RandomStreams(1, 0, 1).normal(1, {64}, at::kFloat)));
}

// The seed is fixed, so the test always gives the same answer; were it not, each bound of 4.5 standard errors would fail with
// probability 7e-6. Moments of N(0, 1): variance of x is 1, of x^2 2, of x^3 15, of x^4 96.
TEST(RandomStreams, NormalMoments) {
  const at::Tensor x = RandomStreams(1234, 0, 100).normal(0, {40000}, at::kFloat).to(at::kDouble);
  const double root_n = std::sqrt(static_cast<double>(x.numel()));
  EXPECT_LT(std::abs(x.mean().item<double>()) * root_n, 4.5);
  EXPECT_LT(std::abs(x.square().mean().item<double>() - 1.0) * root_n / std::sqrt(2.0), 4.5);
  EXPECT_LT(std::abs(x.pow(3).mean().item<double>()) * root_n / std::sqrt(15.0), 4.5);
  EXPECT_LT(std::abs(x.pow(4).mean().item<double>() - 3.0) * root_n / std::sqrt(96.0), 4.5);
}

// Kolmogorov-Smirnov distance to a distribution function on [0, 1]; sqrt(n) D > 2.5 has probability 2 exp(-2 2.5^2) = 7.5e-6.
double kolmogorov_smirnov(const at::Tensor& probabilities) {
  const at::Tensor sorted = std::get<0>(probabilities.flatten().sort());
  const std::int64_t n = sorted.numel();
  const at::Tensor steps = at::arange(n, at::kDouble) / static_cast<double>(n);
  const double above = (sorted - steps).max().item<double>(), below = (steps + 1.0 / n - sorted).max().item<double>();
  return std::sqrt(static_cast<double>(n)) * std::max(above, below);
}

TEST(RandomStreams, NormalDistribution) {
  const at::Tensor x = RandomStreams(77, 0, 10).normal(5, {100000}, at::kFloat).to(at::kDouble);
  EXPECT_LT(kolmogorov_smirnov(0.5 * at::erfc(-x / std::sqrt(2.0))), 2.5);
}

TEST(RandomStreams, UniformDistribution) {
  const at::Tensor u = RandomStreams(77, 0, 10).uniform(5, {100000}).to(at::kDouble);
  EXPECT_GE(u.min().item<double>(), 0.0);
  EXPECT_LT(u.max().item<double>(), 1.0);
  EXPECT_LT(kolmogorov_smirnov(u), 2.5);
}

// Tails: of 4e6 numbers 4e6 * 6.334e-5 = 253.4 lie beyond 4; 4.5 Poisson standard deviations are 72.
TEST(RandomStreams, NormalTails) {
  const at::Tensor x = RandomStreams(5, 0, 4).normal(0, {1000000}, at::kFloat);
  EXPECT_NEAR(x.abs().gt(4.0).sum().item<double>(), 253.4, 72.0);
}

// Neighbours within a stream, streams of neighbouring samples, draws and seeds, and both numbers of one Box-Muller pair, do not
// correlate; nor do their squares. Bounds of 4.5 standard errors.
TEST(RandomStreams, Independence) {
  constexpr std::int64_t kN = 1 << 20;
  const auto expect_uncorrelated = [](const at::Tensor& a, const at::Tensor& b, const char* what) {
    const double root_n = std::sqrt(static_cast<double>(a.numel()));
    EXPECT_LT(std::abs((a * b).mean().item<double>()) * root_n, 4.5) << what;
    EXPECT_LT(std::abs(((a.square() - 1.0) * (b.square() - 1.0)).mean().item<double>()) * root_n / 2.0, 4.5) << what;
  };
  const at::Tensor x = RandomStreams(3, 0, 2).normal(0, {kN}, at::kFloat).to(at::kDouble);
  for (const std::int64_t lag : {1, 2, 3, 4, philox::kGroup, 2 * philox::kGroup, philox::kGroupNumbers})
    expect_uncorrelated(x[0].narrow(0, 0, kN - lag), x[0].narrow(0, lag, kN - lag), "lag");
  expect_uncorrelated(x[0], x[1], "samples");
  expect_uncorrelated(x[0], RandomStreams(3, 0, 1).normal(1, {kN}, at::kFloat)[0].to(at::kDouble), "draws");
  expect_uncorrelated(x[0], RandomStreams(4, 0, 1).normal(0, {kN}, at::kFloat)[0].to(at::kDouble), "seeds");
  const at::Tensor u = RandomStreams(3, 0, 1).uniform(0, {kN})[0].to(at::kDouble);
  expect_uncorrelated(x[0], (u - 0.5) * std::sqrt(12.0), "normal and uniform");
}

TEST(RandomStreams, RefusesWhatHasNoStream) {
  expect_error(ErrorKind::kUsage, "first sample", [] { RandomStreams(0, -1, 1); });
  expect_error(ErrorKind::kUsage, "last sample", [] { RandomStreams(0, (std::int64_t{1} << 32) - 1, 2); });
  expect_error(ErrorKind::kUsage, "draw", [] { RandomStreams(0, 0, 1).normal(std::uint64_t{1} << 32, {1}, at::kFloat); });
  expect_error(ErrorKind::kInternal, "type", [] { RandomStreams(0, 0, 1).normal(0, {1}, at::kDouble); });
  EXPECT_EQ(RandomStreams(0, 0, 0).normal(0, {3}, at::kFloat).sizes(), at::IntArrayRef({0, 3}));
}

}  // namespace
}  // namespace postrec::test
