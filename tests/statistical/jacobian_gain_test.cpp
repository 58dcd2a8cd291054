// A table that knows how large the denoiser's error is and nothing of its spectrum, and what the denoiser's Jacobian lets the bridge do about it.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>

#include "beds.hpp"
#include "postrec/calibration.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/random.hpp"
#include "postrec/sampler.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSize = 48, kReplicates = 12, kSamples = 16;
constexpr double kNoise = 0.1;

/// A prior with its table levelled out, if so told: the same variance at every frequency.
class LevelledTable : public GaussianPrior {
 public:
  explicit LevelledTable(bool levelled)
      : GaussianPrior(SpectralBasis::kDct, lorentzian_spectrum(kSize, 0.25).roll({-kSize / 2, -kSize / 2}, {-2, -1}), at::zeros({1}), 0.0, PriorInfo{"test"}),
        levelled_(levelled) {}
  bool error_covariance_is_measured() const override { return levelled_; }
  SpectralCovariance error_covariance(double sigma, const std::vector<std::int64_t>& shape) const override {
    const SpectralCovariance right = GaussianPrior::error_covariance(sigma, shape);
    return levelled_ ? SpectralCovariance(right.basis(), at::full_like(right.eigenvalues(), right.eigenvalues().mean().item<double>())) : right;
  }

 private:
  bool levelled_;
};

/// Error and spread where nothing was measured.
ErrorAndSpread hidden_part(const LevelledTable& prior, double jacobian_to) {
  const std::vector<std::int64_t> shape = {1, kSize, kSize};
  const at::Tensor mask = RandomStreams(9, 0, 1).uniform(0, {kSize, kSize})[0].lt(0.5);  // every second pixel is seen
  const auto op = std::make_shared<MaskOperator>(mask, 1, at::kFloat);
  const at::Tensor truths = SpectralCovariance(SpectralBasis::kDct, prior.spectrum()).apply_factor(RandomStreams(5, 0, kReplicates).normal(0, shape, at::kFloat));
  SamplerOptions options;
  options.n_samples = kSamples;
  options.n_steps = 10;
  options.settings = {{"inflate", 0.0}, {"jacobian-from", 0.0}, {"jacobian-to", jacobian_to}};
  Observer observer;
  ErrorAndSpread hidden;
  for (std::int64_t r = 0; r < kReplicates; ++r) {
    const at::Tensor y = (op->forward(truths[r].unsqueeze(0)) + kNoise * RandomStreams(3, r, 1).normal(0, op->codomain().shape, at::kFloat))[0];
    const GaussianLikelihood likelihood(op, y, kNoise);
    options.seed = 100 + static_cast<std::uint64_t>(r);
    const at::Tensor x = sample(prior, &likelihood, shape, options, observer).x;
    hidden += error_and_spread(x * mask.logical_not(), truths[r] * mask.logical_not());
  }
  return hidden;
}

// Squared errors of the means over that of the right table, from the same truths and seeds: 1.03 here, and 1.33 without the Jacobian. Of pixels of unlike error there are, at the very least, 64 independent
// patches of six by six a replicate, so an error of its own has a standard deviation of (2/768)^(1/2) = .051, and the difference of two that share truths and data less than half of it: bounds 3 and 5 of
// those away, false alarm 2e-3 over seeds. Spread: as in error_inflation_test, 4 of .051, 6e-5.
TEST(JacobianGain, TellsWhatALevelledTableDoesNot) {
  const LevelledTable levelled(true), right(false);
  const ErrorAndSpread with = hidden_part(levelled, 1.0), without = hidden_part(levelled, 0.0), best = hidden_part(right, 0.0);
  EXPECT_LT(with.squared_error, 1.1 * best.squared_error);
  EXPECT_NEAR(with.chi2(), 1.0, 0.21);
  EXPECT_GT(without.squared_error, 1.2 * best.squared_error);  // or there would have been nothing to tell
}

}  // namespace
}  // namespace postrec::test
