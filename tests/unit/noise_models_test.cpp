// Noise models as likelihoods: weights, coils that share their noise, photon counts; and how many entries were measured.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "../law/law_checks.hpp"
#include "beds.hpp"
#include "expect_error.hpp"
#include "postrec/poisson_transmission.hpp"
#include "postrec/whitened_operator.hpp"
#include "pretend_device.hpp"

namespace postrec::test {
namespace {

at::Tensor uniform(const std::vector<std::int64_t>& shape, double lowest, double highest, std::uint64_t seed = 5) {
  return RandomStreams(seed, 0, 1).uniform(0, shape).squeeze(0) * (highest - lowest) + lowest;
}

/// Weights from 0 to 100, every third 0.
at::Tensor some_weights(const std::vector<std::int64_t>& shape) {
  const at::Tensor weights = uniform(shape, -5.0, 10.0).clamp_min(0.0).square();
  return weights.contiguous();
}

/// E[n n^H] of three coils that share their noise, not close to diagonal.
at::Tensor coil_covariance() {
  const at::Tensor white = RandomStreams(9, 0, 5).normal(0, {3}, at::kComplexFloat);
  return white.t().matmul(white.conj()).resolve_conj() * 0.3;
}

std::shared_ptr<const Operator> coil_operator() {
  at::Tensor mask = at::ones({11, 13});
  mask.slice(0, 0, 11, 3).zero_();
  return std::make_shared<CoilOperator>(ring_of_coils(3, 11, 13), mask);
}

void expect_laws(const Operator& op) {
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    law::expect_adjoint(op, seed);
    law::expect_linear(op, seed);
    law::expect_normal(op, seed);
    law::expect_norm_bound(op, seed);
  }
}

// What conjugate gradients call in every iteration.
TEST(Whitening, IsCopiedToADeviceOnce) {
  const at::Tensor v = RandomStreams(3, 0, 2).normal(0, {3, 8, 6}, at::kComplexFloat), there = v.to(pretend::device());
  const EntryWeights weights(some_weights({3, 8, 6}));
  const CoilWhitening coils(coil_covariance());
  for (const Whitening* whitening : {static_cast<const Whitening*>(&weights), static_cast<const Whitening*>(&coils)}) {
    const at::Tensor first = whitening->precision(there);
    // Float32 products in another order.
    EXPECT_LT(((first.cpu() - whitening->precision(v)).norm() / first.cpu().norm()).item<double>(), 1e-6);
    pretend::reset_traffic();
    (void)whitening->precision(there);
    (void)whitening->whiten(there);
    (void)whitening->colour(there);
    EXPECT_EQ(pretend::traffic().to_device, 0);
    EXPECT_EQ(pretend::traffic().waits, 0);
  }
}

TEST(WhitenedOperator, Laws) {
  const auto mask = std::make_shared<MaskOperator>(hole(17, 3, 8), 2, at::kFloat);
  expect_laws(WhitenedOperator(mask, std::make_shared<EntryWeights>(some_weights(mask->codomain().shape))));
  const auto coils = coil_operator();
  expect_laws(WhitenedOperator(coils, std::make_shared<EntryWeights>(some_weights(coils->codomain().shape))));
  expect_laws(WhitenedOperator(coils, std::make_shared<CoilWhitening>(coil_covariance())));
}

// Bit for bit: a batch and its elements, one thread and two. The sizes are odd, and more than a block of the mixing loop.
TEST(Whitening, BitsDoNotDependOnBatchOrThreads) {
  const at::Tensor v = RandomStreams(2, 0, 3).normal(0, {3, 23, 29}, at::kComplexFloat);
  const CoilWhitening coils(coil_covariance());
  const EntryWeights weights(some_weights({3, 23, 29}));
  for (const Whitening* whitening : {static_cast<const Whitening*>(&coils), static_cast<const Whitening*>(&weights)}) {
    at::Tensor expected;
    {
      const law::Threads one(1);
      expected = at::stack({whitening->whiten(v), whitening->whiten_adjoint(v), whitening->precision(v), whitening->colour(v)}, 1);
    }
    const law::Threads two(2);
    for (std::int64_t b = 0; b < 3; ++b) {
      const at::Tensor one = v.narrow(0, b, 1);
      const at::Tensor single = at::stack({whitening->whiten(one), whitening->whiten_adjoint(one), whitening->precision(one), whitening->colour(one)}, 1);
      EXPECT_TRUE(law::same_bits(single, expected.narrow(0, b, 1)));
    }
  }
}

/// Sigma, double, of noise that `whitening` colours: K K^T for unit variance in each real component of the white noise.
at::Tensor noise_covariance(const Whitening& whitening, const TensorSpec& codomain) {
  const at::Tensor k = dense_matrix([&](const at::Tensor& v) { return whitening.colour(v); }, codomain);
  return k.matmul(k.t());
}

// colour is the inverse of whiten, and gives the noise that the model names.
TEST(Whitening, ColourGivesTheNamedNoise) {
  const TensorSpec spec{{3, 1, 2}, at::kComplexFloat};
  const at::Tensor psi = coil_covariance();
  const CoilWhitening coils(psi);
  const at::Tensor v = RandomStreams(1, 0, 4).normal(0, spec.shape, spec.dtype);
  EXPECT_LT((coils.whiten(coils.colour(v)) - v).abs().max().item<double>(), 1e-5);  // float32, condition number below 100
  // Real part of coil i against real and imaginary part of coil j at one sample: Re Psi/2 and -Im Psi/2, for circular noise.
  const at::Tensor sigma = noise_covariance(coils, spec).view({3, 2, 2, 3, 2, 2});
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      EXPECT_NEAR(sigma[i][1][0][j][1][0].item<double>(), at::real(psi)[i][j].item<double>() / 2, 1e-5);
      EXPECT_NEAR(sigma[i][1][0][j][1][1].item<double>(), -at::imag(psi)[i][j].item<double>() / 2, 1e-5);
      EXPECT_NEAR(sigma[i][0][0][j][1][0].item<double>(), 0.0, 1e-6);
    }
  const at::Tensor diagonal = at::real(psi).diagonal() / 2;
  EXPECT_NEAR(coils.sigma_y(), std::sqrt(diagonal.mean().item<double>()), 1e-6);

  const EntryWeights weights(at::tensor({4.0f, 0.0f, 0.25f}));
  const at::Tensor white = at::ones({1, 3}), coloured = weights.colour(white);
  EXPECT_TRUE(at::allclose(coloured, at::tensor({0.5f, 0.0f, 2.0f}).unsqueeze(0)));
}

// Mean and covariance of the posterior under noise of covariance Sigma by dense matrices of the plain operator, against the whitened
// likelihood.
void expect_posterior_under(const std::shared_ptr<const Operator>& op, const std::shared_ptr<const Whitening>& whitening, double sigma_y, const MixturePrior& prior) {
  const TensorSpec codomain = op->codomain();
  at::Tensor y = RandomStreams(3, 0, 1).normal(0, codomain.shape, codomain.dtype).squeeze(0);
  const GaussianLikelihood likelihood = whitened_likelihood(op, y, whitening, sigma_y);
  const ExactPosterior whitened(prior, likelihood.op(), likelihood.y(), sigma_y);

  const at::Tensor a = dense_matrix([&](const at::Tensor& x) { return op->forward(x); }, op->domain());
  const at::Tensor sigma = noise_covariance(*whitening, codomain) * (sigma_y * sigma_y);
  const SpectralCovariance factor(prior.basis(), prior.components()[0].spectrum);
  const at::Tensor f = dense_matrix([&](const at::Tensor& w) { return factor.apply_factor(w); }, op->domain());
  const at::Tensor c = f.matmul(f.t()), mean = as_real_rows(prior.components()[0].mean.unsqueeze(0))[0];
  const at::Tensor gain = at::linalg_solve(a.matmul(c).matmul(a.t()) + sigma, a.matmul(c)).t();
  const at::Tensor expected = mean + gain.mv(as_real_rows(y.unsqueeze(0))[0] - a.mv(mean));
  // Whitening rounds to float32; the condition of the systems takes two digits more.
  EXPECT_LT(((whitened.mean() - expected).norm() / expected.norm()).item<double>(), 1e-4);
  const at::Tensor covariance = c - gain.matmul(a.matmul(c));
  EXPECT_LT(((whitened.covariance() - covariance).norm() / covariance.norm()).item<double>(), 1e-4);
}

TEST(WhitenedLikelihood, IsTheLikelihoodOfTheNoise) {
  PriorInfo info;
  const MixturePrior real(SpectralBasis::kDct, {{1.0, wave(8, 1, 0, 0), lorentzian_spectrum(8, 0.5)}}, info);
  const auto mask = std::make_shared<MaskOperator>(hole(8, 2, 5), 1, at::kFloat);
  expect_posterior_under(mask, std::make_shared<EntryWeights>(uniform(mask->codomain().shape, 0.1, 4.0)), 0.3, real);
  const MixturePrior complex(SpectralBasis::kDft, {{1.0, at::complex(wave(6, 1, 0, 0), wave(6, 0, 1, 0)), lorentzian_spectrum(6, 0.5)}}, info);
  const auto coils = std::make_shared<CoilOperator>(ring_of_coils(3, 6, 6), at::ones({6, 6}));
  expect_posterior_under(coils, std::make_shared<CoilWhitening>(coil_covariance()), 1.0, complex);
}

// An entry of weight 0 was not measured: the same posterior as by an operator that leaves it out.
TEST(WhitenedLikelihood, WeightZeroIsNotMeasured) {
  PriorInfo info;
  const MixturePrior prior(SpectralBasis::kDct, {{1.0, wave(8, 1, 0, 0), lorentzian_spectrum(8, 0.5)}}, info);
  const auto everything = std::make_shared<MaskOperator>(at::ones({8, 8}), 1, at::kFloat);
  const auto outside = std::make_shared<MaskOperator>(hole(8, 2, 5), 1, at::kFloat);
  const at::Tensor image = wave(8, 1, 1, 0.3);
  at::Tensor y = everything->forward(image.unsqueeze(0))[0];
  const at::Tensor kept = hole(8, 2, 5).flatten().unsqueeze(0);
  const at::Tensor spoiled = at::where(kept.gt(0), y, at::full_like(y, 1e3f));
  const GaussianLikelihood weighted = whitened_likelihood(everything, spoiled, std::make_shared<EntryWeights>(kept), 0.1);
  const ExactPosterior a(prior, weighted.op(), weighted.y(), 0.1), b(prior, *outside, outside->forward(image.unsqueeze(0))[0], 0.1);
  EXPECT_LT((a.mean() - b.mean()).abs().max().item<double>(), 1e-6);
  EXPECT_EQ(weighted.n_measured(), 48);
  EXPECT_NEAR(weighted.reduced_chi2(image.unsqueeze(0)).item<double>(), 0.0, 1e-6);
}

TEST(Likelihood, ReducedChi2IsPerMeasuredComponent) {
  at::Tensor mask = at::zeros({4, 4});
  mask[1].fill_(1.0);
  const auto op = std::make_shared<CoilOperator>(at::ones({1, 4, 4}, at::kComplexFloat), mask);
  const at::Tensor x = RandomStreams(1, 0, 2).normal(0, {1, 4, 4}, at::kComplexFloat);
  // 0.2 in each real component, measured or not, and sigma_y 0.1: chi-square 4 from the 8 components that were measured.
  const at::Tensor y = op->forward(x)[0] + at::complex(at::full({1, 4, 4}, 0.2f), at::full({1, 4, 4}, -0.2f));
  const GaussianLikelihood likelihood(op, y, 0.1);
  EXPECT_EQ(likelihood.n_measured(), 8);
  EXPECT_NEAR(likelihood.reduced_chi2(x)[0].item<double>(), 4.0, 1e-4);
  EXPECT_TRUE(at::equal(measured_entries(*op)[0].to(at::kFloat), mask));
}

TEST(Whitening, RefusesWhatCannotBeRight) {
  expect_error(ErrorKind::kBadData, "-1", [] { EntryWeights(at::tensor({1.0f, -1.0f})); });
  expect_error(ErrorKind::kBadData, "NaN", [] { EntryWeights(at::tensor({1.0f, NAN})); });
  expect_error(ErrorKind::kBadData, "every weight is 0", [] { EntryWeights(at::zeros({3})); });
  expect_error(ErrorKind::kBadData, "[2, 3]", [] { CoilWhitening(at::zeros({2, 3})); });
  expect_error(ErrorKind::kBadData, "Hermitian", [] { CoilWhitening(at::tensor({1.0f, 0.5f, 0.0f, 1.0f}).view({2, 2})); });
  expect_error(ErrorKind::kBadData, "positive definite", [] { CoilWhitening(at::ones({2, 2})); });
  expect_error(ErrorKind::kBadData, "Hermitian", [] { CoilWhitening(at::full({2, 2}, NAN)); });
  const auto op = std::make_shared<MaskOperator>(hole(8, 2, 5), 1, at::kFloat);
  expect_error(ErrorKind::kConfiguration, "[1, 47]", [&] { WhitenedOperator(op, std::make_shared<EntryWeights>(at::ones({1, 47}))); });
  expect_error(ErrorKind::kConfiguration, "3 coils", [&] { WhitenedOperator(op, std::make_shared<CoilWhitening>(coil_covariance())); });
}

// ---- photon counts ----

const at::Tensor kCounts = at::tensor({0.0f, 3.0f, 40.0f, 900.0f, 7.0f}), kBlank = at::tensor({100.0f, 100.0f, 1000.0f, 1000.0f, 0.0f}),
                 kBackground = at::tensor({0.0f, 2.0f, 5.0f, 0.0f, 7.0f});

double log_likelihood(int ray, double l) {
  const double expected = kBlank[ray].item<double>() * std::exp(-l) + kBackground[ray].item<double>();
  return kCounts[ray].item<double>() * std::log(expected) - expected;
}

// A parabola has the slope of the log-likelihood at the point where it was taken, and on average over several; its curvature is E[-d2/dl2].
TEST(PoissonTransmission, ParabolaHasTheSlopeAndTheExpectedCurvature) {
  const PoissonTransmission counts(kCounts, kBlank, kBackground);
  const at::Tensor l = at::tensor({2.0f, 3.5f, 3.0f, 0.2f, 1.0f, 3.0f, 2.5f, 3.5f, 0.05f, 1.0f}).view({2, 5});
  for (const std::int64_t n : {1, 2}) {
    const RayParabola rays = counts.expand(l.narrow(0, 0, n));
    for (int ray = 0; ray < 4; ++ray) {
      constexpr double h = 1e-4;
      double slope = 0, curvature = 0, centre = 0;
      for (std::int64_t k = 0; k < n; ++k) {
        const double at = l[k][ray].item<double>(), q = kBlank[ray].item<double>() * std::exp(-at);
        slope += (log_likelihood(ray, at + h) - log_likelihood(ray, at - h)) / (2 * h * n);
        curvature += q * q / (q + kBackground[ray].item<double>()) / n;
        centre += at / n;
      }
      const double weight = rays.weight[ray].item<double>();
      EXPECT_NEAR(weight, curvature, 1e-5 * curvature);
      EXPECT_NEAR(weight * (rays.target[ray].item<double>() - centre), slope, 1e-5 * (std::abs(slope) + weight)) << "ray " << ray << ", n " << n;
    }
    EXPECT_EQ(rays.weight[4].item<double>(), 0.0);  // a dead detector
    EXPECT_EQ(rays.target[4].item<double>(), 0.0);
  }
}

// Without background the expected curvature is the curvature: a second difference sees it.
TEST(PoissonTransmission, CurvatureWithoutBackground) {
  const RayParabola rays = PoissonTransmission(kCounts, kBlank, kBackground).expand(at::full({1, 5}, 0.3));
  constexpr double h = 1e-3;
  for (const int ray : {0, 3})
    EXPECT_NEAR(rays.weight[ray].item<double>(), -(log_likelihood(ray, 0.3 + h) - 2 * log_likelihood(ray, 0.3) + log_likelihood(ray, 0.3 - h)) / (h * h), 1e-2);
}

// Around the data: target log(b/(N - r)), weight (N - r)^2/N; a ray without a count still says that it was absorbed.
TEST(PoissonTransmission, AroundTheDataItIsWeightedLeastSquares) {
  const PoissonTransmission counts(kCounts, kBlank, kBackground);
  const RayParabola rays = counts.expand(counts.line_integrals().unsqueeze(0));
  EXPECT_NEAR(rays.target[2].item<double>(), std::log(1000.0 / 35.0), 1e-5);
  EXPECT_NEAR(rays.weight[2].item<double>(), 35.0 * 35.0 / 40.0, 1e-3);
  EXPECT_NEAR(rays.target[0].item<double>(), std::log(200.0) + 1.0, 1e-5);
  EXPECT_NEAR(rays.weight[0].item<double>(), 0.5, 1e-6);
  EXPECT_NEAR(counts.sigma_y(), std::sqrt(1.0 / 1000.0), 1e-9);
}

// The likelihood of an image in another unit: the same chi-square of the same physical image.
TEST(PoissonTransmission, LikelihoodKnowsTheUnit) {
  const auto op = std::make_shared<MaskOperator>(at::ones({1, 5}), 1, at::kFloat);
  const auto row = [](const at::Tensor& t) { return t.unsqueeze(0); };
  const PoissonTransmission counts(row(kCounts), row(kBlank), row(kBackground));
  const RayParabola rays = counts.expand(counts.line_integrals().unsqueeze(0));
  const at::Tensor l = at::full({1, 1, 1, 5}, 1.5);
  const double expected = (rays.weight * (rays.target - 1.5).square()).sum().item<double>() / 4;
  EXPECT_NEAR(counts.likelihood(op, rays).reduced_chi2(l).item<double>(), expected, 1e-4 * expected);
  EXPECT_NEAR(counts.likelihood(op, rays, 0.02).reduced_chi2(l / 0.02).item<double>(), expected, 1e-4 * expected);
  EXPECT_EQ(counts.likelihood(op, rays).n_measured(), 4);
}

TEST(PoissonTransmission, RefusesWhatCannotBeRight) {
  expect_error(ErrorKind::kBadData, "background", [] { PoissonTransmission(kCounts, kBlank, kBackground.slice(0, 0, 4)); });
  expect_error(ErrorKind::kBadData, "-1", [] { PoissonTransmission(kCounts - 1, kBlank, kBackground); });
  expect_error(ErrorKind::kBadData, "blank scan", [] { PoissonTransmission(kCounts, at::zeros_like(kBlank), kBackground); });
  expect_error(ErrorKind::kBadData, "NaN", [] { PoissonTransmission(kCounts, kBlank, at::full_like(kBackground, NAN)); });
  expect_error(ErrorKind::kBadData, "1e9", [] { poisson_counts(at::full({2}, 2e9), 1); });
  expect_error(ErrorKind::kBadData, "nan", [] { poisson_counts(at::full({2}, NAN), 1); });
}

}  // namespace
}  // namespace postrec::test
