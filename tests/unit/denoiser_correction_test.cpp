#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "expect_error.hpp"
#include "postrec/denoiser_correction.hpp"
#include "postrec/error_table.hpp"
#include "postrec/random.hpp"
#include "shifting_denoiser.hpp"

namespace postrec::test {
namespace {

at::Tensor noise(std::int64_t n, std::uint64_t draw, const std::vector<std::int64_t>& shape, at::ScalarType dtype = at::kFloat) {
  return RandomStreams(5, 0, n).normal(draw, shape, dtype);
}

/// 0, .01, .1 and .5 cycles per pixel; two levels, one channel.
at::Tensor frequencies() { return at::tensor({0.0f, 0.01f, 0.1f, 0.5f}); }
DenoiserCorrection with_shares(const std::vector<float>& first, const std::vector<float>& second, SpectralBasis basis) {
  return DenoiserCorrection(basis, frequencies(), at::stack({at::tensor(first), at::tensor(second)}).unsqueeze(1));
}

class Correction : public ::testing::TestWithParam<SpectralBasis> {
 protected:
  at::ScalarType dtype() const { return GetParam() == SpectralBasis::kDft ? at::kComplexFloat : at::kFloat; }
  at::Tensor image(std::uint64_t draw, std::int64_t n = 3) const { return noise(n, draw, {1, 20, 27}, dtype()); }
};

TEST_P(Correction, ReturnsNothingOrEverything) {
  const at::Tensor x = image(0), d = image(1);
  const DenoiserCorrection none = with_shares({0, 0, 0, 0}, {0, 0, 0, 0}, GetParam()), all = with_shares({1, 1, 1, 1}, {1, 1, 1, 1}, GetParam());
  EXPECT_TRUE(at::equal(none.apply(x, d, 0, 0.5), d));
  // Two transforms and a sum of numbers of about 1 and at most 5.
  EXPECT_LT((all.apply(x, d, 0, 0.5) - x).abs().max().item<double>(), 1e-5);
}

TEST_P(Correction, ReturnsTheMeanAlone) {
  const at::Tensor x = image(0), d = image(1);
  const at::Tensor corrected = with_shares({1, 0, 0, 0}, {1, 0, 0, 0}, GetParam()).apply(x, d, 1, 0.0);
  const at::Tensor expected = d + (x - d).mean({2, 3}, true);
  EXPECT_LT((corrected - expected).abs().max().item<double>(), 1e-5);
}

TEST_P(Correction, TakesImagesOfAnySizeInTurn) {
  const DenoiserCorrection correction = with_shares({1, 0, 0, 0}, {1, 0, 0, 0}, GetParam());
  for (const std::int64_t width : {27, 14, 27}) {
    const at::Tensor x = image(0).narrow(3, 0, width), d = image(1).narrow(3, 0, width);
    EXPECT_LT((correction.apply(x, d, 0, 0.0) - (d + (x - d).mean({2, 3}, true))).abs().max().item<double>(), 1e-5);
  }
}

// Between levels the share is their mean by weight, in every image of a batch the same as alone.
TEST_P(Correction, LiesBetweenItsLevelsAndDoesNotMindTheBatch) {
  const at::Tensor x = image(0), d = image(1);
  const DenoiserCorrection correction = with_shares({0, 0, 0, 0}, {1, 1, 1, 1}, GetParam());
  EXPECT_LT((correction.apply(x, d, 0, 0.25) - (d * 0.75 + x * 0.25)).abs().max().item<double>(), 1e-5);
  const at::Tensor together = correction.apply(x, d, 0, 0.25);
  for (std::int64_t b = 0; b < 3; ++b) EXPECT_TRUE(at::equal(together.narrow(0, b, 1), correction.apply(x.narrow(0, b, 1), d.narrow(0, b, 1), 0, 0.25)));
  // Beyond the last level it is the last one's.
  EXPECT_TRUE(at::equal(correction.apply(x, d, 1, 0.0), correction.apply(x, d, 1, 0.5)));
}

// A wave along the rows: .1 cycles per pixel is a frequency of the list, .2 lies log(2)/log(5) of the way to the next.
TEST(DenoiserCorrection, ReadsSharesAtAnImagesFrequencies) {
  const DenoiserCorrection correction = with_shares({0, 0, 0.25f, 0.75f}, {0, 0, 0, 0}, SpectralBasis::kDft);
  const auto share_of = [&](std::int64_t k) {
    const at::Tensor wave = at::cos(at::arange(20, at::kFloat) * (6.283185307179586 * static_cast<double>(k) / 20.0)).view({1, 1, 20, 1}).expand({1, 1, 20, 10}).contiguous();
    const at::Tensor x = at::complex(wave, at::zeros_like(wave));
    return (at::real(correction.apply(x, at::zeros_like(x), 0, 0.0)) * wave).sum().item<double>() / wave.square().sum().item<double>();
  };
  EXPECT_NEAR(share_of(2), 0.25, 1e-6);
  EXPECT_NEAR(share_of(4), 0.25 + 0.5 * std::log(2.0) / std::log(5.0), 1e-6);
  EXPECT_NEAR(share_of(10), 0.75, 1e-6);
}

// Methods differentiate through the denoiser: D = 2 x gives 2 - lambda.
TEST_P(Correction, IsDifferentiable) {
  const DenoiserCorrection correction = with_shares({0.5f, 0.5f, 0.5f, 0.5f}, {0, 0, 0, 0}, GetParam());
  correction.apply(image(0), image(1), 0, 0.0);  // what is kept for the shape was made without a graph
  const at::AutoGradMode graph(true);
  at::Tensor x = image(0).requires_grad_(true);
  const at::Tensor out = correction.apply(x, x * 2.0, 0, 0.0), direction = image(2);
  const at::Tensor product = out.is_complex() ? at::real(out * direction.conj()).sum() : (out * direction).sum();
  product.backward();
  EXPECT_LT((x.grad() - direction * 1.5).abs().max().item<double>(), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Bases, Correction, ::testing::Values(SpectralBasis::kDft, SpectralBasis::kDct));

// What the best shares are, where that is known: white images of variance 1 and a denoiser D = a x_t whose a is right (w = 1/(1 + sigma^2)), or too small. D + lambda (x_t - D) is
// right with lambda = (w - a)/(1 - a). 12 images of 2000 coefficients and more: about 200 of them share the least of the rings looked at, from 1/16 cycles per pixel
// on, so that the error of lambda, sqrt(w sigma^2/(1 - a)^2/(1 + sigma^2)/200), is .05 at most; 6 of it.
TEST(CorrectionMeasurement, FindsTheBestShares) {
  const std::vector<std::pair<double, double>> levels{{0.5, 1.0}, {0.5, 0.7}, {1.0, 0.7}, {1.0, 1.0}};  // sigma, a/w
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    const at::ScalarType dtype = basis == SpectralBasis::kDft ? at::kComplexFloat : at::kFloat;
    CorrectionMeasurement measurement(basis);
    for (const auto& [sigma, too_small] : levels) {
      for (std::uint64_t i = 0; i < 12; ++i) {
        const std::vector<std::int64_t> shape{1, 45, 50 + static_cast<std::int64_t>(i)};
        const at::Tensor x0 = noise(1, 2 * i, shape, dtype), n = noise(1, 2 * i + 1, shape, dtype) * sigma;
        measurement.add((x0 + n) * (too_small / (1.0 + sigma * sigma)) - x0, n);
      }
      measurement.finish_level();
    }
    const DenoiserCorrection found = measurement.correction();
    for (std::size_t level = 0; level < levels.size(); ++level) {
      const auto [sigma, too_small] = levels[level];
      const double w = 1.0 / (1.0 + sigma * sigma), a = w * too_small;
      const at::Tensor far = found.shares()[static_cast<std::int64_t>(level)][0].masked_select(found.frequencies().ge(1.0 / 16));
      EXPECT_GT(far.numel(), 5);
      EXPECT_LT((far - (w - a) / (1.0 - a)).abs().max().item<double>(), 0.3) << sigma;
      EXPECT_NEAR(far.mean().item<double>(), (w - a) / (1.0 - a), 0.05 + 0.05 * (too_small == 1.0)) << sigma;  // shares below 0 are taken to be 0
    }
  }
}

// The mean of 32x32 pixels shifted by .02 is a coefficient of .64 beside noise of .05 or .5. After the correction what is left of it is no more than the noise.
TEST(CorrectionMeasurement, UndoesAShiftOfTheMean) {
  const GaussianPrior prior = smooth_gaussian();
  const SpectralCovariance covariance(prior.basis(), prior.spectrum_for({1, 32, 32}));
  std::vector<at::Tensor> images;
  for (std::uint64_t i = 0; i < 40; ++i) images.push_back(covariance.apply_factor(noise(1, 100 + i, {1, 32, 32}))[0]);
  const ShiftingDenoiser denoise{prior, 0.02};
  const ErrorTable table = measure_error_table(denoise, SpectralBasis::kDct, images, 32, 7, {0.05, 0.5});
  const at::Tensor mean_shares = table.correction()->shares().select(2, 0).flatten();
  EXPECT_GT(mean_shares[0].item<double>(), 0.95);  // .05^2 beside .64^2: .994 of it
  EXPECT_GT(mean_shares[1].item<double>(), 0.3);
  for (const double sigma : {0.05, 0.5}) {
    double before = 0.0, after = 0.0;
    for (std::uint64_t i = 0; i < 40; ++i) {
      const at::Tensor x0 = covariance.apply_factor(noise(1, 300 + i, {1, 32, 32})), x_t = x0 + sigma * noise(1, 400 + i, {1, 32, 32});
      const at::Tensor d = denoise(x_t, sigma);
      before += (d - x0).mean().square().item<double>() / 40;
      after += (table.corrected(x_t, d, sigma) - x0).mean().square().item<double>() / 40;
    }
    // Of 40 squares the mean is 1 +- .22: 3.6 deviations, above what the noise alone leaves.
    EXPECT_LT(after, 1.8 * sigma * sigma / 1024) << sigma;
    EXPECT_GT(before, 1.4 * after) << sigma;
  }
}

TEST(CorrectionMeasurement, FillsWhereNoImageHasACoefficient) {
  CorrectionMeasurement measurement(SpectralBasis::kDct);
  const at::Tensor x0 = noise(1, 0, {1, 8, 8}), n = noise(1, 1, {1, 8, 8});
  measurement.add(x0 * -1.0, n);               // D = 0 where x_t is worth half: every share known is far from 0
  measurement.finish_level();
  const DenoiserCorrection found = measurement.correction();
  // The least frequency but 0 of 8x8 pixels is 1/16, four octaves above the list's second.
  EXPECT_EQ(found.shares()[0][0][1].item<float>(), found.shares()[0][0][8].item<float>());
  EXPECT_GT(found.shares()[0][0][1].item<float>(), 0.0f);
  expect_error(ErrorKind::kUsage, "no noise level", [] { CorrectionMeasurement(SpectralBasis::kDct).correction(); });
}

TEST(DenoiserCorrection, RefusesWhatIsNone) {
  const auto refuse = [](const char* named, const at::Tensor& f, const at::Tensor& shares) {
    expect_error(ErrorKind::kBadData, named, [&] { DenoiserCorrection(SpectralBasis::kDct, f, shares); });
  };
  const at::Tensor good = at::zeros({2, 1, 4});
  DenoiserCorrection(SpectralBasis::kDct, frequencies(), good);
  refuse("rise", frequencies().flip(0), good);
  refuse("rise", frequencies() + 0.1, good);
  refuse("rise", frequencies().to(at::kDouble), good);
  refuse("rise", at::tensor({0.0f, 0.1f, 0.1f, 0.5f}), good);
  refuse("rise", at::tensor({0.0f, 0.1f, 0.2f, INFINITY}), good);
  refuse("rise", frequencies().narrow(0, 0, 2), good.narrow(2, 0, 2));
  refuse("frequencies", frequencies(), at::zeros({2, 1, 3}));
  refuse("frequencies", frequencies(), at::zeros({0, 1, 4}));
  refuse("frequencies", frequencies(), at::zeros({1, 4}));
  refuse("share", frequencies(), good - 0.1);
  refuse("share", frequencies(), good + 1.1);
  refuse("share", frequencies(), good * NAN);
  expect_error(ErrorKind::kBadData, "levels and channels", [&] {
    ErrorTable(SpectralBasis::kDct, {0.1}, at::ones({1, 1, 4, 4}), {}, DenoiserCorrection(SpectralBasis::kDct, frequencies(), good));
  });
}

}  // namespace
}  // namespace postrec::test
