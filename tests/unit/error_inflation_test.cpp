#include "error_inflation.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "beds.hpp"
#include "postrec/random.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSize = 64, kBatch = 8;
constexpr double kNoise = 0.05;
const at::Tensor kUsualNoise = at::zeros({kBatch, 5});  // one for each octave: as much energy as expected

/// A scan of which `errors` [B, 1, H, W] are the denoiser's errors.
struct Scan {
  explicit Scan(const at::Tensor& errors) {
    const auto op = std::make_shared<MaskOperator>(hole(kSize, 20, 40), 1, at::kFloat);
    const at::Tensor truth = RandomStreams(1, 0, 1).normal(0, {1, kSize, kSize}, at::kFloat);
    const at::Tensor y = op->forward(truth) + kNoise * RandomStreams(2, 0, 1).normal(0, op->codomain().shape, at::kFloat);
    likelihood = std::make_unique<GaussianLikelihood>(op, y[0], kNoise);
    denoised = truth - errors;
  }

  std::unique_ptr<GaussianLikelihood> likelihood;
  at::Tensor denoised;
};

/// As variances of noise over frequencies: [1, H, W] in the order of the basis.
SpectralCovariance covariance(SpectralBasis basis) {
  const at::Tensor spectrum = lorentzian_spectrum(kSize, 0.25);
  return {basis, basis == SpectralBasis::kDct ? spectrum.roll({-kSize / 2, -kSize / 2}, {-2, -1}) : spectrum};
}

// The last octave holds 64^2 - pi 16^2 = 3300 frequencies, of which the mask shows nine in ten: a relative standard deviation of .026 for one sample, of .013 for the
// four probes, which all samples share. Five of the two together are a false alarm of 6e-7, before what correlations among frequencies add.
TEST(ErrorInflation, FindsWhatTheErrorIsOverTheTable) {
  for (const SpectralBasis basis : {SpectralBasis::kDct, SpectralBasis::kDft})
    for (const double factor : {0.5, 1.0, 3.0}) {
      const SpectralCovariance c = covariance(basis);
      const Scan scan(c.apply_factor(RandomStreams(3, 0, kBatch).normal(0, {1, kSize, kSize}, at::kFloat)) * std::sqrt(factor));
      const auto estimate = ErrorInflation(*scan.likelihood, basis, {1, kSize, kSize}).inflate(c, scan.denoised, {}, kUsualNoise);
      const at::Tensor ratio = estimate.covariance.factor_eigenvalues() / c.factor_eigenvalues();
      const at::Tensor highest = ratio.select(-1, kSize / 2).select(-1, kSize / 2).flatten();
      EXPECT_NEAR(highest.mean().item<double>(), factor, 5 * factor * std::hypot(0.026 / std::sqrt(kBatch), 0.013)) << "basis " << static_cast<int>(basis);
      for (std::int64_t i = 0; i < kBatch; ++i) {
        const double mean = (ratio[i] * c.factor_eigenvalues()).sum().item<double>() / c.factor_eigenvalues().sum().item<double>();
        EXPECT_NEAR(estimate.inflation[i], mean, 1e-5 * mean);  // single precision
      }
    }
}

// Law: reproducible. What a sample is told does not depend on the others of its batch.
TEST(ErrorInflation, reproducible) {
  const SpectralCovariance c = covariance(SpectralBasis::kDct);
  const Scan scan(c.apply_factor(RandomStreams(3, 0, kBatch).normal(0, {1, kSize, kSize}, at::kFloat)));
  const ErrorInflation inflation(*scan.likelihood, SpectralBasis::kDct, {1, kSize, kSize});
  const at::Tensor draws = RandomStreams(4, 0, kBatch).normal(0, {5}, at::kFloat);
  const auto together = inflation.inflate(c, scan.denoised, {}, draws);
  for (std::int64_t i = 0; i < kBatch; ++i) {
    const auto alone = inflation.inflate(c, scan.denoised.narrow(0, i, 1), {}, draws.narrow(0, i, 1));
    EXPECT_EQ(alone.inflation.front(), together.inflation[i]);
    EXPECT_TRUE(at::equal(alone.covariance.eigenvalues()[0], together.covariance.eigenvalues()[i]));
  }
}

// Where noise drowns the error nothing is learned, and what was expected is kept: at first the table.
TEST(ErrorInflation, IsSilentInNoise) {
  const SpectralCovariance c = covariance(SpectralBasis::kDct), tiny(SpectralBasis::kDct, c.eigenvalues() * 1e-9f);
  const Scan scan(at::zeros({kBatch, 1, kSize, kSize}));
  for (const double inflation : ErrorInflation(*scan.likelihood, SpectralBasis::kDct, {1, kSize, kSize}).inflate(tiny, scan.denoised, {}, kUsualNoise).inflation)
    EXPECT_NEAR(inflation, 1.0, 0.01);
  const at::Tensor expected = at::full({kBatch, 5}, 2.0f);
  const auto later = ErrorInflation(*scan.likelihood, SpectralBasis::kDct, {1, kSize, kSize}).inflate(tiny, scan.denoised, expected, kUsualNoise);
  EXPECT_LT((later.by_band - expected).abs().max().item<double>(), 0.01);
}

// What is said to be noise is not error. In the last octave n frequencies have noise of variance kNoise^2, of which the mask shows as large a share as of the error's,
// so that one deviation of the noise's energy, (2 n)^(1/2) kNoise^2, is so many times the error's. Within a tenth: four probes and the mask's hole are worth .05.
TEST(ErrorInflation, WhatIsNoiseIsNotError) {
  const SpectralCovariance c = covariance(SpectralBasis::kDct);
  const Scan scan(c.apply_factor(RandomStreams(3, 0, kBatch).normal(0, {1, kSize, kSize}, at::kFloat)));
  const ErrorInflation inflation(*scan.likelihood, SpectralBasis::kDct, {1, kSize, kSize});
  const auto last_octave = [&](double deviations) { return inflation.inflate(c, scan.denoised, {}, at::full({kBatch, 5}, deviations)).by_band.select(1, 4).mean().item<double>(); };
  const at::Tensor frequency = at::arange(kSize, at::kFloat) / (2.0 * kSize), octave = at::hypot(frequency.unsqueeze(1), frequency).gt(0.25);
  const double n = octave.sum().item<double>(), error = (c.eigenvalues() * octave).sum().item<double>();
  const double expected = std::sqrt(2.0 * n) * kNoise * kNoise / error;
  EXPECT_NEAR((last_octave(-2.0) - last_octave(2.0)) / 4.0, expected, 0.1 * expected);
}

}  // namespace
}  // namespace postrec::test
