#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "beds.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/sampler.hpp"
#include "statistics.hpp"

namespace postrec::test {
namespace {

// Seeds are fixed: every test here gives the same answer each time. False-alarm rates are what a correct sampler would have over seeds.

SamplerOptions options(std::int64_t n_samples, int n_steps, std::uint64_t seed) {
  SamplerOptions result;
  result.n_samples = n_samples;
  result.n_steps = n_steps;
  result.seed = seed;
  return result;
}

at::Tensor bridge_samples(const Bed& bed, const SamplerOptions& how) {
  const GaussianLikelihood likelihood(bed.op, bed.y, bed.sigma_y);
  Observer observer;
  return sample(*bed.prior, &likelihood, bed.op->domain().shape, how, observer).x;
}

// Over 30 seeds (table in core/README.md) BR gave, box8 and mri4x: distance .995 +- .027 and 1.006 +- .017, spread 1.0001 +- .0017 and
// .9995 +- .0031, coverage .8968 +- .0008 and .8967 +- .0012; exact samples give the same. The bounds lie 3.9, 5.4; 6; 5.6 standard
// deviations away, which are estimates of 30 seeds: a correct sampler would fail with probability 3e-4, nearly all of it from the distance on box8.
void expect_agreement(const Bed& bed, int n_steps) {
  const Agreement agreement = Comparison(bed.posterior(), 512)(as_real_rows(bridge_samples(bed, options(512, n_steps, 1))));
  EXPECT_LE(agreement.distance, 1.1) << bed.name;
  EXPECT_NEAR(agreement.spread, 1.0, 0.02) << bed.name;
  EXPECT_NEAR(agreement.coverage, 0.90, 0.01) << bed.name;
}

TEST(Bridge, T1cBox8) { expect_agreement(t1c_box8(), 10); }
TEST(Bridge, T1cMri4x) { expect_agreement(t1c_mri4x(), 10); }

// For a Gaussian prior the bridge is exact with any number of steps: one is enough.
TEST(Bridge, OneStepIsExactForAGaussian) { expect_agreement(t1c_mri4x(), 1); }

// z-scores of 4.5: false alarm 7e-6 each.
void expect_moments(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& covariance) {
  const MomentScores scores = moment_scores(x, mean, covariance);
  EXPECT_LT(scores.mean, 4.5);
  EXPECT_LT(scores.covariance, 4.5);
}

// 4096 samples of 200 numbers see a bias of a hundredth of the posterior's standard deviation. The default tolerance of the solve leaves as much
// (z = 7 with coils), so these two solve to 1e-5.
SamplerOptions exact(std::uint64_t seed) {
  SamplerOptions result = options(4096, 10, seed);
  result.solve.tolerance = 1e-5;
  return result;
}

TEST(Bridge, MeanAndCovarianceOfAGaussian) {
  for (const Bed& bed : {t1c_box8(), t1c_mri4x()}) {
    const ExactPosterior posterior = bed.posterior();
    expect_moments(as_real_rows(bridge_samples(bed, exact(2))), posterior.mean(), posterior.covariance());
  }
}

TEST(Bridge, MeanAndCovarianceOfComplexImages) {
  at::Tensor mask = at::zeros({10, 10});
  for (const int row : {0, 1, 4, 7, 9}) mask[row].fill_(1.0);
  const auto op = std::make_shared<CoilOperator>(ring_of_coils(3, 10, 10), mask);
  const auto prior = std::make_shared<MixturePrior>(
      SpectralBasis::kDft, std::vector<MixturePrior::Component>{{1.0, at::zeros({1, 10, 10}, at::kComplexFloat), lorentzian_spectrum(10, 0.25)}}, PriorInfo{});
  const at::Tensor y = op->forward(at::complex(wave(10, 1, 2, 0), wave(10, 2, 1, 1)).unsqueeze(0))[0];
  const Bed bed{"coils", prior, op, y, 0.1};
  const ExactPosterior posterior = bed.posterior();
  expect_moments(as_real_rows(bridge_samples(bed, exact(3))), posterior.mean(), posterior.covariance());
}

TEST(Unconditional, MomentsAreThePriors) {
  PriorInfo info;
  info.name = "test";
  Observer observer;
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    const GaussianPrior prior(basis, lorentzian_spectrum(10, 0.25), at::full({1}, 0.3f), 0.0, info);
    const at::Tensor x = as_real_rows(sample(prior, nullptr, {1, 10, 10}, options(4096, 10, 4), observer).x);
    const TensorSpec spec{{1, 10, 10}, prior.domain().dtype};
    const SpectralCovariance covariance(basis, prior.spectrum());
    const at::Tensor c = dense_matrix([&](const at::Tensor& v) { return covariance.apply(v); }, spec);
    const at::Tensor mean = as_real_rows(at::full({1, 1, 10, 10}, 0.3, at::TensorOptions().dtype(spec.dtype)))[0];
    expect_moments(x, mean, (c + c.t()) * 0.5);
  }
}

}  // namespace
}  // namespace postrec::test
