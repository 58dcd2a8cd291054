#include "postrec/calibration.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "beds.hpp"
#include "expect_error.hpp"
#include "postrec/random.hpp"

namespace postrec::test {
namespace {

at::Tensor real(std::initializer_list<double> values) { return at::tensor(std::vector<double>(values), at::kDouble); }

double binomial(int k, int n, double p) { return std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) + k * std::log(p) + (n - k) * std::log1p(-p)); }

TEST(Ranks, CountTheSamplesBelow) {
  const at::Tensor samples = at::stack({real({1, 5, 2}), real({2, 6, 2}), real({3, 7, 9})});
  const at::Tensor ranks = ranks_of(real({2.5, 4, 10}), samples, at::zeros({3}));
  EXPECT_TRUE(ranks.equal(at::tensor({2, 0, 3}, at::kLong))) << ranks;
}

// A truth of 2 among 1, 2, 2 may stand at 1, 2 or 3: a third each.
TEST(Ranks, TiesGoByTheUniformNumber) {
  const at::Tensor samples = real({1, 2, 2}).unsqueeze(1).expand({3, 4});
  const at::Tensor ranks = ranks_of(at::full({4}, 2.0, at::kDouble), samples, at::tensor({0.0f, 0.34f, 0.67f, 0.99999994f}));
  EXPECT_TRUE(ranks.equal(at::tensor({1, 2, 3, 3}, at::kLong))) << ranks;
}

// With one sample the only count is binomial(10, 1/2): {0, 1, 9, 10} have probability 22/1024, and {2, 8} would make it 112/1024.
TEST(RankBandTest, OneSampleIsTheBinomial) {
  const RankBand band = rank_band(10, 1, 0.05);
  EXPECT_EQ(band.lower, std::vector<std::int64_t>({2}));
  EXPECT_EQ(band.upper, std::vector<std::int64_t>({8}));
  EXPECT_NEAR(band.false_alarm, 22.0 / 1024.0, 1e-12);  // rounding of sums of ten terms
  double inside = 0.0;
  for (int k = 2; k <= 8; ++k) inside += binomial(k, 10, 0.2);
  EXPECT_NEAR(probability_inside(band, {0.2, 0.8}), inside, 1e-12);
}

// The count below 1 and that below 2 of R = 4 by enumeration of the multinomial distribution.
TEST(RankBandTest, RecursionIsTheMultinomial) {
  RankBand band;
  band.n_replicates = 4;
  band.n_samples = 2;
  band.lower = {1, 2};
  band.upper = {2, 3};
  const double p[] = {0.3, 0.25, 0.45};
  double inside = 0.0;
  for (int a = 0; a <= 4; ++a)
    for (int b = 0; a + b <= 4; ++b)
      if (a >= 1 && a <= 2 && a + b >= 2 && a + b <= 3)
        inside += std::tgamma(5) / (std::tgamma(a + 1) * std::tgamma(b + 1) * std::tgamma(5 - a - b)) * std::pow(p[0], a) * std::pow(p[1], b) * std::pow(p[2], 4 - a - b);
  EXPECT_NEAR(probability_inside(band, {p[0], p[1], p[2]}), inside, 1e-12);
}

// The rate that the band claims, against 20000 sets of even ranks: 4.5 standard deviations, false alarm 7e-6.
TEST(RankBandTest, FalseAlarmRateIsThatOfEvenRanks) {
  constexpr std::int64_t kSets = 20000, kReplicates = 40, kSamples = 9;
  const RankBand band = rank_band(kReplicates, kSamples, 0.1);
  EXPECT_LE(band.false_alarm, 0.1);
  EXPECT_GT(band.false_alarm, 0.05);  // whole numbers: not all of the rate can be used
  const at::Tensor ranks = RandomStreams(5, 0, kSets).uniform(0, {kReplicates}).mul(static_cast<double>(kSamples + 1)).floor();
  at::Tensor outside = at::zeros({kSets}, at::kBool);
  for (std::int64_t k = 1; k <= kSamples; ++k) {
    const at::Tensor below = ranks.lt(static_cast<double>(k)).sum(1);
    outside = outside.logical_or(below.lt(band.lower[k - 1])).logical_or(below.gt(band.upper[k - 1]));
  }
  EXPECT_NEAR(outside.to(at::kDouble).mean().item<double>(), band.false_alarm, 4.5 * std::sqrt(0.1 * 0.9 / kSets));
}

// Two samples of spread s: the truth lies below both with the orthant probability 1/4 + asin(1/(1 + s^2))/(2 pi).
TEST(RankBandTest, ProbabilitiesOfAWrongSpread) {
  for (const double spread : {0.5, 1.0, 2.0}) {
    const auto p = rank_probabilities(2, spread);
    const double end = 0.25 + std::asin(1.0 / (1.0 + spread * spread)) / kTwoPi;
    EXPECT_NEAR(p[0], end, 1e-9);  // a smooth integrand that vanishes at both ends: the rule converges faster than any power
    EXPECT_NEAR(p[1], 1.0 - 2.0 * end, 1e-9);
    EXPECT_NEAR(p[2], end, 1e-9);
  }
  for (const double value : rank_probabilities(63, 1.0)) EXPECT_NEAR(value, 1.0 / 64.0, 1e-9);
}

std::vector<std::int64_t> repeated(const std::vector<std::int64_t>& ranks, int times) {
  std::vector<std::int64_t> result;
  for (int i = 0; i < times; ++i) result.insert(result.end(), ranks.begin(), ranks.end());
  return result;
}

TEST(RankJudgementTest, NamesWhatIsWrong) {
  const RankBand band = rank_band(320, 7, 0.01);
  ASSERT_GE(band.power, kEnoughPower);
  EXPECT_EQ(judge_ranks(repeated({0, 1, 2, 3, 4, 5, 6, 7}, 40), band).verdict, CalibrationVerdict::kCalibrated);
  EXPECT_EQ(judge_ranks(repeated({0, 0, 0, 1, 6, 7, 7, 7}, 40), band).verdict, CalibrationVerdict::kOverConfident);
  EXPECT_EQ(judge_ranks(repeated({2, 3, 3, 3, 4, 4, 4, 5}, 40), band).verdict, CalibrationVerdict::kUnderConfident);
  EXPECT_EQ(judge_ranks(repeated({2, 3, 4, 5, 5, 6, 6, 7}, 40), band).verdict, CalibrationVerdict::kBiased);
  const RankJudgement even = judge_ranks(repeated({0, 1, 2, 3, 4, 5, 6, 7}, 40), band);
  EXPECT_NEAR(even.excess, 0.0, 1e-12);
  EXPECT_NEAR(even.shift, 0.0, 1e-12);
  EXPECT_NEAR(even.extremes, 0.0, 1e-12);
}

TEST(RankJudgementTest, FewReplicatesSayNothing) {
  const RankBand band = rank_band(8, 7, 0.01);
  EXPECT_LT(band.power, kEnoughPower);
  EXPECT_EQ(judge_ranks({0, 1, 2, 3, 4, 5, 6, 7}, band).verdict, CalibrationVerdict::kNotEnough);
  expect_error(ErrorKind::kUsage, "2 ranks", [&] { judge_ranks({0, 1}, band); });
  expect_error(ErrorKind::kUsage, "false alarm rate", [] { rank_band(8, 7, 1.0); });
  expect_error(ErrorKind::kUsage, "0 replicates", [] { rank_band(0, 7, 0.05); });
}

// Samples 1..19: the 90 % interval is [1, 19], the 50 % interval [5, 15].
TEST(CoverageOf, CountsTrueValuesInside) {
  const at::Tensor samples = at::arange(1, 20, at::kDouble).unsqueeze(1).expand({19, 4});
  const auto coverage = coverage_of(samples, real({0.5, 4, 5.5, 18}), {0.5, 0.9, 0.95});
  EXPECT_DOUBLE_EQ(coverage[0].covered, 0.25);
  EXPECT_DOUBLE_EQ(coverage[1].covered, 0.75);
  EXPECT_DOUBLE_EQ(coverage[1].expected, 0.9);
  EXPECT_DOUBLE_EQ(coverage[2].expected, 0.9);  // 19 samples bound no more: (19 - 1)/(19 + 1)
  EXPECT_DOUBLE_EQ(coverage[2].level, 0.95);
}

// Of 7 samples the k-th and the k-th last hold 1 - k/4: .75, .5, .25. The truths 1.5 and 2.5 lie inside one and two of the pairs, 0 inside none.
TEST(CoverageOf, MixesTheIntervalsAroundALevel) {
  const at::Tensor samples = at::arange(1, 8, at::kDouble).unsqueeze(1).expand({7, 3});
  const auto coverage = coverage_of(samples, real({0, 1.5, 2.5}), {0.7, 0.5, 0.45, 0.9});
  EXPECT_NEAR(coverage[0].covered, (0.8 * 2.0 + 0.2 * 1.0) / 3.0, 1e-12);
  EXPECT_NEAR(coverage[1].covered, 1.0 / 3.0, 1e-12);
  EXPECT_NEAR(coverage[2].covered, 0.8 / 3.0, 1e-12);
  EXPECT_NEAR(coverage[2].expected, 0.45, 1e-12);
  EXPECT_NEAR(coverage[3].covered, 2.0 / 3.0, 1e-12);
  EXPECT_NEAR(coverage[3].expected, 0.75, 1e-12);
}

// Samples 0, 2, 4 of a truth 5: mean 2, variance 4, so 9 against (1 + 1/3) 4.
TEST(ErrorAndSpreadTest, ByHand) {
  const at::Tensor samples = real({0, 2, 4}).unsqueeze(1);
  const ErrorAndSpread found = error_and_spread(samples, real({5}));
  EXPECT_DOUBLE_EQ(found.squared_error, 9.0);
  EXPECT_DOUBLE_EQ(found.expected, 16.0 / 3.0);
  EXPECT_DOUBLE_EQ(found.chi2(), 27.0 / 16.0);
  EXPECT_DOUBLE_EQ(found.spread_over_rmse(), std::sqrt(16.0 / 27.0));
  const ErrorAndSpread complex = error_and_spread(at::complex(samples, -samples), at::complex(real({5}), real({-5})));
  EXPECT_DOUBLE_EQ(complex.squared_error, 18.0);
  EXPECT_DOUBLE_EQ(complex.expected, 32.0 / 3.0);
  ErrorAndSpread sum = found;
  sum += complex;
  EXPECT_DOUBLE_EQ(sum.squared_error, 27.0);
  expect_error(ErrorKind::kUsage, "1 samples", [&] { error_and_spread(samples.narrow(0, 0, 1), real({5})); });
}

TEST(UnmeasuredPart, OfAMaskKeepsTheHiddenPixels) {
  const MaskOperator op(hole(6, 2, 3), 1, at::kFloat);
  const at::Tensor x = RandomStreams(1, 0, 2).normal(0, {1, 6, 6}, at::kFloat);
  const at::Tensor hidden = 1.0 - hole(6, 2, 3), expected = x * (hidden + (1.0 - hidden) * (0.01 / 1.01));
  EXPECT_LE((unmeasured_part(op, 0.01, x) - expected).abs().max().item<double>(), 1e-6);  // float32
  expect_error(ErrorKind::kUsage, "lambda", [&] { unmeasured_part(op, 0.0, x); });
}

TEST(UnmeasuredPart, ByConjugateGradientsIsTheDenseInverse) {
  at::Tensor mask = at::zeros({6, 6});
  mask[0].fill_(1.0);
  mask[3].fill_(1.0);
  const CoilOperator op(ring_of_coils(2, 6, 6), mask);
  const at::Tensor x = RandomStreams(1, 0, 2).normal(0, {1, 6, 6}, at::kComplexFloat);
  const at::Tensor a = dense_matrix([&](const at::Tensor& v) { return op.forward(v); }, op.domain());
  const double lambda = 0.05;
  const at::Tensor h = a.t().matmul(a) + lambda * at::eye(a.size(1), at::kDouble);
  const at::Tensor expected = lambda * at::cholesky_solve(as_real_rows(x).t().contiguous(), at::linalg_cholesky(h)).t();
  const at::Tensor found = as_real_rows(unmeasured_part(op, lambda, x));
  // The residual is at most 1e-4 of ||b||, b = lambda x, and 1/lambda bounds what it does to the solution.
  EXPECT_LE((found - expected).norm().item<double>(), 1.1e-4 * as_real_rows(x).norm().item<double>());
  EXPECT_GT((found - as_real_rows(x)).norm().item<double>(), 0.1);
}

TEST(Regions, BlocksFillTheImageOnce) {
  const at::Tensor blocks = block_regions(5, 7, 2, 3);
  EXPECT_EQ(blocks.sizes(), at::IntArrayRef({6, 5, 7}));
  EXPECT_TRUE(blocks.sum(0).eq(1).all().item<bool>());
  EXPECT_TRUE(blocks.flatten(1).any(1).all().item<bool>());
  EXPECT_TRUE(blocks[0].narrow(0, 0, 3).narrow(1, 0, 3).all().item<bool>());
  const at::Tensor discs = disc_regions(8, 12, 2, 3);
  EXPECT_TRUE(discs.logical_and(block_regions(8, 12, 2, 3)).equal(discs));
  EXPECT_EQ(discs[0].sum().item<std::int64_t>(), 12);  // pixel centres within 2 of the middle of a 4x4 block: all but its corners
  expect_error(ErrorKind::kUsage, "6x3 regions", [] { block_regions(5, 7, 6, 3); });
}

TEST(Regions, MeansAreOfTheirPixels) {
  const at::Tensor x = at::arange(24, at::kFloat).view({1, 2, 3, 4});
  at::Tensor regions = at::zeros({2, 3, 4}, at::kBool);
  regions[0][0][0] = true;
  regions[1][2][3] = true;
  regions[1][2][2] = true;
  EXPECT_TRUE(means_over_regions(x, regions).equal(real({6.0, 16.5}).unsqueeze(0))) << means_over_regions(x, regions);
  regions[0].zero_();
  expect_error(ErrorKind::kUsage, "no pixel", [&] { means_over_regions(x, regions); });
}

TEST(Regions, ThoseInTheObjectAreCutToIt) {
  const at::Tensor blocks = block_regions(4, 4, 2, 2), corner = blocks[0].clone();
  at::Tensor object = corner.clone();
  object[0][2] = object[1][2] = true;           // half of the second block
  object[2][0] = true;                          // a quarter of the third
  const at::Tensor inside = regions_inside(blocks, object);
  ASSERT_EQ(inside.size(0), 2);
  EXPECT_TRUE(inside[0].equal(corner));
  EXPECT_TRUE(inside[1].equal(blocks[1].logical_and(object)));
  EXPECT_EQ(inside[1].sum().item<std::int64_t>(), 2);
  EXPECT_TRUE(regions_inside(blocks, at::zeros({4, 4}, at::kBool)).equal(blocks));
}

// Two points x, z in one dimension: c^2 = (x - z)^2, and u = s s' k + (s' - s) k' - k'' with r = x - z, k = (c^2 + r^2)^(-1/2).
TEST(SteinDiscrepancyTest, TwoPointsByHand) {
  const double x = 0.3, z = 1.1, sx = -0.7, sz = 0.4, r = x - z, b = 2 * r * r, b0 = r * r;
  const double between = sx * sz * std::pow(b, -0.5) + (sz - sx) * (-r * std::pow(b, -1.5)) + std::pow(b, -1.5) - 3 * r * r * std::pow(b, -2.5);
  const auto self = [&](double s) { return s * s * std::pow(b0, -0.5) + std::pow(b0, -1.5); };
  const double square = (self(sx) + self(sz) + 2 * between) / 4;
  const SteinDiscrepancy found = stein_discrepancy(real({x, z}).unsqueeze(1), real({sx, sz}).unsqueeze(1), 99, 0);
  EXPECT_NEAR(found.value, std::sqrt(square), 1e-12);
  expect_error(ErrorKind::kUsage, "fit together", [] { stein_discrepancy(real({1}).unsqueeze(1), real({1}).unsqueeze(1), 9, 0); });
}

// 100 points in 10 dimensions, variance 1: the score of a normal distribution of variance 1.6 is found wrong, the right one is not. For the right one the
// p-value is even: above .001 but in one of a thousand seeds.
TEST(SteinDiscrepancyTest, FindsAWrongScore) {
  const at::Tensor x = RandomStreams(11, 0, 100).normal(0, {10}, at::kFloat);
  EXPECT_GT(stein_discrepancy(x, -x, 999, 1).p_value, 0.001);
  EXPECT_LE(stein_discrepancy(x, x / -1.6, 999, 1).p_value, 0.001);
  EXPECT_LE(stein_discrepancy(x, 0.5 - x, 999, 1).p_value, 0.001);
}

}  // namespace
}  // namespace postrec::test
