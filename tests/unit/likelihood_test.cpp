#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "beds.hpp"
#include "expect_error.hpp"
#include "postrec/likelihood.hpp"

namespace postrec::test {
namespace {

at::Tensor hot_mask(std::int64_t n) {
  at::Tensor mask = at::zeros({n, n});
  for (std::int64_t row = 0; row < n; row += 2) mask[row].fill_(1.0);
  return mask;
}

// A draw is affine in the white noises, x0 = m + G n1 + H n2. Its mean and covariance are therefore known from its values at zero and at
// unit vectors, without Monte Carlo: m must be the posterior mean and G G^T + H H^T the posterior covariance, both from dense matrices.
void expect_exact(const MixturePrior& prior, const std::shared_ptr<Operator>& op, const at::Tensor& y, double sigma_y, double tolerance) {
  const GaussianLikelihood likelihood(op, y, sigma_y);
  const ExactPosterior exact(prior, *op, y, sigma_y);
  const TensorSpec domain = op->domain(), codomain = op->codomain();
  const std::int64_t n = real_size(domain), m = real_size(codomain);
  const at::Tensor white = at::cat({at::zeros({1, n + m}, at::kDouble), at::eye(n + m, at::kDouble)});
  const at::Tensor mean = prior.components()[0].mean.unsqueeze(0).repeat({n + m + 1, 1, 1, 1});
  SolveReport report;
  const at::Tensor draws = as_real_rows(likelihood.draw_posterior(
      mean, SpectralCovariance(prior.basis(), prior.components()[0].spectrum), from_real_rows(white.narrow(1, 0, n).contiguous(), domain),
      from_real_rows(white.narrow(1, n, m).contiguous(), codomain), {1e-6, 2000}, report));
  const at::Tensor response = draws.narrow(0, 1, n + m) - draws[0];
  const at::Tensor covariance = response.t().matmul(response);
  EXPECT_LT(((draws[0] - exact.mean()).norm() / exact.mean().norm()).item<double>(), tolerance);
  EXPECT_LT(((covariance - exact.covariance()).norm() / exact.covariance().norm()).item<double>(), tolerance);
}

// Conjugate gradients in single precision reach about 1e-5 of the solution on systems with condition numbers of 1e4.
constexpr double kSolved = 2e-3;

TEST(Likelihood, DrawIsExactWithAMask) {
  const Bed bed = t1c_box8();
  expect_exact(*bed.prior, bed.op, bed.y, bed.sigma_y, kSolved);
}

TEST(Likelihood, DrawIsExactWithFourierRows) {
  const Bed bed = t1c_mri4x();
  expect_exact(*bed.prior, bed.op, bed.y, bed.sigma_y, kSolved);
}

TEST(Likelihood, DrawIsExactForComplexImagesAndCoils) {
  PriorInfo info;
  const at::Tensor mean = at::complex(wave(8, 1, 0, 0), wave(8, 0, 1, 0));
  const MixturePrior prior(SpectralBasis::kDft, {{1.0, mean, lorentzian_spectrum(8, 0.25)}}, info);
  for (const std::int64_t coils : {1, 3}) {
    const auto op = std::make_shared<CoilOperator>(ring_of_coils(coils, 8, 8), hot_mask(8));
    const at::Tensor y = op->forward(at::complex(wave(8, 1, 2, 0.3), wave(8, 2, 1, 0)).unsqueeze(0))[0];
    expect_exact(prior, op, y, 0.05, kSolved);
  }
}

// C = c I and an operator with normal_solve take the closed form, in no iterations.
TEST(Likelihood, DrawIsExactInClosedForm) {
  PriorInfo info;
  const MixturePrior prior(SpectralBasis::kDct, {{1.0, wave(8, 1, 0, 0), at::full({1, 8, 8}, 0.3f)}}, info);
  const auto op = std::make_shared<MaskOperator>(hole(8, 2, 5), 1, at::kFloat);
  const at::Tensor y = op->forward(wave(8, 0, 1, 0).unsqueeze(0))[0];
  expect_exact(prior, op, y, 0.1, 1e-5);
  SolveReport report{7, false, 1.0};
  const at::Tensor zero = at::zeros({2, 1, 8, 8});
  GaussianLikelihood(op, y, 0.1).draw_posterior(zero, SpectralCovariance(SpectralBasis::kDct, at::full({1, 8, 8}, 0.3f)), zero,
                                                at::zeros({2, 1, 48}), {}, report);
  EXPECT_EQ(report.iterations, 0);
}

// One coil: A^H A is diagonal in the DFT, the preconditioner is exact, and one iteration is all it takes, or two after the rounding
// of a DFT whose length is no power of two. Where all is sampled, it is diagonal in pixels too: which is no help.
TEST(Likelihood, OneCoilTakesOneIteration) {
  for (const std::int64_t n : {32, 30, 21})
    for (const at::Tensor& mask : {hot_mask(n), at::ones({n, n})}) {
      const auto op = std::make_shared<CoilOperator>(at::ones({1, n, n}, at::kComplexFloat), mask);
      const RandomStreams streams(1, 0, 3);
      const at::Tensor y = streams.normal(0, op->codomain().shape, at::kComplexFloat)[0];
      SolveReport report;
      const at::Tensor zero = at::zeros({3, 1, n, n}, at::kComplexFloat);
      GaussianLikelihood(op, y, 0.01).draw_posterior(zero, SpectralCovariance(SpectralBasis::kDft, lorentzian_spectrum(n, 1.0)),
                                                     streams.normal(1, op->domain().shape, at::kComplexFloat),
                                                     streams.normal(2, op->codomain().shape, at::kComplexFloat), {1e-4, 200}, report);
      EXPECT_LE(report.iterations, n == 32 ? 1 : 2) << n << ", " << mask.mean().item<double>() << " of the lines";
    }
}

TEST(Likelihood, ReducedChi2CountsRealComponents) {
  const auto op = std::make_shared<CoilOperator>(at::ones({1, 4, 4}, at::kComplexFloat), at::ones({4, 4}));
  const at::Tensor x = RandomStreams(1, 0, 2).normal(0, {1, 4, 4}, at::kComplexFloat);
  // y differs from A x by 0.2 in each of 32 real components, and sigma_y is 0.1: chi-square 4.
  const at::Tensor y = op->forward(x)[0] + at::complex(at::full({1, 4, 4}, 0.2f), at::full({1, 4, 4}, -0.2f));
  const GaussianLikelihood likelihood(op, y, 0.1);
  EXPECT_NEAR(likelihood.reduced_chi2(x)[0].item<double>(), 4.0, 1e-4);
  std::vector<double> chi2;
  SolveReport report;
  likelihood.draw_posterior(x, SpectralCovariance(SpectralBasis::kDft, lorentzian_spectrum(4, 1.0)), at::zeros_like(x), at::zeros_like(x), {}, report, &chi2);
  ASSERT_EQ(chi2.size(), 2u);
  EXPECT_NEAR(chi2[0], 4.0, 1e-4);
  EXPECT_NEAR(chi2[1], likelihood.reduced_chi2(x)[1].item<double>(), 1e-3 * chi2[1]);
}

TEST(Likelihood, RefusesWhatDoesNotFit) {
  const auto op = std::make_shared<MaskOperator>(hole(8, 2, 5), 1, at::kFloat);
  expect_error(ErrorKind::kBadData, "[1, 47]", [&] { GaussianLikelihood(op, at::zeros({1, 47}), 0.1); });
  expect_error(ErrorKind::kBadData, "ComplexFloat", [&] { GaussianLikelihood(op, at::zeros({1, 48}, at::kComplexFloat), 0.1); });
  expect_error(ErrorKind::kBadData, "NaN", [&] { GaussianLikelihood(op, at::full({1, 48}, NAN), 0.1); });
  expect_error(ErrorKind::kBadData, "sigma_y", [&] { GaussianLikelihood(op, at::zeros({1, 48}), 0.0); });
  expect_error(ErrorKind::kBadData, "sigma_y", [&] { GaussianLikelihood(op, at::zeros({1, 48}), NAN); });
}

}  // namespace
}  // namespace postrec::test
