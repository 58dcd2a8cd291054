// A denoiser that shifts the mean of an image, by the same at every noise level, under the bridge: with its correction and without.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "postrec/calibration.hpp"
#include "postrec/error_table.hpp"
#include "postrec/random.hpp"
#include "postrec/sampler.hpp"
#include "shifting_denoiser.hpp"
#include "test_operators.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSize = 32, kSamples = 16;
constexpr double kNoise = 0.1;
constexpr double kShift = kNoise / kSize;      // as large in the coefficient of the mean as the noise of the data

at::Tensor draw(const GaussianPrior& prior, std::int64_t i) {
  const SpectralCovariance covariance(prior.basis(), prior.spectrum_for({1, kSize, kSize}));
  return covariance.apply_factor(RandomStreams(17, i, 1).normal(0, {1, kSize, kSize}, at::kFloat))[0];
}

/// That denoiser with what was measured of it, as a network's.
class Shifted : public Prior {
 public:
  explicit Shifted(bool corrected) : denoiser_{smooth_gaussian(), kShift} {
    std::vector<at::Tensor> images;
    for (std::int64_t i = 0; i < 64; ++i) images.push_back(draw(denoiser_.prior, i));
    const ErrorTable measured = measure_error_table(denoiser_, SpectralBasis::kDct, images, kSize);
    // Without the correction: the error of the denoiser as it is. What it adds to c at frequency 0 is shift^2 in the mean.
    at::Tensor c = measured.eigenvalues().clone();
    for (std::size_t level = 0; level < measured.sigmas().size(); ++level)
      c[static_cast<std::int64_t>(level)] = denoiser_.prior.error_covariance(measured.sigmas()[level], {1, kSize, kSize}).eigenvalues();
    c.select(-1, 0).select(-1, 0) += kShift * kShift * kSize * kSize;
    errors_ = std::make_unique<ErrorTable>(corrected ? measured : ErrorTable(SpectralBasis::kDct, measured.sigmas(), c));
    info_.name = "shifted";
  }

  TensorSpec domain() const override { return denoiser_.prior.domain(); }
  const PriorInfo& info() const override { return info_; }
  SigmaRange range() const override { return {1e-3, 60.0}; }
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const override { return errors_->corrected(x_t, denoiser_(x_t, sigma), sigma); }
  bool error_covariance_is_measured() const override { return true; }
  SpectralCovariance error_covariance(double sigma, const std::vector<std::int64_t>& shape) const override { return errors_->at_sigma(sigma, shape); }
  const GaussianPrior& images() const { return denoiser_.prior; }

 private:
  ShiftingDenoiser denoiser_;
  std::unique_ptr<ErrorTable> errors_;
  PriorInfo info_;
};

/// Error over spread of the mean of images of which every pixel is seen.
ErrorAndSpread mean_of_images(bool corrected) {
  constexpr std::int64_t kReplicates = 100;
  const Shifted prior(corrected);
  const auto op = std::make_shared<MaskOperator>(at::ones({kSize, kSize}), 1, at::kFloat);
  SamplerOptions options;
  options.n_samples = kSamples;
  options.n_steps = 16;
  options.settings = {{"inflate", 0.0}};       // on trial is the denoiser alone
  Observer observer;
  ErrorAndSpread sums;
  for (std::int64_t r = 0; r < kReplicates; ++r) {
    const at::Tensor truth = draw(prior.images(), 1000 + r);
    const at::Tensor y = (op->forward(truth.unsqueeze(0)) + kNoise * RandomStreams(3, r, 1).normal(0, op->codomain().shape, at::kFloat))[0];
    const GaussianLikelihood likelihood(op, y, kNoise);
    options.seed = 100 + static_cast<std::uint64_t>(r);
    const at::Tensor x = sample(prior, &likelihood, {1, kSize, kSize}, options, observer).x;
    sums += error_and_spread(x.mean(at::IntArrayRef{1, 2, 3}).unsqueeze(1), truth.mean().unsqueeze(0));
  }
  return sums;
}

// With a shift of the size of the noise s, every level draws the mean to y + s of its own posterior and forgets what it drew before: an error of 2 s^2 beside a variance of 2 s^2/3, 3 in all.
// Exact figures of 100 replicates have a relative standard deviation of sqrt(2/100 + 2/1500) = .146: 1 +- .6 is left by 4.1 of them (2e-4, for they are skewed), and 3 is above 2 by 2.3.
TEST(DenoiserCorrection, AShiftOfTheMeanIsNoCertainty) {
  const double with = mean_of_images(true).chi2(), without = mean_of_images(false).chi2();
  EXPECT_NEAR(with, 1.0, 0.6);
  EXPECT_GT(without, 2.0);                     // or there would be nothing to correct
}

}  // namespace
}  // namespace postrec::test
