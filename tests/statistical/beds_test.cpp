#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "beds.hpp"
#include "mode_weights.hpp"
#include "postrec/sampler.hpp"
#include "statistics.hpp"

namespace postrec::test {
namespace {

// The beds of the study of samplers. Bounds come from 20 seeds of the program postrec_sampler_study: mean plus four and a half standard deviations of
// what is averaged here, unless a line says otherwise; a correct sampler would fail one line with probability 3e-6 if its figure were normal, and
// about 1e-4 with the skewness that distances have. Seeds are fixed: every test gives the same answer each time.

constexpr std::int64_t kSet = 512;             // samples that one exact set is compared with

struct Outcome {
  Agreement mean;                              ///< over sets of 512 samples
  double weight_error = 0.0;                   ///< of the modes, all samples together
  double least_share = 1.0;                    ///< effective sample size over the size of its group
};

Outcome outcome(const Bed& bed, const std::string& method, int n_steps, std::int64_t n_sets) {
  const GaussianLikelihood likelihood(bed.op, bed.y, bed.sigma_y);
  SamplerOptions how;
  how.method = method;
  how.n_samples = n_sets * kSet;
  how.n_steps = n_steps;
  how.seed = 1;
  Observer observer;
  const Samples samples = sample(*bed.prior, &likelihood, bed.op->domain().shape, how, observer);
  const at::Tensor x = as_real_rows(samples.x);
  const ExactPosterior posterior = bed.posterior();
  const Comparison compare(posterior, kSet);
  Outcome result;
  for (std::int64_t i = 0; i < n_sets; ++i) {
    const Agreement agreement = compare(x.narrow(0, i * kSet, kSet));
    result.mean.distance += agreement.distance / static_cast<double>(n_sets);
    result.mean.spread += agreement.spread / static_cast<double>(n_sets);
    result.mean.coverage += agreement.coverage / static_cast<double>(n_sets);
  }
  result.weight_error = weight_error(posterior, x);
  result.least_share = *std::min_element(samples.report.effective_share.begin(), samples.report.effective_share.end());
  return result;
}

// Raw distances between exact sets of 512, as the study lists them. Ours are means over the 15 pairs of six sets, the study's come from other sets and
// directions: 1 to 5 % apart here.
TEST(Beds, FloorsAreThoseOfTheStudy) {
  const std::pair<Bed, double> table[] = {{t1c_box8(), .0239}, {t1c_mri4x(), .0368}, {t2c_box6(), .0242}, {t2c_mri1(), .0316}, {t2c_box4(), .0097}};
  for (const auto& [bed, floor] : table) EXPECT_NEAR(Comparison(bed.posterior(), kSet).floor() / floor, 1.0, 0.1) << bed.name;
}

// For a Gaussian the weights stay as they were, whatever the particles see: what is left comes from the table of c between its levels and from the
// solver. The last resampling costs a little distance.
TEST(BridgeSmc, WeightsOfAGaussianStayEqual) {
  for (const Bed& bed : {t1c_box8(), t1c_mri4x()}) {
    const Outcome result = outcome(bed, "brsmc", 10, 1);
    EXPECT_GT(result.least_share, 0.8) << bed.name;
    EXPECT_LT(result.mean.distance, 1.2) << bed.name;
    EXPECT_NEAR(result.mean.spread, 1.0, 0.02) << bed.name;
    EXPECT_NEAR(result.mean.coverage, 0.8965, 0.01) << bed.name;
  }
}

// The bridge alone keeps the prior's share of each mode too long: weight errors of .246 +- .017, .357 +- .015 and .404 +- .022.
TEST(Bridge, MixturesAsInTheStudy) {
  struct Expected {
    Bed bed;
    Agreement mean, bound;
  };
  const Expected table[] = {{t2c_box6(), {4.21, 1.155, .908}, {1.22, .072, .014}},
                            {t2c_mri1(), {6.19, .993, .843}, {.99, .054, .032}},
                            {t2c_box4(), {4.00, 1.091, .910}, {1.49, .041, .009}}};
  for (const auto& [bed, mean, bound] : table) {
    const Outcome result = outcome(bed, "bridge", 50, 1);
    EXPECT_NEAR(result.mean.distance, mean.distance, bound.distance) << bed.name;
    EXPECT_NEAR(result.mean.spread, mean.spread, bound.spread) << bed.name;
    EXPECT_NEAR(result.mean.coverage, mean.coverage, bound.coverage) << bed.name;
  }
}

// Groups of 32, six sets of 512. Over seeds one set gave: distance 1.54 +- .29, spread .992 +- .026, coverage .891 +- .006; weights .062 +- .021 for six.
// The distance is the study's target, 3.9 standard deviations away.
TEST(BridgeSmc, T2cBox6) {
  const Outcome result = outcome(t2c_box6(), "brsmc", 50, 6);
  EXPECT_LT(result.mean.distance, 2.0);
  EXPECT_NEAR(result.mean.spread, 0.992, 0.048);
  EXPECT_NEAR(result.mean.coverage, 0.891, 0.011);
  EXPECT_LT(result.weight_error, 0.16);
}

// 2.41 +- .60 (the study asks 2.8 of one set), .955 +- .014, .874 +- .006; weights .150 +- .029 for six: 50 levels and groups of any size leave about as
// much of the bridge's error, 200 levels leave .11 and 800 levels with all samples in one group and no tempering nothing.
TEST(BridgeSmc, T2cMri1) {
  const Outcome result = outcome(t2c_mri1(), "brsmc", 50, 6);
  EXPECT_LT(result.mean.distance, 3.5);
  EXPECT_NEAR(result.mean.spread, 0.955, 0.026);
  EXPECT_NEAR(result.mean.coverage, 0.874, 0.012);
  EXPECT_LT(result.weight_error, 0.28);
}

// 1.37 +- .15, 1.006 +- .008, .896 +- .002; weights .031 +- .015 for six.
TEST(BridgeSmc, T2cBox4) {
  const Outcome result = outcome(t2c_box4(), "brsmc", 50, 6);
  EXPECT_LT(result.mean.distance, 1.65);
  EXPECT_NEAR(result.mean.spread, 1.006, 0.015);
  EXPECT_NEAR(result.mean.coverage, 0.896, 0.004);
  EXPECT_LT(result.weight_error, 0.10);
}

// 400 evaluations, groups of 32, four sets. One set gave: distance 1.51 +- .27, spread 1.011 +- .024, coverage .896 +- .005; weights .008 +- .030 for four.
TEST(TwistedSmc, T2cBox6) {
  const Outcome result = outcome(t2c_box6(), "twisted-smc", 200, 4);
  EXPECT_LT(result.mean.distance, 2.12);
  EXPECT_NEAR(result.mean.spread, 1.011, 0.054);
  EXPECT_NEAR(result.mean.coverage, 0.896, 0.011);
  EXPECT_LT(result.weight_error, 0.15);
}

// 1.74 +- .27, .970 +- .023, .881 +- .009; weights .026 +- .041 for four.
TEST(TwistedSmc, T2cMri1) {
  const Outcome result = outcome(t2c_mri1(), "twisted-smc", 200, 4);
  EXPECT_LT(result.mean.distance, 2.35);
  EXPECT_NEAR(result.mean.spread, 0.970, 0.052);
  EXPECT_NEAR(result.mean.coverage, 0.881, 0.020);
  EXPECT_LT(result.weight_error, 0.21);
}

}  // namespace
}  // namespace postrec::test
