#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "expect_error.hpp"
#include "postrec/error_table.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/random.hpp"

namespace postrec::test {
namespace {

/// s = 0.05 + 1/(1 + (f/0.1)^2), smooth over the cells of a 16x16 table, different in each channel.
GaussianPrior smooth_prior(SpectralBasis basis, std::int64_t channels) {
  constexpr std::int64_t kSize = 64;
  const at::Tensor i = at::arange(kSize, at::kDouble);
  const at::Tensor f = basis == SpectralBasis::kDct ? i / (2.0 * kSize) : (i - kSize / 2) / kSize;
  const at::Tensor squared = f.square().unsqueeze(1) + f.square().unsqueeze(0);
  std::vector<at::Tensor> spectra;
  for (std::int64_t c = 0; c < channels; ++c) spectra.push_back((0.05 + (1.0 + c) / (1.0 + squared * 100.0)).to(at::kFloat));
  return GaussianPrior(basis, at::stack(spectra), at::zeros({channels}, at::kFloat), 0.0, {"smooth", "CC0", "nothing", PriorIntensity::kUnit, ""});
}

at::Tensor drawn(const GaussianPrior& prior, std::int64_t index, const std::vector<std::int64_t>& shape) {
  const SpectralCovariance covariance(prior.basis(), prior.spectrum_for(shape));
  return covariance.apply_factor(RandomStreams(77, index, 1).normal(0, shape, prior.domain().dtype)).squeeze(0);
}

/// Largest |log(measured/exact)| over all cells and channels, and the mean of the logarithm.
struct Deviation {
  double largest = 0.0;
  double mean = 0.0;
};
Deviation deviation(const SpectralCovariance& measured, const SpectralCovariance& exact) {
  const at::Tensor ratio = (measured.eigenvalues() / exact.eigenvalues()).log();
  return {ratio.abs().max().item<double>(), ratio.mean(at::kDouble).item<double>()};
}

struct Case {
  SpectralBasis basis;
  std::int64_t channels;
};
class ErrorTableOfAGaussian : public ::testing::TestWithParam<Case> {};

// The exact c is s sigma^2/(s + sigma^2). 20 images of about 48x40 put 150 coefficients into a cell of 16x16 (38 into a corner of the DCT); smoothing over 3x3
// cells sums the weights' squares to (6/16)^2 = 0.14, at a corner of the DCT to (0.56)^2. A real coefficient's square has relative deviation sqrt(2), so a
// cell's is sqrt(2 * 0.14/150) = 0.043, at the DC corner sqrt(2 * 0.31/38) = 0.13: 5 of them are 0.65 there. Elsewhere less; the limit 0.6 has a false-alarm rate
// of 2e-5 in such a corner, of which there are 12. The mean of the logarithm over all cells: 150 * 256/2 degrees of freedom give 0.01, plus smoothing bias of up to 0.03 (12 % beside DC): limit 0.05.
TEST_P(ErrorTableOfAGaussian, IsTheClosedForm) {
  const GaussianPrior prior = smooth_prior(GetParam().basis, GetParam().channels);
  std::vector<at::Tensor> images;
  for (std::int64_t i = 0; i < 20; ++i) images.push_back(drawn(prior, i, {GetParam().channels, 45 + i % 7, 40 + 3 * (i % 3)}));
  const auto denoise = [&](const at::Tensor& x_t, double sigma) { return prior.denoise(x_t, sigma); };
  const ErrorTable table = measure_error_table(denoise, GetParam().basis, images, 16, 5, {0.1, 0.5, 3.0});
  EXPECT_EQ(table.eigenvalues().sizes(), at::IntArrayRef({3, GetParam().channels, 16, 16}));
  for (const double sigma : {0.1, 0.5, 3.0})
    for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{GetParam().channels, 16, 16}, {GetParam().channels, 45, 61}}) {
      const Deviation found = deviation(table.at_sigma(sigma, shape), prior.error_covariance(sigma, shape));
      EXPECT_LT(found.largest, 0.6) << sigma;
      EXPECT_LT(std::abs(found.mean), 0.05) << sigma;
    }
  // Not by accident: a wrong c, sigma^2, is far away where s is not far above sigma^2.
  const SpectralCovariance flat(GetParam().basis, at::full({GetParam().channels, 45, 61}, 9.0f));
  EXPECT_GT(std::abs(deviation(table.at_sigma(3.0, {GetParam().channels, 45, 61}), flat).mean), 1.0);
}

INSTANTIATE_TEST_SUITE_P(Bases, ErrorTableOfAGaussian, ::testing::Values(Case{SpectralBasis::kDft, 1}, Case{SpectralBasis::kDct, 1}, Case{SpectralBasis::kDct, 3}));

TEST(ErrorTable, MeasuresTheSameTwiceAndSymmetric) {
  const GaussianPrior prior = smooth_prior(SpectralBasis::kDft, 1);
  const auto denoise = [&](const at::Tensor& x_t, double sigma) { return prior.denoise(x_t, sigma); };
  const std::vector<at::Tensor> images{drawn(prior, 0, {1, 20, 17}), drawn(prior, 1, {1, 33, 16})};
  const at::Tensor first = measure_error_table(denoise, SpectralBasis::kDft, images, 8, 3, {0.2, 1.0}).eigenvalues();
  EXPECT_TRUE(at::equal(first, measure_error_table(denoise, SpectralBasis::kDft, images, 8, 3, {0.2, 1.0}).eigenvalues()));
  EXPECT_FALSE(at::equal(first, measure_error_table(denoise, SpectralBasis::kDft, images, 8, 4, {0.2, 1.0}).eigenvalues()));
  const at::Tensor mirrored = at::roll(first.flip({-2, -1}), {1, 1}, {-2, -1});
  EXPECT_LT((first / mirrored - 1.0).abs().max().item<double>(), 1e-6);  // rounding of the smoothing, in single precision
}

// Images smaller than the table reach few cells; the others take what is near. A denoiser without error leaves the table positive.
TEST(ErrorTable, IsPositiveEverywhere) {
  const GaussianPrior prior = smooth_prior(SpectralBasis::kDct, 1);
  const auto denoise = [&](const at::Tensor& x_t, double sigma) { return prior.denoise(x_t, sigma); };
  const ErrorTable sparse = measure_error_table(denoise, SpectralBasis::kDct, {drawn(prior, 0, {1, 6, 5})}, 24, 0, {0.3});
  EXPECT_TRUE(sparse.eigenvalues().gt(0.0).all().item<bool>());
  const at::Tensor image = drawn(prior, 1, {1, 9, 9});
  const auto oracle = [&](const at::Tensor&, double) { return image.unsqueeze(0); };
  EXPECT_TRUE(measure_error_table(oracle, SpectralBasis::kDct, {image}, 8, 0, {0.3}).eigenvalues().gt(0.0).all().item<bool>());
}

// A denoiser that answers 0 is worth nothing at little noise, though the correction makes x_t of it.
TEST(ErrorTable, TheMeanSquareIsOfTheDenoiserAsItIs) {
  const std::vector<at::Tensor> images{at::ones({1, 16, 16}), at::ones({1, 12, 20}) * 2.0};
  std::vector<double> mean_squares;
  const ErrorTable table = measure_error_table([](const at::Tensor& x_t, double) { return at::zeros_like(x_t); }, SpectralBasis::kDct, images, 8, 0, {0.01, 0.02}, &mean_squares);
  ASSERT_EQ(mean_squares.size(), 2u);
  EXPECT_NEAR(mean_squares[0], 2.5, 1e-6);
  EXPECT_LT(table.eigenvalues()[0].max().item<double>(), 0.01);
}

TEST(ErrorTable, RefusesWhatItCannotMeasure) {
  const auto same = [](const at::Tensor& x_t, double) { return x_t; };
  const at::Tensor image = at::ones({1, 8, 8});
  expect_error(ErrorKind::kUsage, "no image", [&] { measure_error_table(same, SpectralBasis::kDct, {}); });
  expect_error(ErrorKind::kUsage, "of 2 rows", [&] { measure_error_table(same, SpectralBasis::kDct, {image}, 2); });
  expect_error(ErrorKind::kBadData, "channels", [&] { measure_error_table(same, SpectralBasis::kDct, {image, at::ones({2, 8, 8})}); });
  expect_error(ErrorKind::kBadData, "type", [&] { measure_error_table(same, SpectralBasis::kDct, {at::ones({1, 8, 8}, at::kComplexFloat)}); });
  expect_error(ErrorKind::kBadData, "NaN", [&] { measure_error_table(same, SpectralBasis::kDct, {image * NAN}); });
  expect_error(ErrorKind::kNumerical, "sigma 0.5", [&] {
    measure_error_table([](const at::Tensor& x_t, double) { return x_t * NAN; }, SpectralBasis::kDct, {image}, 8, 0, {0.5});
  });
  expect_error(ErrorKind::kBadData, "rows", [&] { ErrorTable(SpectralBasis::kDct, {0.1}, at::ones({1, 1, 4, 4})).at_sigma(0.1, {3, 8, 8}); });
}

}  // namespace
}  // namespace postrec::test
