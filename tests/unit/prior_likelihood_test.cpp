#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "beds.hpp"
#include "expect_error.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/prior_likelihood.hpp"

namespace postrec::test {
namespace {

/// A power law, as scans have it, over frequencies that run from 0 (DCT) or about 0 (DFT): the largest s is some 1e4 times the smallest.
GaussianPrior gaussian(SpectralBasis basis, std::int64_t n, double mean) {
  const double centre = basis == SpectralBasis::kDct ? 0.0 : static_cast<double>(n / 2), scale = basis == SpectralBasis::kDct ? 0.5 : 1.0;
  const at::Tensor f = scale * (at::arange(n, at::kDouble) - centre);
  const at::Tensor s = 60.0 / (1.0 + f.square().unsqueeze(1) + f.square().unsqueeze(0)).pow(1.3);
  PriorInfo info;
  info.name = "test";
  return GaussianPrior(basis, s.to(at::kFloat).unsqueeze(0), at::full({1}, mean, at::kFloat), 0.0, info);
}

at::Tensor noisy_image(const GaussianPrior& prior, double sigma, std::uint64_t seed) {
  const SpectralCovariance covariance(prior.basis(), prior.spectrum() + sigma * sigma);
  return prior.mean()[0] + covariance.apply_factor(RandomStreams(seed, 0, 1).normal(0, prior.spectrum().sizes().vec(), prior.domain().dtype));
}

/// -log2 N(x; mean, Q (s + sigma^2) Q^H) per real component, in double but for the transform.
double exact_bits(const GaussianPrior& prior, const at::Tensor& x, double sigma) {
  const at::Tensor variance = prior.spectrum().to(at::kDouble) + sigma * sigma;
  const at::Tensor k = SpectralCovariance(prior.basis(), prior.spectrum()).to_basis(x - prior.mean()[0])[0];
  const double parts = x.is_complex() ? 2.0 : 1.0, n = parts * static_cast<double>(variance.numel());
  const double distance = (at::abs(k).to(at::kDouble).square() / variance).sum().item<double>();
  return 0.5 * ((distance + parts * (2.0 * std::numbers::pi * variance).log().sum().item<double>()) / n) / std::numbers::ln2;
}

PriorLikelihood likelihood(const Prior& prior, const at::Tensor& x, const PriorLikelihoodOptions& options = {}) {
  Observer observer;
  return prior_likelihood(prior, x, options, observer);
}

// 1e-3 bits per dimension is what is asked for. The trace is exact with spectral probes, so nothing here is random, and some 25 steps with errors
// of at most 1e-4, which partly cancel, stay below. An image of the prior, one of another, and white noise that it finds most unlikely.
TEST(PriorLikelihood, gaussian_likelihood) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    const GaussianPrior prior = gaussian(basis, 64, basis == SpectralBasis::kDct ? 0.4 : 0.0);
    const double sigma = prior.range().minimum;
    const at::Tensor own = noisy_image(prior, sigma, 11), other = 2.0 * noisy_image(prior, sigma, 12) + 1.0;
    const at::Tensor white = RandomStreams(13, 0, 1).normal(0, {1, 64, 64}, prior.domain().dtype);
    for (const at::Tensor& x : {own, other, white}) {
      PriorLikelihoodOptions options;
      options.n_probes = 2;
      const PriorLikelihood found = likelihood(prior, x, options);
      EXPECT_NEAR(found.bits_per_dimension, exact_bits(prior, x, sigma), 1e-3);
      EXPECT_LT(found.standard_error, 1e-5);   // float32 in the products
      EXPECT_EQ(found.dimensions, 64 * 64 * (basis == SpectralBasis::kDft ? 2 : 1));
      EXPECT_EQ(found.sigma, sigma);
    }
    PriorLikelihoodOptions noisier;
    noisier.sigma = 0.5;
    EXPECT_NEAR(likelihood(prior, other, noisier).bits_per_dimension, exact_bits(prior, other, 0.5), 1e-3);
  }
}

// The estimate is v^T M v, M = Q diag(h) Q^H with h = 1/2 log((s + T^2)/(s + sigma^2)), over d. For signs v in the pixels its variance is
// 2 (|M|_F^2 - sum M_ii^2); under the DFT all M_ii are mean(h), and with two components a pixel that gives 2 Var(h)/d.
TEST(PriorLikelihood, PixelProbesSpreadAsTheFormula) {
  const GaussianPrior prior = gaussian(SpectralBasis::kDft, 32, 0.0);
  const double sigma = prior.range().minimum, top = prior.range().maximum;
  const at::Tensor x = noisy_image(prior, sigma, 11), s = prior.spectrum().to(at::kDouble);
  const at::Tensor h = 0.5 * ((s + top * top) / (s + sigma * sigma)).log2();
  const double dimensions = 2.0 * static_cast<double>(h.numel());
  const double deviation = std::sqrt(2.0 * h.var(/*unbiased=*/false).item<double>() / dimensions);
  PriorLikelihoodOptions options;
  options.n_probes = 40;
  options.probe_basis = ProbeBasis::kPixels;
  options.seed = 3;
  const PriorLikelihood found = likelihood(prior, x, options);
  const double expected_error = deviation / std::sqrt(40.0);
  // 4.5 standard errors, false alarm 7e-6, and 1e-3 as above.
  EXPECT_NEAR(found.bits_per_dimension, exact_bits(prior, x, sigma), 4.5 * expected_error + 1e-3);
  // A standard deviation from 40 draws spreads by 1/sqrt(2 39): 4.5 of these are 51 %.
  EXPECT_NEAR(found.standard_error / expected_error, 1.0, 0.51);
  EXPECT_EQ(found.n_products, 40 * (found.nfe - 1));
  // Other probes, another estimate; the same ones, the same bits.
  EXPECT_EQ(likelihood(prior, x, options).bits_per_dimension, found.bits_per_dimension);
  options.seed = 4;
  EXPECT_NE(likelihood(prior, x, options).bits_per_dimension, found.bits_per_dimension);
}

/// -log2 p_sigma(x) per component of a mixture, by dense matrices.
double exact_bits(const MixturePrior& prior, const at::Tensor& x, double sigma) {
  std::vector<at::Tensor> terms;
  const at::Tensor row = as_real_rows(x)[0];
  for (const MixturePrior::Component& component : prior.components()) {
    const SpectralCovariance covariance(prior.basis(), component.spectrum);
    at::Tensor c = dense_matrix([&](const at::Tensor& v) { return covariance.apply(v); }, prior.domain());
    c = c + sigma * sigma * at::eye(c.size(0), at::kDouble);
    const at::Tensor offset = row - as_real_rows(component.mean.unsqueeze(0))[0];
    terms.push_back(std::log(component.weight) - 0.5 * (offset.dot(at::linalg_solve(c, offset)) + at::logdet(2.0 * std::numbers::pi * c)));
  }
  return -at::logsumexp(at::stack(terms), 0).item<double>() / static_cast<double>(row.numel()) / std::numbers::ln2;
}

MixturePrior real_mixture() {
  return MixturePrior(SpectralBasis::kDft, {{2.0, wave(3, 1, 0, 0), lorentzian_spectrum(3, 0.02)}, {1.0, wave(3, 0, 1, 0), lorentzian_spectrum(3, 0.05)}}, {});
}
MixturePrior complex_mixture() {
  const at::Tensor mean = at::complex(wave(2, 1, 0, 0), wave(2, 0, 1, 0));
  return MixturePrior(SpectralBasis::kDft, {{2.0, mean, lorentzian_spectrum(2, 0.02)}, {1.0, -mean, lorentzian_spectrum(2, 0.05)}}, {});
}

/// Near a mode, between two, and far from both.
std::vector<at::Tensor> points_of(const MixturePrior& prior) {
  const at::Tensor first = prior.components()[0].mean.unsqueeze(0), second = prior.components()[1].mean.unsqueeze(0);
  const at::Tensor noise = RandomStreams(9, 0, 1).normal(0, prior.domain().shape, prior.domain().dtype);
  return {first + 0.2 * noise, 0.5 * (first + second) + 0.2 * noise, noise};
}

// Not linear, with two modes. The trace is exact, so that nothing is random: what remains are the solver, as above, and the Gaussian at the end of
// the way. Its error is of second order in the images' spread of about 1 over T = 100, times the square of the distance, some 6, of the far point: 4e-4.
TEST(PriorLikelihood, MixtureWithTheExactTrace) {
  PriorLikelihoodOptions options;
  options.exact_trace = true;
  options.sigma = 0.1;
  options.sigma_max = 100.0;
  for (const MixturePrior& prior : {real_mixture(), complex_mixture()})
    for (const at::Tensor& x : points_of(prior)) {
      const PriorLikelihood found = likelihood(prior, x, options);
      EXPECT_NEAR(found.bits_per_dimension, exact_bits(prior, x, 0.1), 1e-3);
      EXPECT_EQ(found.standard_error, 0.0);
    }
}

// Probes in either basis agree with the density within their own standard errors: 7.5 of them, from 16 probes (Student's t of 15 degrees), false
// alarm 2e-6 each, and 2e-3 for the solver and for the end of the way at ten times the spread.
TEST(PriorLikelihood, MixtureWithProbes) {
  const MixturePrior prior = real_mixture();
  const at::Tensor x = points_of(prior)[1];
  for (const ProbeBasis basis : {ProbeBasis::kSpectral, ProbeBasis::kPixels}) {
    PriorLikelihoodOptions options;
    options.sigma = 0.1;
    options.n_probes = 16;
    options.probe_basis = basis;
    const PriorLikelihood found = likelihood(prior, x, options);
    EXPECT_GT(found.standard_error, 0.0);
    EXPECT_NEAR(found.bits_per_dimension, exact_bits(prior, x, 0.1), 7.5 * found.standard_error + 2e-3);
  }
}

TEST(PriorLikelihood, Mistakes) {
  const GaussianPrior prior = gaussian(SpectralBasis::kDct, 64, 0.0);
  const at::Tensor x = at::zeros({1, 1, 64, 64});
  const auto refuse = [&](ErrorKind kind, const std::string& named, const at::Tensor& image, const auto& change) {
    PriorLikelihoodOptions options;
    change(options);
    expect_error(kind, named, [&] { likelihood(prior, image, options); });
  };
  refuse(ErrorKind::kUsage, "n_probes", x, [](auto& o) { o.n_probes = 0; });
  refuse(ErrorKind::kUsage, "sigma", x, [](auto& o) { o.sigma = -1.0; });
  refuse(ErrorKind::kUsage, "where the flow ends", x, [](auto& o) { o.sigma = 1e6; });
  refuse(ErrorKind::kUsage, "rtol", x, [](auto& o) { o.flow.rtol = 2.0; });
  refuse(ErrorKind::kUsage, "at most 4096", at::zeros({1, 1, 64, 65}), [](auto& o) { o.exact_trace = true; });
  refuse(ErrorKind::kBadData, "shape", at::zeros({2, 1, 64, 64}), [](auto&) {});
}

}  // namespace
}  // namespace postrec::test
