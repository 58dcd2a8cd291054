#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "beds.hpp"
#include "expect_error.hpp"
#include "postrec/answers.hpp"
#include "postrec/random.hpp"
#include "postrec/summary.hpp"

namespace postrec::test {
namespace {

constexpr double kRootHalf = 0.70710678118654752440;
double normal_above(double z) { return 0.5 * std::erfc(z * kRootHalf); }

TEST(Answers, OfKnownNumbers) {
  const NumberAnswer answer = answer_of({4.0, 1.0, 2.0, 3.0, 5.0}, 0.5);
  EXPECT_FLOAT_EQ(static_cast<float>(answer.mean), 3.0f);
  EXPECT_FLOAT_EQ(static_cast<float>(answer.standard_deviation), std::sqrt(2.5f));
  EXPECT_FLOAT_EQ(static_cast<float>(answer.lower), 1.5f);
  EXPECT_FLOAT_EQ(static_cast<float>(answer.upper), 4.5f);
  EXPECT_DOUBLE_EQ(answer.level, 0.5);
  EXPECT_DOUBLE_EQ(answer_of({4.0, 1.0, 2.0, 3.0, 5.0}, 0.9).level, interval_level_of(5));
}

TEST(Answers, RegionMeansAreOfMagnitudes) {
  const at::Tensor samples = at::complex(at::zeros({2, 1, 2, 2}), at::tensor({1.0f, -3.0f, 5.0f, 7.0f, -2.0f, 4.0f, 0.0f, 0.0f}).view({2, 1, 2, 2}));
  const at::Tensor region = at::tensor({1, 1, 0, 0}, at::kInt).view({1, 2, 2}).to(at::kBool);
  EXPECT_EQ(means_in_region(samples, region), (std::vector<double>{2.0, 3.0}));
}

// Magnitudes of complex Gaussian noise about nothing, and about ten times its standard deviation.
TEST(Answers, NoiseAloneIsNoSignal) {
  at::Tensor x = RandomStreams(3, 0, 8).normal(0, {1, 20, 50}, at::kComplexFloat, at::kCPU);
  x.narrow(3, 25, 25).add_(10.0);
  const at::Tensor all = at::ones({1, 20, 50}, at::kBool);
  at::Tensor signal = at::zeros_like(all);
  signal.narrow(2, 25, 25).fill_(true);
  // Of 500 voxels of noise .89 +- .014 pass at 8 samples; with a signal the ratio is about 14 and comes below 3 only where the deviation is taken 4.7 times too large.
  EXPECT_GT(voxels_without_signal(x.abs(), signal.logical_not()), 400);
  EXPECT_EQ(voxels_without_signal(x.abs(), signal), 0);
  EXPECT_EQ(voxels_without_signal(x.abs(), all), voxels_without_signal(x.abs(), signal.logical_not()));
}

TEST(Answers, ProbabilityIsTheShareOfSamples) {
  const at::Tensor samples = at::tensor({1.0f, 2.0f, 3.0f, 4.0f}).view({4, 1, 1, 1});
  EXPECT_EQ(probability_above(samples, 2.5).item<float>(), 0.5f);
  EXPECT_EQ(probability_above(samples, 4.0).item<float>(), 0.0f);  // above, not at
  EXPECT_EQ(probability_above(samples, -1.0).sizes(), at::IntArrayRef({1, 1, 1}));
  EXPECT_DOUBLE_EQ(probability_above(std::vector<double>{1.0, 2.0, 3.0, 4.0}, 1.5), 0.75);
  EXPECT_EQ(probability_above(std::vector<double>{1.0, 2.0, 3.0, 4.0}, 4.0), 0.0);
}

TEST(Answers, Refuses) {
  const at::Tensor samples = at::zeros({3, 1, 2, 2});
  expect_error(ErrorKind::kUsage, "empty", [&] { means_in_region(samples, at::zeros({1, 2, 2}, at::kBool)); });
  expect_error(ErrorKind::kBadData, "[1, 2, 3]", [&] { means_in_region(samples, at::ones({1, 2, 3}, at::kBool)); });
  expect_error(ErrorKind::kUsage, "no sample", [] { answer_of({}, 0.9); });
}

// Samples of neighbouring slices are drawn apart, their errors are not: the spread is that of slices which err together, and the mean is the mean.
TEST(Answers, SlicesOfARegionErrTogether) {
  const at::Tensor two = at::tensor({1.0f, 9.0f, 30.0f, 30.0f, 3.0f, 9.0f, 10.0f, 10.0f, 2.0f, 9.0f, 20.0f, 20.0f}).view({3, 2, 2});  // [sample, slice, voxel]
  at::Tensor region = at::ones({2, 2}, at::kBool);
  region[0][1] = false;                        // one voxel of the first slice, two of the second
  const std::vector<double> means = means_across_slices(two, region);
  ASSERT_EQ(means.size(), 3u);
  for (int k = 0; k < 3; ++k) EXPECT_NEAR(means[k], (1.0 + k) / 3.0 + (10.0 + 10.0 * k) * 2.0 / 3.0, 1e-6);
  region[1].fill_(false);
  EXPECT_EQ(means_across_slices(two, region), (std::vector<double>{1.0, 2.0, 3.0}));
}

// Samples of an exact posterior: the interval of a region's mean holds the mean of a further sample, which stands for the truth, with its probability.
TEST(Answers, RegionIntervalsOfAnExactPosteriorHoldTheTruth) {
  const ExactPosterior posterior = t1c_box8().posterior();
  at::Tensor region = at::zeros({1, 16, 16}, at::kBool);
  region.slice(1, 5, 9).slice(2, 6, 12).fill_(true);  // inside the hidden box
  constexpr std::int64_t kSamples = 19, kTrials = 400;
  const at::Tensor all = posterior.sample(kTrials * (kSamples + 1), 7).view({kTrials, kSamples + 1, 1, 16, 16});
  int inside = 0;
  for (std::int64_t trial = 0; trial < kTrials; ++trial) {
    const NumberAnswer answer = answer_of(means_in_region(all[trial].narrow(0, 0, kSamples), region), 0.9);
    const double truth = means_in_region(all[trial].narrow(0, kSamples, 1), region).front();
    inside += answer.lower <= truth && truth <= answer.upper;
  }
  // Exact for exchangeable samples: 19 of them put .9 between their least and greatest. Binomial standard deviation .015; four of them: 1 seed in 16,000.
  EXPECT_NEAR(static_cast<double>(inside) / kTrials, 0.9, 4 * std::sqrt(0.9 * 0.1 / kTrials));
}

// Probabilities of voxels and of a region's mean against the closed form of a Gaussian posterior.
TEST(Answers, ThresholdProbabilitiesAgreeWithTheClosedForm) {
  const ExactPosterior posterior = t1c_box8().posterior();
  constexpr std::int64_t kSamples = 4000;
  constexpr double kThreshold = 0.2;
  const at::Tensor samples = posterior.sample(kSamples, 11).view({kSamples, 1, 16, 16});
  const at::Tensor found = probability_above(samples, kThreshold).flatten().to(at::kDouble);
  const at::Tensor mean = posterior.mean(), deviation = posterior.standard_deviation();
  // Standard error at most .5/sqrt(4000) = .0079; five of them for 256 voxels: 1 seed in 7,000.
  for (std::int64_t i = 0; i < 256; ++i)
    EXPECT_NEAR(found[i].item<double>(), normal_above((kThreshold - mean[i].item<double>()) / deviation[i].item<double>()), 5 * 0.5 / std::sqrt(kSamples)) << i;

  at::Tensor region = at::zeros({1, 16, 16}, at::kBool);
  region.slice(1, 3, 8).slice(2, 3, 8).fill_(true);
  const at::Tensor weights = region.flatten().to(at::kDouble) / 25.0;
  const double region_mean = weights.dot(mean).item<double>(), region_deviation = std::sqrt(weights.dot(posterior.covariance().mv(weights)).item<double>());
  const double threshold = region_mean + 0.5 * region_deviation;
  EXPECT_NEAR(probability_above(means_in_region(samples, region), threshold), normal_above(0.5), 5 * 0.5 / std::sqrt(kSamples));
}

}  // namespace
}  // namespace postrec::test
