#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "beds.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/prior_fit.hpp"
#include "postrec/sampler.hpp"
#include "pretend_device.hpp"
#include "test_operators.hpp"

namespace postrec::test {
namespace {

constexpr double kSigmaY = 0.3;

std::shared_ptr<MixturePrior> gaussian(double scale) {
  PriorInfo info;
  info.name = "gaussian";
  std::vector<MixturePrior::Component> components = {{1.0, at::zeros({1, 16, 16}), lorentzian_spectrum(16, 0.25) * (scale * scale)}};
  return std::make_shared<MixturePrior>(SpectralBasis::kDft, components, info);
}

/// An image of the prior, seen where the mask is 1 with noise sigma_y, and sampled with `believed` and sigma_y `told`.
PriorFit fit_of(double sigma_y, double told, const MixturePrior& prior, const MixturePrior& believed, std::uint64_t seed) {
  const auto op = std::make_shared<MaskOperator>(hole(16, 4, 11), 1, at::kFloat);
  const SpectralCovariance covariance(prior.basis(), prior.components().front().spectrum);
  const at::Tensor x = covariance.apply_factor(RandomStreams(seed, 0, 1).normal(0, {1, 16, 16}, at::kFloat));
  const at::Tensor y = op->forward(x) + sigma_y * RandomStreams(seed, 1, 1).normal(0, op->codomain().shape, at::kFloat);
  const GaussianLikelihood likelihood(op, y.squeeze(0), told);
  SamplerOptions options;
  options.n_samples = 4;
  options.n_steps = 3;  // the bridge is exact for a Gaussian prior, whatever the number of levels
  options.seed = seed;
  Observer observer;
  return examine_prior_fit(believed, likelihood, sample(believed, &likelihood, {1, 16, 16}, options, observer).x, seed);
}

// Under the right model a sample and the truth have the same law given y, so both figures are those of chi-square with m components: mean 1.
TEST(PriorFit, FiguresOfTheRightModelAreOne) {
  const auto prior = gaussian(1.0);
  constexpr int kSeeds = 40;
  double chi2 = 0.0, inflation = 0.0, share = 0.0;
  std::int64_t m = 0;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const PriorFit fit = fit_of(kSigmaY, kSigmaY, *prior, *prior, seed);
    EXPECT_EQ(prior_misfit(fit), "") << "seed " << seed;
    chi2 += fit.reduced_chi2 / kSeeds;
    inflation += fit.error_inflation / kSeeds;
    share += fit.visible_share / kSeeds;
    m = fit.n_measured;
  }
  EXPECT_EQ(m, 192);
  // The mean over seeds has a standard deviation of at most (2/(192 * 40))^(1/2) = .016; four of them: 1 in 16,000. That of the inflation is larger
  // by 2^(1/2)/share, since the share is estimated, too.
  const double tolerance = 4 * std::sqrt(2.0 / static_cast<double>(m * kSeeds));
  EXPECT_NEAR(chi2, 1.0, tolerance);
  EXPECT_GT(share, 0.05);
  EXPECT_NEAR(inflation, 1.0, std::sqrt(2.0) * tolerance / share);
}

// The share of the data that speaks of the denoiser's error, against dense matrices.
TEST(PriorFit, VisibleShareAgreesWithTheClosedForm) {
  const auto prior = gaussian(1.0);
  const MaskOperator op(hole(16, 4, 11), 1, at::kFloat);
  const PriorFit fit = fit_of(kSigmaY, kSigmaY, *prior, *prior, 5);
  const SpectralCovariance factor = prior->error_covariance(fit.sigma, {1, 16, 16});
  const at::Tensor a = dense_matrix([&](const at::Tensor& x) { return op.forward(x); }, op.domain());
  const at::Tensor f = dense_matrix([&](const at::Tensor& w) { return factor.apply_factor(w); }, op.domain());
  const at::Tensor signal = a.matmul(f).matmul(f.t()).matmul(a.t());
  const at::Tensor s = signal + kSigmaY * kSigmaY * at::eye(a.size(0), at::kDouble);
  const double exact = at::linalg_solve(s, signal).diagonal().mean().item<double>();
  EXPECT_NEAR(fit.visible_share, exact, 4 * std::sqrt(2.0 / 192));  // four standard deviations of the estimate at most
}

TEST(PriorFit, FindsAWrongScale) {
  const PriorFit fit = fit_of(kSigmaY, kSigmaY, *gaussian(6.0), *gaussian(1.0), 1);
  EXPECT_NE(prior_misfit(fit).find("more than"), std::string::npos) << fit.reduced_chi2 << " " << fit.error_inflation;
}

// Where the noise is small, samples follow the data and chi-square is blind; the denoiser's error is not.
TEST(PriorFit, TheDenoiserTellsWhereChiSquareIsBlind) {
  const PriorFit fit = fit_of(0.02, 0.02, *gaussian(10.0), *gaussian(1.0), 2);
  EXPECT_LT(fit.reduced_chi2, PriorFitLimits().most_chi2);
  EXPECT_GT(fit.error_inflation, PriorFitLimits().most_inflation);
  EXPECT_NE(prior_misfit(fit).find("denoiser"), std::string::npos);
}

TEST(PriorFit, FindsAWrongSigmaY) {
  const auto prior = gaussian(1.0);
  constexpr double kLoud = 1.0;                // above the prior's deviation at most frequencies: what samples leave of y is noise
  EXPECT_NE(prior_misfit(fit_of(kLoud, kLoud / 3, *prior, *prior, 3)).find("noisier than sigma_y says"), std::string::npos);
  EXPECT_NE(prior_misfit(fit_of(kLoud, kLoud * 3, *prior, *prior, 3)).find("less noisy than sigma_y says"), std::string::npos);
  EXPECT_EQ(prior_misfit(fit_of(kLoud, kLoud, *prior, *prior, 3)), "");
}

/// Whether the right model still counts as one when this figure of it is `value`.
bool fits(double PriorFit::*figure, double value, std::int64_t n_measured = 1000) {
  PriorFit fit{.reduced_chi2 = 1.0, .error_inflation = 1.0, .visible_share = 1.0, .sigma = 0.1, .n_measured = n_measured};
  fit.*figure = value;
  return prior_misfit(fit).empty();
}

// In numbers, for they were fitted to scans: brains in MR under a prior of CT, 3.3, pass, and a page of bars, 4.3, does not.
TEST(PriorFit, TheLimitsAreThoseOfTheScans) {
  for (const double chi2 : {0.61, 1.99}) EXPECT_TRUE(fits(&PriorFit::reduced_chi2, chi2)) << chi2;
  for (const double chi2 : {0.59, 2.01}) EXPECT_FALSE(fits(&PriorFit::reduced_chi2, chi2)) << chi2;
  for (const double inflation : {0.0, 3.3, 3.79}) EXPECT_TRUE(fits(&PriorFit::error_inflation, inflation)) << inflation;
  for (const double inflation : {3.81, 4.3}) EXPECT_FALSE(fits(&PriorFit::error_inflation, inflation)) << inflation;
}

TEST(PriorFit, FewEntriesWidenTheLimits) {
  // 1 + 4 (2/10)^(1/2) = 2.789, and 1 - 4 (2/50)^(1/2) = .2.
  for (const auto& [n, inside, outside] : {std::tuple{10, 2.78, 2.80}, {50, 0.21, 0.19}}) {
    EXPECT_TRUE(fits(&PriorFit::reduced_chi2, inside, n)) << inside;
    EXPECT_FALSE(fits(&PriorFit::reduced_chi2, outside, n)) << outside;
    EXPECT_FALSE(fits(&PriorFit::reduced_chi2, inside)) << inside;
  }
  // Where the error is seen at all its limit is widened to 1 + 2^(1/2) at most, so only a limit below that shows it: 1 + 2^(1/2) 4 (2/100)^(1/2)/.6 = 2.333.
  PriorFit fit{.reduced_chi2 = 1.0, .error_inflation = 2.3, .visible_share = 0.6, .sigma = 0.1, .n_measured = 100};
  const PriorFitLimits strict{.most_inflation = 1.5};
  EXPECT_EQ(prior_misfit(fit, strict), "");
  fit.error_inflation = 2.4;
  EXPECT_NE(prior_misfit(fit, strict), "");
}

// Where noise drowns the denoiser's error its inflation means nothing.
TEST(PriorFit, AnInvisibleErrorIsNotJudged) {
  const auto with_share = [](double share, double sigma) { return prior_misfit({.reduced_chi2 = 1.0, .error_inflation = 50.0, .visible_share = share, .sigma = sigma, .n_measured = 1000}); };
  for (const double share : {0.01, 0.17}) EXPECT_EQ(with_share(share, 0.1), "") << share;  // below 4 (2/1000)^(1/2) = .179
  EXPECT_NE(with_share(0.19, 0.1), "");
  EXPECT_EQ(with_share(0.19, 0.0), "") << "not asked";
}

TEST(PriorFit, NotANumberDoesNotFit) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(prior_misfit({.reduced_chi2 = nan, .error_inflation = 1.0, .visible_share = 1.0, .sigma = 0.1, .n_measured = 1000}), "");
  EXPECT_NE(prior_misfit({.reduced_chi2 = 1.0, .error_inflation = nan, .visible_share = 1.0, .sigma = 0.1, .n_measured = 1000}), "");
}

// Where A^H A is nearly diagonal in the prior's basis the solver is preconditioned, with what the operator has there and the prior on the host.
TEST(PriorFit, OnADeviceIsThatOfTheCpu) {
  const GaussianPrior prior(SpectralBasis::kDft, lorentzian_spectrum(16, 0.25), at::zeros({1}), 0.0, PriorInfo{});
  const at::Tensor mask = RandomStreams(9, 0, 1).uniform(0, {16, 16})[0].lt(0.5).to(at::kFloat), maps = ring_of_coils(3, 16, 16);
  const at::Tensor x = RandomStreams(2, 0, 3).normal(0, {1, 16, 16}, at::kComplexFloat);
  const auto fit_on = [&](at::Device device) {
    const auto op = std::make_shared<CoilOperator>(maps.to(device), mask.to(device));
    const GaussianLikelihood likelihood(op, op->forward(x.narrow(0, 0, 1).to(device)).squeeze(0), kSigmaY);
    return examine_prior_fit(prior, likelihood, x.to(device), 4);
  };
  const PriorFit here = fit_on(at::kCPU), there = fit_on(pretend::device());
  // Conjugate gradients stop a little later there; the rest is float32 roundings.
  EXPECT_NEAR(there.reduced_chi2, here.reduced_chi2, 1e-4 * here.reduced_chi2);
  EXPECT_NEAR(there.visible_share, here.visible_share, 1e-3 * here.visible_share);
  EXPECT_NEAR(there.error_inflation, here.error_inflation, 1e-3 * here.error_inflation);
}

}  // namespace
}  // namespace postrec::test
