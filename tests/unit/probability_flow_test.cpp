#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "beds.hpp"
#include "expect_error.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/probability_flow.hpp"
#include "postrec/sampler.hpp"

namespace postrec::test {
namespace {

GaussianPrior gaussian(SpectralBasis basis, std::int64_t n, double mean) {
  at::Tensor s = lorentzian_spectrum(n, 0.2);
  if (basis == SpectralBasis::kDct) s = s.roll({-(n / 2), -(n / 2)}, {1, 2});  // the largest comes first
  PriorInfo info;
  info.name = "test";
  return GaussianPrior(basis, s.contiguous(), at::full({1}, mean, at::kFloat), 0.0, info);
}

/// One image at noise level sigma, [1, 1, n, n].
at::Tensor noisy_image(const GaussianPrior& prior, std::int64_t n, double sigma, std::uint64_t seed) {
  const SpectralCovariance covariance(prior.basis(), prior.spectrum_for({1, n, n}) + sigma * sigma);
  return prior.mean()[0] + covariance.apply_factor(RandomStreams(seed, 0, 1).normal(0, {1, n, n}, prior.domain().dtype));
}

double rms(const at::Tensor& x) { return std::sqrt(as_real_rows(x).square().mean().item<double>()); }

/// m + Q ((s + to^2)/(s + from^2))^(1/2) Q^H (x - m)
at::Tensor exact_flow(const GaussianPrior& prior, const at::Tensor& x, double from, double to) {
  const at::Tensor s = prior.spectrum_for(x.sizes().slice(1).vec());
  return prior.mean()[0] + SpectralCovariance(prior.basis(), ((s + to * to) / (s + from * from)).sqrt()).apply(x - prior.mean()[0]);
}

FlowResult follow(const Prior& prior, const at::Tensor& x, double from, double to, double rtol) {
  FlowOptions options;
  options.rtol = rtol;
  Observer observer;
  return follow_flow(prior, x, from, to, {}, options, observer);
}

// Over some 10 to 30 steps, each within rtol of its noise, errors add up to a few rtol. Towards more noise they grow like the noise at most; towards
// less they stay as large as they were when the noise was as large as the image's own spread. At rtol 1e-6 float32 is what limits it: 6e-8 of an
// image of 1 beside noise of 0.004 is 2e-5, and 6e-8 of noise of 300 beside a spread of 0.45 is 4e-5.
TEST(ProbabilityFlow, gaussian_flow) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    const GaussianPrior prior = gaussian(basis, 31, 0.3);
    const SigmaRange range = prior.range();
    const double spread = std::sqrt(prior.spectrum().mean().item<double>());
    const at::Tensor clean = noisy_image(prior, 31, range.minimum, 1), noise = noisy_image(prior, 31, range.maximum, 2);
    for (const double rtol : {1e-2, 1e-3, 1e-6}) {
      const FlowResult up = follow(prior, clean, range.minimum, range.maximum, rtol);
      EXPECT_LT(rms(up.x - exact_flow(prior, clean, range.minimum, range.maximum)), std::max(10 * rtol, 2e-5) * range.maximum) << rtol;
      const FlowResult down = follow(prior, noise, range.maximum, range.minimum, rtol);
      EXPECT_LT(rms(down.x - exact_flow(prior, noise, range.maximum, range.minimum)), std::max(10 * rtol, 4e-5) * spread) << rtol;
      EXPECT_EQ(up.sigma, range.maximum);
      EXPECT_EQ(up.nfe, 1 + 6 * (up.n_steps + up.n_rejected));
    }
  }
}

// There and back along the flow of a mixture, whose denoiser is not linear.
TEST(ProbabilityFlow, ThereAndBack) {
  const Bed bed = t2c_box6();
  const SigmaRange range = bed.prior->range();
  const at::Tensor x = bed.prior->components()[1].mean.unsqueeze(0) + 0.3 * RandomStreams(5, 0, 1).normal(0, {1, 8, 8}, at::kFloat);
  const FlowResult up = follow(*bed.prior, x, range.minimum, range.maximum, 1e-6);
  const FlowResult back = follow(*bed.prior, up.x, range.maximum, range.minimum, 1e-6);
  EXPECT_GT(rms(up.x - x), 1.0);
  // Float32 at sigma_max = 21 is 6e-8 * 21; the way back makes it at most tenfold where modes part, 1.3e-5.
  EXPECT_LT(rms(back.x - x), 2e-5);
}

TEST(ProbabilityFlow, DoesNotDependOnThreads) {
  const GaussianPrior prior = gaussian(SpectralBasis::kDct, 64, 0.3);
  const at::Tensor x = noisy_image(prior, 64, prior.range().minimum, 3), probes = RandomStreams(1, 0, 2).normal(0, {1, 64, 64}, at::kFloat);
  Observer observer;
  const int threads = at::get_num_threads();
  std::vector<FlowResult> results;
  for (const int n : {1, 3}) {
    at::set_num_threads(n);
    results.push_back(follow_flow(prior, x, prior.range().minimum, prior.range().maximum, probes, {}, observer));
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(results[0].x, results[1].x));
  EXPECT_EQ(results[0].divergence, results[1].divergence);
}

TEST(ProbabilityFlow, Mistakes) {
  const GaussianPrior prior = gaussian(SpectralBasis::kDct, 16, 0.0);
  const at::Tensor x = noisy_image(prior, 16, 0.1, 1);
  Observer observer;
  const auto refuse = [&](ErrorKind kind, const std::string& named, const Prior& used, const at::Tensor& image, double to, const at::Tensor& probes, const FlowOptions& options) {
    expect_error(kind, named, [&] { follow_flow(used, image, 0.1, to, probes, options, observer); });
  };
  refuse(ErrorKind::kUsage, "noise levels", prior, x, 0.0, {}, {});
  refuse(ErrorKind::kUsage, "rtol", prior, x, 1.0, {}, {.rtol = 0.0});
  refuse(ErrorKind::kUsage, "atol", prior, x, 1.0, {}, {.atol = -1.0});
  refuse(ErrorKind::kUsage, "max_steps", prior, x, 1.0, {}, {.max_steps = 0});
  refuse(ErrorKind::kBadData, "shape", prior, at::zeros({2, 1, 16, 16}), 1.0, {}, {});
  refuse(ErrorKind::kBadData, "type", prior, at::zeros({1, 1, 16, 16}, at::kComplexFloat), 1.0, {}, {});
  refuse(ErrorKind::kBadData, "probes", prior, x, 1.0, at::ones({1, 1, 16, 17}), {});
  refuse(ErrorKind::kNumerical, "in 3 steps", prior, x, 10.0, {}, {.rtol = 1e-9, .max_steps = 3});

  struct NotFinite : GaussianPrior {
    using GaussianPrior::GaussianPrior;
    at::Tensor denoise(const at::Tensor& image, double sigma) const override { return sigma > 0.5 ? image * NAN : GaussianPrior::denoise(image, sigma); }
  };
  const NotFinite bad(SpectralBasis::kDct, prior.spectrum(), prior.mean(), 0.0, prior.info());
  refuse(ErrorKind::kNumerical, "not finite at sigma", bad, x, 1.0, {}, {});
  struct WithoutGraph : GaussianPrior {
    using GaussianPrior::GaussianPrior;
    at::Tensor denoise(const at::Tensor& image, double sigma) const override { return GaussianPrior::denoise(image.detach(), sigma); }
  };
  const WithoutGraph closed(SpectralBasis::kDct, prior.spectrum(), prior.mean(), 0.0, prior.info());
  refuse(ErrorKind::kUnavailable, "cannot be differentiated", closed, x, 1.0, at::ones({1, 1, 16, 16}), {});
}

TEST(ProbabilityFlow, StopsWhereTheObserverCancels) {
  const GaussianPrior prior = gaussian(SpectralBasis::kDct, 16, 0.0);
  struct StopAfterTwo : Observer {
    void on_step(const Step& step) override { fraction = static_cast<double>(step.done) / static_cast<double>(step.total), ++n; }
    bool cancelled() const override { return n == 2; }
    int n = 0;
    double fraction = 0.0;
  } observer;
  const FlowResult result = follow_flow(prior, noisy_image(prior, 16, 0.1, 1), 0.1, 30.0, {}, {}, observer);
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.n_steps, 2);
  EXPECT_NEAR(std::log(result.sigma / 0.1) / std::log(300.0), observer.fraction, 1e-3);
}

// The solver dpm-solver-2m: the same map by a fixed number of levels, of second order. Its end is denoised once more.
TEST(ProbabilityFlow, SamplingMethodIsOfSecondOrder) {
  const GaussianPrior prior = gaussian(SpectralBasis::kDct, 24, 0.3);
  const SigmaRange range = prior.range();
  SamplerOptions options;
  options.method = "prior";
  options.solver = "dpm-solver-2m";
  options.n_samples = 3;
  options.seed = 7;
  Observer observer;
  const at::Tensor start = prior.draw_noisy(RandomStreams(7, 0, 3).normal(0, {1, 24, 24}, at::kFloat), range.maximum);
  const at::Tensor exact = prior.denoise(exact_flow(prior, start, range.maximum, range.minimum), range.minimum);
  std::vector<double> errors;
  for (const int n_steps : {40, 80, 160}) {
    options.n_steps = n_steps;
    const Samples samples = sample(prior, nullptr, {1, 24, 24}, options, observer);
    EXPECT_EQ(samples.report.nfe, n_steps);
    errors.push_back(rms(samples.x - exact));
  }
  // Halving the steps divides the error by 4, up to the next order: a first-order rule would give 2.
  for (std::size_t i = 1; i < errors.size(); ++i) EXPECT_NEAR(std::log2(errors[i - 1] / errors[i]), 2.0, 0.4);
  const at::Tensor together = sample(prior, nullptr, {1, 24, 24}, options, observer).x;
  options.batch_size = 2;
  EXPECT_TRUE(at::equal(sample(prior, nullptr, {1, 24, 24}, options, observer).x, together));
}

TEST(ProbabilityFlow, SamplingMethodRefusesAMeasurement) {
  const Bed bed = t2c_box6();
  const GaussianLikelihood likelihood(bed.op, bed.y, bed.sigma_y);
  SamplerOptions options;
  options.method = "prior";
  Observer observer;
  expect_error(ErrorKind::kUsage, "the prior alone", [&] { sample(*bed.prior, &likelihood, {1, 8, 8}, options, observer); });
}

}  // namespace
}  // namespace postrec::test
