// A table c(sigma) that is wrong for the scan at hand, and what the measurement lets the bridge do about it.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "beds.hpp"
#include "postrec/calibration.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/random.hpp"
#include "postrec/sampler.hpp"
#include "wrong_table.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSize = 48, kReplicates = 12, kSamples = 16;
constexpr double kNoise = 0.1;

struct Outcome {
  double chi2 = 0.0;                           ///< of the data, about the samples
  ErrorAndSpread hidden, seen;
  double misfit_distance = 0.0;                ///< squared distance of the truth's misfit from the samples', over its expectation, sum over replicates
};

Outcome with_table(double factor, bool inflate, int n_levels = 6) {
  PriorInfo info;
  info.name = "test";
  const GaussianPrior prior(SpectralBasis::kDct, lorentzian_spectrum(kSize, 0.25).roll({-kSize / 2, -kSize / 2}, {-2, -1}), at::zeros({1}), 0.0, info);
  const WrongTable told(prior, factor, true);
  const std::vector<std::int64_t> shape = {1, kSize, kSize};
  const at::Tensor mask = RandomStreams(9, 0, 1).uniform(0, {kSize, kSize})[0].lt(0.5);  // every second pixel is seen
  const auto op = std::make_shared<MaskOperator>(mask, 1, at::kFloat);
  SamplerOptions options;
  options.n_samples = kReplicates;
  options.n_steps = n_levels;
  Observer observer;
  const at::Tensor truths = sample(prior, nullptr, shape, options, observer).x;
  options.n_samples = kSamples;
  options.settings["inflate"] = inflate;
  Outcome outcome;
  for (std::int64_t r = 0; r < kReplicates; ++r) {
    const at::Tensor truth = truths[r];
    const at::Tensor y = (op->forward(truth.unsqueeze(0)) + kNoise * RandomStreams(3, r, 1).normal(0, op->codomain().shape, at::kFloat))[0];
    const GaussianLikelihood likelihood(op, y, kNoise);
    options.seed = 100 + static_cast<std::uint64_t>(r);
    const at::Tensor x = sample(told, &likelihood, shape, options, observer).x;
    const at::Tensor misfits = likelihood.reduced_chi2(x);
    const double distance = likelihood.reduced_chi2(truth.unsqueeze(0)).item<double>() - misfits.mean().item<double>();
    outcome.chi2 += misfits.mean().item<double>() / kReplicates;
    outcome.misfit_distance += distance * distance / (misfits.var().item<double>() * (1.0 + 1.0 / kSamples));
    outcome.seen += error_and_spread(x * mask, truth * mask);
    outcome.hidden += error_and_spread(x * mask.logical_not(), truth * mask.logical_not());
  }
  return outcome;
}

// The chi-square of 12 replicates of about 1150 data has a standard deviation of (2/13800)^(1/2) = .012; 4.5 of it: false alarm 7e-6. Besides, a tenth of what a
// sampler that believes the table is wrong by: at the last levels the error drowns in noise and the table is kept. Hidden and seen: pixels of unlike error, at the very
// least 64 independent patches of six by six a replicate, so (2/768)^(1/2) = .051 and 4 of it: 6e-5.
TEST(ErrorInflation, AWrongTableIsMendedFromTheMeasurement) {
  for (const double factor : {0.2, 3.0}) {
    const Outcome mended = with_table(factor, true), believed = with_table(factor, false);
    EXPECT_NEAR(mended.chi2, 1.0, 0.054 + 0.1 * std::abs(believed.chi2 - 1.0));
    for (const ErrorAndSpread& part : {mended.hidden, mended.seen}) EXPECT_NEAR(part.chi2(), 1.0, 0.21);
    // Or there would have been nothing to mend.
    EXPECT_GT(std::abs(believed.chi2 - 1.0), 0.15);
    EXPECT_GT(std::abs(believed.hidden.chi2() - 1.0), 0.4);
  }
}

// A right table is left as it is, up to the estimate's own noise.
TEST(ErrorInflation, ARightTableIsKept) {
  const Outcome kept = with_table(1.0, true);
  EXPECT_NEAR(kept.chi2, 1.0, 0.054);
  for (const ErrorAndSpread& part : {kept.hidden, kept.seen}) EXPECT_NEAR(part.chi2(), 1.0, 0.21);
}

// The truth's misfit is as far from the samples' as these are from each other, although every sample is led by its own: 17 here, 52 when each was told that the noise's
// energy is what was expected. 12 squares over variances from 16 samples, F(1, 15) with a mean of 15/13: their sum is above 34 once in a hundred seeds.
TEST(ErrorInflation, MisfitsDifferAsTheTruthsDoes) { EXPECT_LT(with_table(1.0, true, 20).misfit_distance, kReplicates + 4.5 * std::sqrt(2.0 * kReplicates)); }

}  // namespace
}  // namespace postrec::test
