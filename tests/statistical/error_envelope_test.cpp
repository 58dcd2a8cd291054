// Images that are quiet in one half and busy in the other, under a sampler whose covariance of the error is the same everywhere but for its envelope.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "beds.hpp"
#include "postrec/calibration.hpp"
#include "postrec/error_table.hpp"
#include "postrec/random.hpp"
#include "postrec/sampler.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSize = 48, kSamples = 16;
constexpr double kNoise = 0.1, kQuiet = 0.05;

/// Independent pixels of deviation kQuiet in the left half, 1 in the right one. The denoiser is exact; its error is measured, as of a network.
class TwoHalves : public Prior {
 public:
  explicit TwoHalves(SpectralBasis basis) : deviation_(at::ones({1, kSize, kSize})) {
    deviation_.narrow(-1, 0, kSize / 2).fill_(kQuiet);
    std::vector<at::Tensor> images;
    for (std::int64_t i = 0; i < 20; ++i) images.push_back(draw(i));
    errors_ = std::make_unique<ErrorTable>(measure_error_table([this](const at::Tensor& x, double sigma) { return denoise(x, sigma); }, basis, images, 16));
    info_.name = "two halves";
  }
  at::Tensor draw(std::int64_t i) const { return deviation_ * RandomStreams(11, i, 1).normal(0, {1, kSize, kSize}, at::kFloat)[0]; }

  TensorSpec domain() const override { return {{1, kSize, kSize}, at::kFloat}; }
  const PriorInfo& info() const override { return info_; }
  SigmaRange range() const override { return {1e-3, 20.0}; }
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const override {
    const at::Tensor variance = deviation_.square();
    return x_t * (variance / (variance + sigma * sigma));
  }
  bool error_covariance_is_measured() const override { return true; }
  SpectralCovariance error_covariance(double sigma, const std::vector<std::int64_t>& shape) const override { return errors_->at_sigma(sigma, shape); }
  SpectralCovariance error_covariance_around(const at::Tensor& denoised, double sigma) const override { return errors_->around(denoised, sigma); }

 private:
  at::Tensor deviation_;
  std::unique_ptr<ErrorTable> errors_;
  PriorInfo info_;
};

struct Halves {
  ErrorAndSpread quiet, busy;
};

/// Error and spread where `asked` is true, over so many measurements.
Halves errors_of(const TwoHalves& prior, const std::shared_ptr<const Operator>& op, double noise, const at::Tensor& asked, std::int64_t n_replicates,
                 const std::map<std::string, double>& settings) {
  SamplerOptions options;
  options.n_samples = kSamples;
  options.n_steps = 10;
  options.settings = settings;
  Observer observer;
  Halves halves;
  for (std::int64_t r = 0; r < n_replicates; ++r) {
    const at::Tensor truth = prior.draw(1000 + r);
    const at::Tensor y = (op->forward(truth.unsqueeze(0)) + noise * RandomStreams(3, r, 1).normal(0, op->codomain().shape, at::kFloat))[0];
    const GaussianLikelihood likelihood(op, y, noise);
    options.seed = 100 + static_cast<std::uint64_t>(r);
    const at::Tensor x = sample(prior, &likelihood, {1, kSize, kSize}, options, observer).x * asked, right = truth * asked;
    halves.quiet += error_and_spread(x.narrow(-1, 4, kSize / 2 - 8), right.narrow(-1, 4, kSize / 2 - 8));
    halves.busy += error_and_spread(x.narrow(-1, kSize / 2 + 4, kSize / 2 - 8), right.narrow(-1, kSize / 2 + 4, kSize / 2 - 8));
  }
  return halves;
}

/// Every second pixel is seen; error and spread at those that are not.
Halves hidden_pixels(bool envelope) {
  const at::Tensor mask = RandomStreams(9, 0, 1).uniform(0, {kSize, kSize})[0].lt(0.5);
  return errors_of(TwoHalves(SpectralBasis::kDct), std::make_shared<MaskOperator>(mask, 1, at::kFloat), kNoise, mask.logical_not(), 12, {{"envelope", envelope}});
}

/// A third of the rows of k-space are seen with next to no noise, as a coil does.
Halves little_noise(double anneal) {
  std::vector<std::int64_t> rows;
  for (std::int64_t k = 0; k < kSize; k += 3) rows.push_back(k);
  return errors_of(TwoHalves(SpectralBasis::kDft), std::make_shared<RealFourierRows>(kSize, kSize, rows), 1e-3, at::ones({kSize, kSize}, at::kBool), 4, {{"anneal", anneal}});
}

// 12 replicates of 384 hidden pixels in each half: the squared error over the variance has a relative standard deviation of (2/4600)^(1/2) = .021; 4.8 of it, a false
// alarm of 2e-6. Found: .99 and 1.00; without the envelope .50 and 1.30.
TEST(ErrorEnvelope, TheQuietHalfIsQuiet) {
  const Halves with = hidden_pixels(true), without = hidden_pixels(false);
  EXPECT_NEAR(with.quiet.chi2(), 1.0, 0.1);
  EXPECT_NEAR(with.busy.chi2(), 1.0, 0.1);
  // Or there would be nothing to do for an envelope.
  EXPECT_LT(without.quiet.chi2(), 0.7);
  EXPECT_GT(without.busy.chi2(), 1.15);
}

// 4 replicates of two thirds of 768 pixels in each half: a relative standard deviation of (2/2000)^(1/2) = .03; 3.2 of it, a false alarm of .0014 for each half over seeds
// (the seeds are fixed). Found: 1.03 and .99; with sigma_y alone conjugate gradients do not arrive, and .28 and .09 are found.
TEST(ErrorEnvelope, LittleNoiseIsNoObstacle) {
  const Halves annealed = little_noise(0.05), stiff = little_noise(0.0);
  EXPECT_NEAR(annealed.quiet.chi2(), 1.0, 0.1);
  EXPECT_NEAR(annealed.busy.chi2(), 1.0, 0.1);
  EXPECT_LT(stiff.quiet.chi2(), 0.7);
}

}  // namespace
}  // namespace postrec::test
