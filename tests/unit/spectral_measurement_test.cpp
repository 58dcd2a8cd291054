#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "beds.hpp"
#include "expect_error.hpp"
#include "postrec/random.hpp"
#include "postrec/spectral_measurement.hpp"
#include "training/sampling_masks.hpp"

namespace postrec::test {
namespace {

// Some single samples and some lines, frequency 0 first.
at::Tensor scattered_mask(std::int64_t height, std::int64_t width) {
  at::Tensor mask = RandomStreams(3, 0, 1).uniform(0, {height, width}).squeeze(0).lt(0.3).to(at::kFloat);
  mask[0].fill_(1.0);
  mask[height / 2].fill_(0.0);
  return mask;
}

std::shared_ptr<Operator> one_coil(const at::Tensor& mask) {
  return std::make_shared<CoilOperator>(at::ones({1, mask.size(0), mask.size(1)}, at::kComplexFloat), mask);
}

TEST(SpectralNoise, SummaryIsTheAverageOverBands) {
  const std::int64_t height = 24, width = 18, bands = SpectralNoise::kBands;
  const at::Tensor v = RandomStreams(1, 0, 2).normal(0, {1, height, width}, at::kFloat).exp();
  const SpectralNoise noise(SpectralBasis::kDft, v);
  EXPECT_LT((noise.level().to(at::kDouble).square() - v.to(at::kDouble).mean({1, 2, 3})).abs().max().item<double>(), 1e-6);
  const at::Tensor fy = ((at::arange(height, at::kDouble) - height / 2) / static_cast<double>(height)).abs().unsqueeze(1).expand({height, width});
  const at::Tensor fx = ((at::arange(width, at::kDouble) - width / 2) / static_cast<double>(width)).abs().unsqueeze(0).expand({height, width});
  const at::Tensor radius = (fy.square() + fx.square()).sqrt();
  const at::Tensor value = (v.to(at::kDouble) / v.to(at::kDouble).mean({1, 2, 3}, true)).log() / 4.0;
  std::int64_t column = 0;
  for (const at::Tensor& f : {radius, fy, fx})
    for (std::int64_t band = 0; band < bands; ++band, ++column) {
      const at::Tensor hat = (1.0 - ((2.0 * f).sqrt().clamp_max(1.0) * (bands - 1.0) - static_cast<double>(band)).abs()).clamp_min(0.0);
      const double weight = hat.sum().item<double>();
      for (std::int64_t i = 0; i < 2; ++i) {
        const double expected = weight > 0.0 ? (value[i][0] * hat).sum().item<double>() / weight : 0.0;
        EXPECT_NEAR(noise.summary()[i][column].item<double>(), expected, 1e-6) << band;  // float32 of numbers below 1
      }
    }
}

TEST(SpectralNoise, WhiteNoiseHasNothingToTell) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    const SpectralNoise noise(basis, at::full({1, 2, 9, 12}, 0.49f));
    EXPECT_NEAR(noise.level().item<double>(), 0.7, 1e-7);
    EXPECT_LT(noise.summary().abs().max().item<double>(), 1e-7);
  }
}

TEST(SpectralNoise, DrawsHaveItsSpectrum) {
  const at::Tensor v = RandomStreams(1, 0, 1).normal(0, {1, 9, 12}, at::kFloat).exp();
  const at::Tensor white = RandomStreams(2, 0, 3).normal(0, {1, 9, 12}, at::kComplexFloat);
  const at::Tensor expected = SpectralCovariance(SpectralBasis::kDft, v[0]).apply_factor(white);
  EXPECT_LT((as_real_rows(SpectralNoise(SpectralBasis::kDft, v).from_white(white)) - as_real_rows(expected)).abs().max().item<double>(), 1e-6);
}

TEST(SpectralNoise, RefusesWhatIsNoSpectrum) {
  expect_error(ErrorKind::kBadData, "[N, C, H, W]", [] { SpectralNoise(SpectralBasis::kDft, at::ones({1, 4, 4})); });
  expect_error(ErrorKind::kBadData, "positive", [] { SpectralNoise(SpectralBasis::kDft, at::zeros({1, 1, 4, 4})); });
  expect_error(ErrorKind::kBadData, "finite", [] { SpectralNoise(SpectralBasis::kDft, at::full({1, 1, 4, 4}, INFINITY)); });
}

TEST(SpectralMeasurement, PivotIsTheFormula) {
  const std::int64_t height = 9, width = 12;
  const double sigma = 0.7, sigma_y = 0.2;
  const at::Tensor mask = scattered_mask(height, width);
  const auto op = one_coil(mask);
  const RandomStreams streams(5, 0, 2);
  const at::Tensor y = op->forward(streams.normal(0, {1, height, width}, at::kComplexFloat))[0], x_t = streams.normal(1, {1, height, width}, at::kComplexFloat);
  const SpectralMeasurement measurement(SpectralBasis::kDft, GaussianLikelihood(op, y, sigma_y));
  EXPECT_LT((at::fft_ifftshift(measurement.gain(), at::IntArrayRef{-2, -1}) - mask).abs().max().item<double>(), 1e-5);

  const Pivot pivot = measurement.pivot(x_t, sigma);
  const at::Tensor v = 1.0 / (1.0 / (sigma * sigma) + mask.to(at::kDouble) / (sigma_y * sigma_y));
  const at::Tensor z = v * (at::fft_fft2(x_t.to(at::kComplexDouble), {}, {-2, -1}, "ortho") / (sigma * sigma) + mask * y / (sigma_y * sigma_y));
  EXPECT_LT((at::fft_ifftshift(pivot.noise.variance(), at::IntArrayRef{-2, -1}) - v).abs().max().item<double>(), 1e-6);
  EXPECT_LT(at::abs(at::fft_fft2(pivot.z, {}, {-2, -1}, "ortho") - z).max().item<double>(), 1e-5);
}

// Over a small sigma_y^2 what rounding leaves of 0 would be a measurement.
TEST(SpectralMeasurement, RoundingIsNoMeasurement) {
  const double sigma = 50.0, sigma_y = 1e-5;
  const at::Tensor mask = scattered_mask(9, 12);
  const auto op = one_coil(mask);
  const RandomStreams streams(5, 0, 2);
  const at::Tensor y = op->forward(streams.normal(0, {1, 9, 12}, at::kComplexFloat))[0], x_t = sigma * streams.normal(1, {1, 9, 12}, at::kComplexFloat);
  const SpectralMeasurement measurement(SpectralBasis::kDft, GaussianLikelihood(op, y, sigma_y));
  const at::Tensor hidden = at::fft_fftshift(mask.eq(0), at::IntArrayRef{-2, -1});
  EXPECT_EQ(measurement.gain().masked_select(hidden.expand_as(measurement.gain())).abs().max().item<float>(), 0.0f);
  const auto hidden_part = [&](const at::Tensor& x) { return at::fft_fft2(x, {}, {-2, -1}, "ortho") * mask.eq(0); };
  const Pivot pivot = measurement.pivot(x_t, sigma);
  EXPECT_LT(at::abs(hidden_part(pivot.z) - hidden_part(x_t)).max().item<double>(), 1e-5 * 4 * sigma);
}

// log p(x_t, y | x) - log p(z | x) is the same for every x. Complex images, and real ones in both of their bases.
TEST(SpectralMeasurement, pivot) {
  struct Case {
    SpectralBasis basis;
    std::shared_ptr<Operator> op;
  };
  const Case cases[] = {{SpectralBasis::kDft, one_coil(scattered_mask(8, 8))},
                        {SpectralBasis::kDft, std::make_shared<RealFourierRows>(8, 8, std::vector<std::int64_t>{0, 1, 7, 4})},
                        {SpectralBasis::kDft, std::make_shared<RealFourierRows>(8, 8, std::vector<std::int64_t>{3})},
                        {SpectralBasis::kDct, std::make_shared<MaskOperator>(at::ones({8, 8}), 1, at::kFloat)}};
  const double sigma = 0.6, sigma_y = 0.3;
  for (const Case& one : cases) {
    const TensorSpec domain = one.op->domain();
    const RandomStreams streams(6, 0, 4);
    const at::Tensor x = streams.normal(0, domain.shape, domain.dtype), x_t = streams.normal(1, domain.shape, domain.dtype).slice(0, 0, 1);
    const at::Tensor y = one.op->forward(streams.normal(2, domain.shape, domain.dtype))[0];
    const Pivot pivot = SpectralMeasurement(one.basis, GaussianLikelihood(one.op, y, sigma_y)).pivot(x_t, sigma);
    const auto energy = [](const at::Tensor& difference) { return as_real_rows(difference).square().sum(1); };
    const at::Tensor separate = energy(x - x_t) / (sigma * sigma) + energy(one.op->forward(x) - y) / (sigma_y * sigma_y);
    const SpectralCovariance whitening(one.basis, pivot.noise.variance()[0].reciprocal());
    const at::Tensor together = energy(whitening.apply_sqrt(x - pivot.z));
    const at::Tensor gap = separate - together;
    // Sums of about 64 terms of size 1/sigma_y^2 = 11 in single precision.
    EXPECT_LT((gap - gap[0]).abs().max().item<double>(), 1e-5 * separate.max().item<double>());
    EXPECT_GT((separate - separate[0]).abs().max().item<double>(), 1.0);
  }
}

TEST(SpectralMeasurement, RefusesOperatorsThatAreNotDiagonal) {
  const auto refuse = [](SpectralBasis basis, const std::shared_ptr<Operator>& op) {
    const TensorSpec codomain = op->codomain();
    const at::Tensor y = RandomStreams(1, 0, 1).normal(0, codomain.shape, codomain.dtype)[0];
    expect_error(ErrorKind::kConfiguration, "not diagonal", [&] { SpectralMeasurement(basis, GaussianLikelihood(op, y, 0.1)); });
  };
  refuse(SpectralBasis::kDft, std::make_shared<CoilOperator>(ring_of_coils(3, 8, 8), scattered_mask(8, 8)));
  refuse(SpectralBasis::kDct, std::make_shared<MaskOperator>(hole(8, 2, 5), 1, at::kFloat));
  refuse(SpectralBasis::kDct, std::make_shared<RealFourierRows>(8, 8, std::vector<std::int64_t>{0, 1}));
}

TEST(SamplingMasks, AreWhatScannersUse) {
  const std::int64_t height = 48, width = 36, n_masks = 400;
  std::int64_t along_rows = 0, along_columns = 0;
  at::Tensor sum = at::zeros({height, width});
  for (std::int64_t i = 0; i < n_masks; ++i) {
    const at::Tensor mask = random_sampling_mask(height, width, RandomStreams(7, i, 1));
    EXPECT_TRUE(mask.eq(0.0).logical_or(mask.eq(1.0)).all().item<bool>());
    const double share = mask.mean().item<double>();
    EXPECT_GE(share, 1.0 / 12.0 - 0.5 / width);  // half a line of rounding
    EXPECT_LE(share, 0.5 + 0.5 / width);
    along_rows += mask.eq(mask.slice(1, 0, 1)).all().item<bool>();
    along_columns += mask.eq(mask.slice(0, 0, 1)).all().item<bool>();
    EXPECT_TRUE(mask.equal(random_sampling_mask(height, width, RandomStreams(7, i, 1))));
    sum += mask;
  }
  // 35 % each, standard error 2.4 %: five of them.
  EXPECT_NEAR(static_cast<double>(along_rows) / n_masks, 0.35, 0.12);
  EXPECT_NEAR(static_cast<double>(along_columns) / n_masks, 0.35, 0.12);
  EXPECT_GT(sum[height / 2][width / 2].item<double>(), 0.7 * n_masks);
  EXPECT_LT(sum[0][0].item<double>(), 0.4 * n_masks);
}

}  // namespace
}  // namespace postrec::test
