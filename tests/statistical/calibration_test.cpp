// Simulation-based calibration of BR where it is exact, on a Gaussian prior, and of samplers that are wrong in a known way.
#include "postrec/calibration.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>

#include "beds.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/random.hpp"
#include "postrec/sampler.hpp"
#include "wrong_table.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSize = 8, kReplicates = 250, kSamples = 31, kFunctions = 8;
constexpr double kNoise = 0.2;

GaussianPrior gaussian() {
  PriorInfo info;
  info.name = "test";
  return GaussianPrior(SpectralBasis::kDct, lorentzian_spectrum(kSize, 0.25).roll({-kSize / 2, -kSize / 2}, {-2, -1}), at::zeros({1}), 0.0, info);
}

SamplerOptions options(std::int64_t n_samples, std::uint64_t seed) {
  SamplerOptions result;
  result.n_samples = n_samples;
  result.n_steps = 4;
  result.seed = seed;
  result.solve.tolerance = 1e-4;
  return result;
}

struct Sbc {
  std::vector<std::vector<std::int64_t>> ranks{static_cast<std::size_t>(kFunctions)};
  ErrorAndSpread all, seen, hidden;
  double chi2 = 0.0;                           ///< of the samples, mean over replicates
};

/// Truths of the prior, measurements of half of the pixels, samples by a sampler that believes in `told_prior` and `told_noise`.
Sbc calibrate(const Prior& told_prior, double told_noise) {
  const GaussianPrior prior = gaussian();
  const at::Tensor mask = hole(kSize, 2, 6);
  const auto op = std::make_shared<MaskOperator>(mask, 1, at::kFloat);
  Observer observer;
  const std::vector<std::int64_t> shape = {1, kSize, kSize};
  const at::Tensor truths = sample(prior, nullptr, shape, options(kReplicates, 1), observer).x;
  const at::Tensor functions = RandomStreams(2, 0, kFunctions - 1).normal(0, shape, at::kFloat).flatten(1).to(at::kDouble);
  Sbc result;
  for (std::int64_t r = 0; r < kReplicates; ++r) {
    const at::Tensor truth = truths[r];
    const at::Tensor y = (op->forward(truth.unsqueeze(0)) + kNoise * RandomStreams(3, r, 1).normal(0, op->codomain().shape, at::kFloat))[0];
    const GaussianLikelihood told(op, y, told_noise), actual(op, y, kNoise);
    const at::Tensor x = sample(told_prior, &told, shape, options(kSamples, 100 + static_cast<std::uint64_t>(r)), observer).x;
    // The last function of image and measurement is the misfit.
    const auto values = [&](const at::Tensor& images) {
      return at::cat({images.flatten(1).to(at::kDouble).matmul(functions.t()), actual.reduced_chi2(images).to(at::kDouble).unsqueeze(1)}, 1);
    };
    const at::Tensor ranks = ranks_of(values(truth.unsqueeze(0))[0], values(x), RandomStreams(4, r, 1).uniform(0, {kFunctions})[0]);
    for (std::int64_t k = 0; k < kFunctions; ++k) result.ranks[k].push_back(ranks[k].item<std::int64_t>());
    result.all += error_and_spread(x, truth);
    result.seen += error_and_spread(x * mask, truth * mask);
    result.hidden += error_and_spread(unmeasured_part(*op, 1e-6, x), unmeasured_part(*op, 1e-6, truth.unsqueeze(0))[0]);
    result.chi2 += actual.reduced_chi2(x).mean().item<double>() / kReplicates;
  }
  return result;
}

int count(const Sbc& sbc, CalibrationVerdict verdict) {
  const RankBand band = rank_band(kReplicates, kSamples, 1e-4);
  int n = 0;
  for (const auto& ranks : sbc.ranks) n += judge_ranks(ranks, band).verdict == verdict;
  return n;
}

// Eight bands of false alarm rate 1e-4 each: 8e-4 together. Sums of squares of 250 replicates: a ratio of chi-squares of at least 39 hidden or 39 seen
// pixels' worth of replicates, whose standard deviation is below sqrt(2/250) = .09 even if all pixels of a replicate were one; 4.5 of it, false alarm 7e-6.
// The samples' chi-square: the truth's has variance 2/(m R), m = 39, and the samples' mean no more.
TEST(Calibration, BridgeOnAGaussianIsCalibrated) {
  const Sbc sbc = calibrate(gaussian(), kNoise);
  EXPECT_EQ(count(sbc, CalibrationVerdict::kCalibrated), kFunctions);
  for (const ErrorAndSpread& part : {sbc.all, sbc.seen, sbc.hidden}) EXPECT_NEAR(part.chi2(), 1.0, 0.41);
  EXPECT_NEAR(sbc.chi2, 1.0, 4.5 * std::sqrt(2.0 / (39 * kReplicates)));
}

// A sampler that is told a third of the noise is too sure of the seen pixels and fits the data too closely; one that is told three times of it is not sure enough.
TEST(Calibration, AWrongNoiseIsFound) {
  const Sbc little = calibrate(gaussian(), kNoise / 3), much = calibrate(gaussian(), kNoise * 3);
  EXPECT_GT(little.seen.chi2(), 1.5);
  EXPECT_LT(little.chi2, 0.9);
  EXPECT_GE(count(little, CalibrationVerdict::kOverConfident) + count(little, CalibrationVerdict::kBiased), 1);
  EXPECT_LT(much.seen.chi2(), 0.7);
  EXPECT_GT(much.chi2, 1.1);
  EXPECT_GE(count(much, CalibrationVerdict::kUnderConfident) + count(much, CalibrationVerdict::kBiased), 1);
}

// With a quarter of the error covariance the samples are too close together, with four times of it too far apart.
TEST(Calibration, AWrongTableIsFound) {
  const GaussianPrior prior = gaussian();
  const Sbc small = calibrate(WrongTable(prior, 0.25), kNoise), large = calibrate(WrongTable(prior, 4.0), kNoise);
  EXPECT_GE(count(small, CalibrationVerdict::kOverConfident), 1);
  EXPECT_GT(small.hidden.chi2(), 1.45);
  EXPECT_GE(count(large, CalibrationVerdict::kUnderConfident), 1);
  EXPECT_LT(large.hidden.chi2(), 0.69);
}

// The score of the prior at a low noise level, and its own samples with noise of that level: p above .001 but in one of a thousand seeds. Against the
// samples of a prior with half the variance it is found wrong.
TEST(Calibration, SteinDiscrepancyOfThePriorsSamples) {
  const GaussianPrior prior = gaussian();
  Observer observer;
  const double sigma = 0.05;
  const at::Tensor noise = sigma * RandomStreams(6, 0, kReplicates).normal(0, {1, kSize, kSize}, at::kFloat);
  const at::Tensor x = sample(prior, nullptr, {1, kSize, kSize}, options(kReplicates, 5), observer).x;
  const auto p_value = [&](const at::Tensor& images) {
    const at::Tensor x_t = images + noise;
    // In coordinates in which the prior is about white, where the kernel looks into all directions alike.
    const at::Tensor scale = (prior.spectrum_for({1, kSize, kSize}) + sigma * sigma).sqrt();
    const SpectralCovariance basis(prior.basis(), prior.spectrum());
    return stein_discrepancy((basis.to_basis(x_t) / scale).flatten(1), (basis.to_basis(prior.score(x_t, sigma)) * scale).flatten(1), 999, 7).p_value;
  };
  EXPECT_GT(p_value(x), 0.001);
  EXPECT_LE(p_value(x * 0.7071), 0.001);
}

}  // namespace
}  // namespace postrec::test
