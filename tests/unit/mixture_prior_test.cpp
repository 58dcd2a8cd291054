#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "beds.hpp"
#include "expect_error.hpp"
#include "postrec/mixture_prior.hpp"

namespace postrec::test {
namespace {

// D(x, sigma) by dense matrices in double, straight from the definition.
at::Tensor dense_denoiser(const MixturePrior& prior, const at::Tensor& x, double sigma) {
  const at::Tensor rows = as_real_rows(x);
  std::vector<at::Tensor> log_weights, denoised;
  for (const MixturePrior::Component& component : prior.components()) {
    const SpectralCovariance covariance(prior.basis(), component.spectrum);
    const at::Tensor c = dense_matrix([&](const at::Tensor& v) { return covariance.apply(v); }, prior.domain());
    const at::Tensor noisy = c + sigma * sigma * at::eye(c.size(0), at::kDouble), offset = rows - as_real_rows(component.mean.unsqueeze(0));
    const at::Tensor solved = at::linalg_solve(noisy, offset.t()).t();
    log_weights.push_back(std::log(component.weight) - 0.5 * (offset * solved).sum(1) - 0.5 * at::logdet(noisy));
    denoised.push_back(as_real_rows(component.mean.unsqueeze(0)) + solved.matmul(c));
  }
  const at::Tensor weights = at::softmax(at::stack(log_weights), 0);
  return (weights.unsqueeze(2) * at::stack(denoised)).sum(0);
}

TEST(MixturePrior, DenoiserIsTheFormula) {
  const Bed bed = t2c_box6();
  const MixturePrior& real = *bed.prior;
  std::vector<MixturePrior::Component> components = {{2.0, at::complex(wave(6, 1, 0, 0), wave(6, 0, 1, 0)), lorentzian_spectrum(6, 0.1)},
                                                     {1.0, at::complex(wave(6, 1, 1, 0), wave(6, 0, 2, 0)), lorentzian_spectrum(6, 0.3)}};
  const MixturePrior complex(SpectralBasis::kDft, components, {});
  EXPECT_NEAR(complex.components()[0].weight, 2.0 / 3.0, 1e-12);
  for (const MixturePrior* prior : {&real, &complex})
    for (const double sigma : {0.1, 0.5, 3.0}) {
      const at::Tensor x = RandomStreams(4, 0, 6).normal(0, prior->domain().shape, prior->domain().dtype);
      EXPECT_LT((as_real_rows(prior->denoise(x, sigma)) - dense_denoiser(*prior, x, sigma)).abs().max().item<double>(), 1e-4) << sigma;
    }
}

TEST(MixturePrior, ErrorOfOneComponentIsExact) {
  const Bed bed = t1c_box8();
  const at::Tensor s = bed.prior->components()[0].spectrum;
  for (const double sigma : ErrorTable::standard_sigmas()) {
    const at::Tensor exact = s * (sigma * sigma) / (s + sigma * sigma);
    EXPECT_LT((bed.prior->error_covariance(sigma, {1, 16, 16}).eigenvalues() / exact - 1.0).abs().max().item<double>(), 1e-4);
  }
}

// E |Q^H (x - D)|^2 by plain Monte Carlo with other noise. A cell's relative standard error is at most about sqrt(3/4000) = 0.03 over 64
// cells and 3 levels: 5 standard errors, false alarm below 2e-4, plus the table's interpolation between levels, under 3 %.
TEST(MixturePrior, ErrorTableIsTheDenoisersError) {
  const Bed bed = t2c_box6();
  constexpr std::int64_t kN = 4000;
  for (const double sigma : {0.05, 0.4, 2.0}) {
    at::Tensor sum = at::zeros({1, 8, 8}, at::kDouble);
    for (std::size_t k = 0; k < 4; ++k) {
      const MixturePrior::Component& component = bed.prior->components()[k];
      const SpectralCovariance covariance(SpectralBasis::kDft, component.spectrum);
      const RandomStreams streams(100 + k, 0, kN);
      const at::Tensor x = component.mean + covariance.apply_factor(streams.normal(0, {1, 8, 8}, at::kFloat));
      const at::Tensor error = x - bed.prior->denoise(x + sigma * streams.normal(1, {1, 8, 8}, at::kFloat), sigma);
      sum += component.weight * covariance.to_basis(error).to(at::kDouble).square().mean(0);
    }
    const at::Tensor table = bed.prior->error_covariance(sigma, {1, 8, 8}).eigenvalues();
    EXPECT_LT((sum / table).log().abs().max().item<double>(), 0.19) << sigma;
  }
}

TEST(ErrorTable, InterpolatesAndExtrapolates) {
  const ErrorTable table(SpectralBasis::kDct, {0.1, 1.0}, at::stack({at::full({1, 2, 2}, 0.01f), at::full({1, 2, 2}, 0.25f)}));
  const auto value = [&](double sigma) { return table.at_sigma(sigma, {1, 2, 2}).eigenvalues()[0][0][0].item<double>(); };
  EXPECT_NEAR(value(0.1), 0.01, 1e-7);
  EXPECT_NEAR(value(1.0), 0.25, 1e-6);
  EXPECT_NEAR(value(std::sqrt(0.1)), 0.05, 1e-6);
  EXPECT_NEAR(value(0.01), 1e-4, 1e-9);
  EXPECT_NEAR(value(50.0), 0.25, 1e-6);
  const auto sigmas = ErrorTable::standard_sigmas();
  EXPECT_EQ(sigmas.size(), 48u);
  EXPECT_EQ(sigmas.back(), 60.0);
  expect_error(ErrorKind::kBadData, "rise", [] { ErrorTable(SpectralBasis::kDct, {1.0, 0.1}, at::ones({2, 1, 2, 2})); });
  expect_error(ErrorKind::kBadData, "positive", [] { ErrorTable(SpectralBasis::kDct, {0.1, 1.0}, at::zeros({2, 1, 2, 2})); });
}

TEST(MixturePrior, RefusesWhatIsNoMixture) {
  expect_error(ErrorKind::kBadData, "component", [] { MixturePrior(SpectralBasis::kDct, {}, {}); });
  expect_error(ErrorKind::kBadData, "positive", [] { MixturePrior(SpectralBasis::kDct, {{0.0, at::zeros({1, 4, 4}), at::ones({1, 4, 4})}}, {}); });
  expect_error(ErrorKind::kBadData, "shape", [] { MixturePrior(SpectralBasis::kDct, {{1.0, at::zeros({1, 4, 4}), at::ones({1, 4, 5})}}, {}); });
  expect_error(ErrorKind::kBadData, "one size", [] { t2c_box6().prior->error_covariance(1.0, {1, 9, 9}); });
}

// The values that the study printed for its beds.
TEST(MixturePrior, PosteriorsOfTheBedsInClosedForm) {
  struct Expected {
    Bed bed;
    std::vector<double> weights;
    double mean_sd, min_sd, max_sd;
    int digits;
  };
  const Expected table[] = {{t1c_box8(), {1.0}, .14819, .04942, .49118, 5}, {t1c_mri4x(), {1.0}, .32831, .32831, .32831, 5},
                            {t2c_box6(), {.3274, .6608, .0118, 0.0}, .1950, .1241, .3210, 4},
                            {t2c_mri1(), {.0225, .3270, .5415, .1090}, .3064, .2222, .4104, 4},
                            {t2c_box4(), {.8435, .1565, 0.0, 0.0}, .0720, .0461, .1593, 4}};
  for (const Expected& expected : table) {
    const ExactPosterior posterior = expected.bed.posterior();
    const at::Tensor sd = posterior.standard_deviation();
    const double last_digit = 0.6 * std::pow(10.0, -expected.digits);  // half a digit of rounding, and single precision in A
    EXPECT_NEAR(sd.mean().item<double>(), expected.mean_sd, last_digit) << expected.bed.name;
    EXPECT_NEAR(sd.min().item<double>(), expected.min_sd, last_digit) << expected.bed.name;
    EXPECT_NEAR(sd.max().item<double>(), expected.max_sd, last_digit) << expected.bed.name;
    for (std::size_t k = 0; k < expected.weights.size(); ++k) EXPECT_NEAR(posterior.weights[k], expected.weights[k], 6e-5) << expected.bed.name;
  }
  EXPECT_NEAR(t1c_box8().posterior().mean().square().mean().item<double>(), .09961, 6e-6);
  EXPECT_NEAR(t1c_mri4x().posterior().mean().square().mean().item<double>(), .12419, 6e-6);
}

}  // namespace
}  // namespace postrec::test
