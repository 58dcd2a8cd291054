#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "beds.hpp"
#include "expect_error.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/sampler.hpp"

namespace postrec::test {
namespace {

// A power law over frequency in cycles per pixel, flat below f0: s(f) = a/(f0^2 + |f|^2), in the order of the basis.
at::Tensor power_law(SpectralBasis basis, std::int64_t rows, std::int64_t columns, double a = 0.01, double f0 = 0.02) {
  const auto axis = [&](std::int64_t n) {
    return basis == SpectralBasis::kDct ? at::arange(n, at::kDouble) / (2.0 * n) : (at::arange(n, at::kDouble) - n / 2) / static_cast<double>(n);
  };
  return (a / (f0 * f0 + axis(rows).square().unsqueeze(1) + axis(columns).square().unsqueeze(0))).to(at::kFloat).unsqueeze(0);
}

GaussianPrior prior_of(SpectralBasis basis, std::int64_t n, double pixel_mm = 1.0) {
  PriorInfo info;
  info.name = "test";
  return GaussianPrior(basis, power_law(basis, n, n), at::full({1}, 0.25f), pixel_mm, info);
}

at::Tensor images(SpectralBasis basis, std::int64_t batch, std::int64_t n) {
  return RandomStreams(3, 0, batch).normal(0, {1, n, n}, basis == SpectralBasis::kDft ? at::kComplexFloat : at::kFloat);
}

TEST(GaussianPrior, DenoiserIsTheFormula) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    const GaussianPrior prior = prior_of(basis, 12);
    const at::Tensor x = images(basis, 3, 12);
    const at::Tensor s = prior.spectrum();
    for (const double sigma : {0.05, 0.5, 20.0}) {
      // mean + C (C + sigma^2 I)^-1 (x - mean) by dense matrices.
      const TensorSpec spec{{1, 12, 12}, x.scalar_type()};
      const at::Tensor c = dense_matrix([&](const at::Tensor& v) { return SpectralCovariance(basis, s).apply(v); }, spec);
      const at::Tensor rows = as_real_rows(x - 0.25), noisy = c + sigma * sigma * at::eye(c.size(0), at::kDouble);
      const at::Tensor expected = at::linalg_solve(noisy, rows.t()).t().matmul(c.t()) + as_real_rows(at::full_like(x, 0.25));
      EXPECT_LT((as_real_rows(prior.denoise(x, sigma)) - expected).abs().max().item<double>(), 2e-5);
      // Tweedie's score is that of N(mean, C + sigma^2 I).
      const at::Tensor score = -at::linalg_solve(noisy, rows.t()).t();
      EXPECT_LT((as_real_rows(prior.score(x, sigma)) - score).abs().max().item<double>(), 2e-5 / (sigma * sigma));
    }
  }
}

TEST(GaussianPrior, DrawsOfTheNoisyImageHaveItsMeanAndCovariance) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    const GaussianPrior prior = prior_of(basis, 12);
    const at::Tensor white = images(basis, 3, 12), expected = SpectralCovariance(basis, prior.spectrum() + 0.5f * 0.5f).apply_sqrt(white) + 0.25;
    EXPECT_TRUE(at::allclose(at::view_as_real(prior.draw_noisy(white, 0.5).to(at::kComplexFloat)), at::view_as_real(expected.to(at::kComplexFloat)), 1e-5, 1e-5));
  }
}

// Begun at noise alone where it is half as large as the image's mean amplitude, samples would be dark. 400 of them: their mean has a standard deviation of 4 / 16 / 20, five of which one in
// two million passes.
TEST(GaussianPrior, AWalkWithoutAMeasurementBeginsWithItsMean) {
  at::Tensor spectrum = at::full({1, 16, 16}, 0.01f);
  spectrum[0][0][0] = 16.0f;
  PriorInfo info;
  info.name = "test";
  const GaussianPrior prior(SpectralBasis::kDct, spectrum, at::full({1}, 3.0f), 0.0, info);
  SamplerOptions options;
  options.n_samples = 400;
  options.n_steps = 3;
  options.sigma_max = 2.0;
  Observer nobody;
  EXPECT_NEAR(sample(prior, nullptr, {1, 16, 16}, options, nobody).x.mean().item<double>(), 3.0, 5.0 * 4.0 / 16 / 20);
}

TEST(GaussianPrior, ErrorCovarianceIsTheFormula) {
  const GaussianPrior prior = prior_of(SpectralBasis::kDct, 8);
  const at::Tensor s = prior.spectrum(), c = prior.error_covariance(0.3, {1, 8, 8}).eigenvalues();
  EXPECT_LT((c - 0.09 * s / (s + 0.09)).abs().max().item<double>(), 1e-7);
}

TEST(GaussianPrior, TableIsExactWhereSizesAgree) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct})
    EXPECT_TRUE(at::equal(prior_of(basis, 16).spectrum_for({1, 16, 16}), prior_of(basis, 16).spectrum()));
}

// Other sizes see the same function of frequency. Worst halfway between DC and the next cell
// of this table of 64, whose spectrum has its knee there: 0.12 of the logarithm.
TEST(GaussianPrior, TableIsInterpolatedToOtherSizes) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct})
    for (const auto& [rows, columns] : {std::pair{32, 32}, {64, 96}, {65, 63}, {130, 101}}) {
      const at::Tensor ratio = prior_of(basis, 64).spectrum_for({1, rows, columns}) / power_law(basis, rows, columns);
      EXPECT_LT(ratio.log().abs().max().item<double>(), 0.15) << rows << "x" << columns;
    }
  // Half the size meets every second frequency of the table exactly.
  const at::Tensor half = prior_of(SpectralBasis::kDft, 64).spectrum_for({1, 32, 32});
  EXPECT_LT((half / power_law(SpectralBasis::kDft, 32, 32) - 1.0).abs().max().item<double>(), 1e-5);
}

// s'(f) = s(f p/p') (p/p')^2: the power law becomes a (p/p')^2 / (f0^2 + (f p/p')^2) = a / (f0^2 (p'/p)^2 + f^2).
TEST(GaussianPrior, PixelSizeScalesTheSpectrum) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct})
    for (const double pixel_mm : {0.7, 1.0, 1.6}) {
      const GaussianPrior other = prior_of(basis, 64).at_pixel_size(pixel_mm);
      EXPECT_EQ(other.pixel_mm(), pixel_mm);
      const at::Tensor ratio = other.spectrum() / power_law(basis, 64, 64, 0.01, 0.02 * pixel_mm);
      // Beyond the table's square the power law of its outer half is followed: within 0.2 of the logarithm here.
      EXPECT_LT(ratio.log().abs().max().item<double>(), 0.2) << pixel_mm;
    }
  PriorInfo info;
  const GaussianPrior unknown(SpectralBasis::kDct, at::ones({1, 4, 4}), at::zeros({1}), 0.0, info);
  expect_error(ErrorKind::kBadData, "pixel size", [&] { unknown.at_pixel_size(1.0); });
  expect_error(ErrorKind::kUsage, "pixel size", [&] { prior_of(SpectralBasis::kDct, 8).at_pixel_size(-1.0); });
}

TEST(GaussianPrior, RefusesWhatIsNoSpectrum) {
  const auto make = [](const at::Tensor& s, const at::Tensor& mean, double pixel_mm) {
    PriorInfo info;
    info.name = "bad";
    GaussianPrior(SpectralBasis::kDct, s, mean, pixel_mm, info);
  };
  expect_error(ErrorKind::kBadData, "'bad'", [&] { make(at::zeros({1, 4, 4}), at::zeros({1}), 1.0); });
  expect_error(ErrorKind::kBadData, "finite", [&] { make(at::full({1, 4, 4}, INFINITY), at::zeros({1}), 1.0); });
  expect_error(ErrorKind::kBadData, "mean", [&] { make(at::ones({1, 4, 4}), at::zeros({2}), 1.0); });
  expect_error(ErrorKind::kBadData, "float32", [&] { make(at::ones({1, 4, 4}, at::kDouble), at::zeros({1}), 1.0); });
  expect_error(ErrorKind::kBadData, "pixel size", [&] { make(at::ones({1, 4, 4}), at::zeros({1}), NAN); });
  expect_error(ErrorKind::kBadData, "channels", [&] { prior_of(SpectralBasis::kDct, 8).spectrum_for({2, 8, 8}); });
}

// A prior fitted to samples of a prior is that prior. 400 images: the power at DC of the DCT, one coefficient an image, has a relative standard
// error of sqrt(2/400) = 0.07, every other cell less, by averaging over neighbours; that average's own bias beside DC is 0.12. 4.5 standard
// errors and the bias: 0.44 at DC, and less elsewhere.
TEST(GaussianFit, FindsThePriorThatMadeTheImages) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    const GaussianPrior truth = prior_of(basis, 24);
    GaussianFit fit(basis, 1, 24, 1.0);
    const double offset = basis == SpectralBasis::kDct ? 0.25 : 0.0;
    const at::Tensor x = SpectralCovariance(basis, truth.spectrum()).apply_factor(images(basis, 400, 24)) + offset;
    for (std::int64_t i = 0; i < 400; ++i) fit.add(x[i], 1.0);
    PriorInfo info;
    info.name = "fitted";
    const GaussianPrior fitted = fit.finish(info);
    EXPECT_EQ(fitted.info().name, "fitted");
    EXPECT_LT((fitted.spectrum() / truth.spectrum()).log().abs().max().item<double>(), 0.44);
    // The mean's standard error is sqrt(s(0)/n pixels/400) = 0.2; 4.5 of them would say little, so the DC power above carries the test.
    EXPECT_NEAR(fitted.mean()[0].item<double>(), offset, 4.5 * std::sqrt(truth.spectrum().max().item<double>() / (24 * 24) / 400));
  }
}

TEST(GaussianFit, SpectrumOfComplexImagesIsSymmetric) {
  for (const std::int64_t n : {10, 11}) {
    GaussianFit fit(SpectralBasis::kDft, 1, n, 1.0);
    for (std::int64_t i = 0; i < 3; ++i) fit.add(images(SpectralBasis::kDft, 3, n)[i], 1.0);
    const at::Tensor s = fit.finish({}).spectrum()[0];
    for (std::int64_t r = 0; r < n; ++r)
      for (std::int64_t c = 0; c < n; ++c) {
        const std::int64_t opposite_r = (2 * (n / 2) - r + n) % n, opposite_c = (2 * (n / 2) - c + n) % n;
        EXPECT_FLOAT_EQ(s[r][c].item<float>(), s[opposite_r][opposite_c].item<float>());
      }
  }
}

// Images of other sizes and pixel sizes tell of the same spectrum; cells that none of them reaches are filled from their neighbours.
TEST(GaussianFit, TakesOtherSizesAndPixelSizes) {
  const GaussianPrior truth = prior_of(SpectralBasis::kDct, 64, 1.0);
  GaussianFit fit(SpectralBasis::kDct, 1, 32, 1.0);
  const GaussianPrior coarse = truth.at_pixel_size(1.25);
  for (std::int64_t i = 0; i < 200; ++i) {
    const auto draw = [&](const GaussianPrior& prior, std::int64_t rows, std::int64_t columns) {
      return SpectralCovariance(SpectralBasis::kDct, prior.spectrum_for({1, rows, columns}))
          .apply_factor(RandomStreams(5, i, 1).normal(rows, {1, rows, columns}, at::kFloat))[0] + 0.25;
    };
    fit.add(draw(truth, 40, 30), 1.0);
    fit.add(draw(coarse, 25, 33), 1.25);
  }
  const at::Tensor ratio = fit.finish({}).spectrum() / truth.spectrum_for({1, 32, 32});
  EXPECT_GT(ratio.min().item<double>(), 0.0);
  // DC and its neighbours share coefficients of different frequencies; elsewhere the agreement is that of the Monte Carlo error.
  EXPECT_LT(ratio[0].narrow(0, 2, 28).narrow(1, 2, 28).log().abs().max().item<double>(), 0.35);
}

// One image says nothing about the spread of the mean, and images may hold no power at high frequency: s > 0 all the same.
TEST(GaussianFit, LeavesNothingAtZero) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    GaussianFit fit(basis, 1, 16, 0.0);
    const at::Tensor smooth = wave(10, 1, 0, 0.5);
    fit.add(basis == SpectralBasis::kDft ? at::complex(smooth, smooth) : smooth, 0.0);
    const at::Tensor s = fit.finish({}).spectrum();
    EXPECT_GT(s.min().item<double>(), 0.0);
    EXPECT_TRUE(at::isfinite(s).all().item<bool>());
  }
}

TEST(GaussianFit, RefusesWhatItCannotFit) {
  GaussianFit fit(SpectralBasis::kDct, 1, 8, 1.0);
  expect_error(ErrorKind::kBadData, "no image", [&] { fit.finish({}); });
  expect_error(ErrorKind::kBadData, "real", [&] { fit.add(at::zeros({1, 8, 8}, at::kComplexFloat), 1.0); });
  expect_error(ErrorKind::kBadData, "NaN", [&] { fit.add(at::full({1, 8, 8}, NAN), 1.0); });
  expect_error(ErrorKind::kUsage, "table size", [&] { GaussianFit(SpectralBasis::kDct, 1, 1, 1.0); });
  fit.add(at::ones({1, 8, 8}), 1.0);
  expect_error(ErrorKind::kBadData, "constant", [&] { fit.finish({}); });
}

}  // namespace
}  // namespace postrec::test
