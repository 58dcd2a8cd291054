#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "beds.hpp"
#include "postrec/sampler.hpp"
#include "statistics.hpp"

namespace postrec::test {
namespace {

// Seeds are fixed: every test here gives the same answer each time. False-alarm rates are what a correct sampler would have over seeds.

using Settings = std::map<std::string, double>;

SamplerOptions options(const std::string& method, int n_steps, Settings settings, std::int64_t n_samples, std::uint64_t seed) {
  SamplerOptions result;
  result.method = method;
  result.settings = std::move(settings);
  result.n_samples = n_samples;
  result.n_steps = n_steps;
  result.seed = seed;
  return result;
}

Samples run(const Bed& bed, const SamplerOptions& how) {
  const GaussianLikelihood likelihood(bed.op, bed.y, bed.sigma_y);
  Observer observer;
  return sample(*bed.prior, &likelihood, bed.op->domain().shape, how, observer);
}

// z-scores of 4.5: false alarm 7e-6 each.
void expect_moments(const Bed& bed, const SamplerOptions& how) {
  const ExactPosterior posterior = bed.posterior();
  const MomentScores scores = moment_scores(as_real_rows(run(bed, how).x), posterior.mean(), posterior.covariance());
  EXPECT_LT(scores.mean, 4.5) << bed.name;
  EXPECT_LT(scores.covariance, 4.5) << bed.name;
}

Bed coils() {
  at::Tensor mask = at::zeros({10, 10});
  for (const int row : {0, 1, 4, 7, 9}) mask[row].fill_(1.0);
  const auto op = std::make_shared<CoilOperator>(ring_of_coils(3, 10, 10), mask);
  const MixturePrior::Component component = {1.0, at::zeros({1, 10, 10}, at::kComplexFloat), lorentzian_spectrum(10, 0.25)};
  const auto prior = std::make_shared<MixturePrior>(SpectralBasis::kDft, std::vector{component}, PriorInfo{});
  return {"coils", prior, op, op->forward(at::complex(wave(10, 1, 2, 0), wave(10, 2, 1, 1)).unsqueeze(0))[0], 0.1};
}

// The kernel below the noise of the data leaves the posterior as it is: 60 and 30 sweeps from exact samples (one step of brsmc is exact for
// a Gaussian), x given z by one step, exact too: 61 and 31 evaluations.
TEST(SplitGibbs, KernelKeepsThePosterior) {
  expect_moments(t1c_box8(), options("split-gibbs", 60, {{"start-steps", 1}, {"sde-steps", 1}}, 2048, 2));
  expect_moments(coils(), options("split-gibbs", 30, {{"start-steps", 1}, {"sde-steps", 1}}, 1024, 2));
}

// From noise, through all rho from 1 to .98 sigma_y/||A||: 200 sweeps of one evaluation. With 50, the mean of box8 is not there
// yet (z = 13).
TEST(SplitGibbs, FindsThePosteriorFromNoise) {
  for (const Bed& bed : {t1c_box8(), t1c_mri4x()})
    expect_moments(bed, options("split-gibbs", 200, {{"start-steps", 0}, {"sde-steps", 1}}, 2048, 3));
}

// As it comes, with 20 evaluations a sweep and 60 for the start: 120 in all.
TEST(SplitGibbs, DefaultsAgreeWithTheClosedForm) { expect_moments(t1c_mri4x(), options("split-gibbs", 3, {{"group", 1}}, 1024, 4)); }

// Right mode weights where the data are ambiguous: 1000 evaluations, of which 60 for the start and 940 below the noise of the data. Over
// twenty seeds the distance is 1.27 +- .32, the spread .994 +- .015, the coverage .895 +- .003. The bounds lie 4, 4.3 and 5 standard
// deviations away: false alarm 1e-4. From noise the weights are wrong (4.1 +- .3), because rho falls faster than modes exchange.
TEST(SplitGibbs, FindsTheModes) {
  const Bed bed = t2c_box6();
  const Samples samples = run(bed, options("split-gibbs", 47, {}, 512, 1));
  EXPECT_EQ(samples.report.nfe, 1000);
  const Agreement agreement = Comparison(bed.posterior(), 512)(as_real_rows(samples.x));
  EXPECT_LE(agreement.distance, 2.55);
  EXPECT_NEAR(agreement.spread, 0.994, 0.065);
  EXPECT_NEAR(agreement.coverage, 0.895, 0.015);
}

/// A method with 20 and 50 evaluations, or as nearly as its levels allow, and what it gave over ten seeds: mean and standard deviation of
/// the distance, mean of the spread.
struct Figures {
  std::string method;
  Settings settings;
  int levels_20, levels_50;
  double distance_20, deviation_20, spread_20;
  double distance_50, deviation_50, spread_50;
};

// Six standard deviations: false alarm 3e-4 a figure over seeds, since a deviation of ten seeds is itself an estimate (Student's t), and 2 % for the 56. So two methods whose means are twelve apart keep their order.
// Of the spread the deviation is a share of it, the largest of all rows.
// The order is that of the study of samplers: split Gibbs and DiffPIR ahead, DDRM and DiffPIR too narrow, exact DAPS and annealed Langevin
// far too wide at few evaluations.
void expect_figures(const Bed& bed, double share, const std::vector<Figures>& table) {
  const Comparison compare(bed.posterior(), 512);
  for (const Figures& row : table) {
    const Agreement with_20 = compare(as_real_rows(run(bed, options(row.method, row.levels_20, row.settings, 512, 5)).x));
    EXPECT_NEAR(with_20.distance, row.distance_20, 6 * row.deviation_20) << bed.name << " " << row.method << " 20";
    EXPECT_NEAR(with_20.spread, row.spread_20, 6 * share * row.spread_20) << bed.name << " " << row.method << " 20";
    const Agreement with_50 = compare(as_real_rows(run(bed, options(row.method, row.levels_50, row.settings, 512, 6)).x));
    EXPECT_NEAR(with_50.distance, row.distance_50, 6 * row.deviation_50) << bed.name << " " << row.method << " 50";
    EXPECT_NEAR(with_50.spread, row.spread_50, 6 * share * row.spread_50) << bed.name << " " << row.method << " 50";
  }
}

const Settings kShortSweeps = {{"sde-steps", 5}, {"start-steps", 0}};

TEST(Walks, T1cBox8) {
  expect_figures(t1c_box8(), 0.005, {
      {"split-gibbs", kShortSweeps, 4, 10, 2.44, .07, 1.02, 1.80, .06, 1.01},
      {"diffpir", {}, 20, 50, 2.47, .14, .85, 2.33, .13, .93},
      {"ddrm", {}, 20, 50, 2.62, .10, .75, 2.12, .07, .59},
      {"daps", {}, 4, 10, 3.41, .09, 2.02, 2.68, .07, 1.64},
      {"preconditioned-langevin", {}, 20, 50, 10.88, .17, 1.35, 3.29, .09, 1.10},
      {"daps-exact", {}, 4, 10, 54.5, .26, 2.53, 10.75, .08, 1.29},
      {"annealed-langevin", {}, 4, 10, 95.3, .45, 7.14, 17.9, .20, 2.06},
  });
}

TEST(Walks, T2cBox6) {
  expect_figures(t2c_box6(), 0.016, {
      {"ddrm", {}, 20, 50, 4.32, .21, .98, 4.28, .27, .92},
      {"diffpir", {}, 20, 50, 5.21, .22, 1.08, 5.33, .33, 1.14},
      {"split-gibbs", kShortSweeps, 4, 10, 6.51, .30, 1.28, 5.71, .36, 1.24},
      {"daps", {}, 4, 10, 7.16, .21, 1.59, 7.40, .28, 1.67},
      {"preconditioned-langevin", {}, 20, 50, 17.7, .13, 2.27, 8.16, .29, 1.46},
      {"daps-exact", {}, 4, 10, 71.3, .44, 6.86, 17.5, .19, 2.17},
      {"annealed-langevin", {}, 4, 10, 125.3, .61, 12.7, 22.3, .32, 2.77},
  });
}

// With enough evaluations the unadjusted chain with the exact likelihood comes near: 500 give 1.11 +- .10 and a spread of 1.008 +- .003
// (the deviation with 50): bounds 4.9 and 4 deviations away, false alarm 1e-4.
TEST(Walks, PreconditionedLangevinConverges) {
  const Bed bed = t1c_box8();
  const Samples samples = run(bed, options("preconditioned-langevin", 500, {}, 512, 7));
  const Agreement agreement = Comparison(bed.posterior(), 512)(as_real_rows(samples.x));
  EXPECT_LE(agreement.distance, 1.6);
  EXPECT_NEAR(agreement.spread, 1.0, 0.02);
}

// Annealed Langevin of the prior alone, 100 levels of 5 steps chosen by technique 4: the spread of T1c's pixels, .5. Over seeds it varies
// by less than .005; the bound of .05 is for what such steps leave, and never met by chance.
TEST(Walks, AnnealedLangevinOfThePrior) {
  const Bed bed = t1c_box8();
  Observer observer;
  const at::Tensor x = as_real_rows(sample(*bed.prior, nullptr, {1, 16, 16}, options("annealed-langevin", 100, {}, 512, 8), observer).x);
  EXPECT_NEAR(x.square().mean().sqrt().item<double>(), 0.5, 0.05);
}

}  // namespace
}  // namespace postrec::test
