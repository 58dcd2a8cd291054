#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "beds.hpp"
#include "expect_error.hpp"
#include "particles.hpp"
#include "postrec/sampler.hpp"

namespace postrec::test {
namespace {

std::vector<double> logs(const std::vector<double>& weights) {
  std::vector<double> result;
  for (const double weight : weights) result.push_back(std::log(weight));
  return result;
}

std::vector<double> row(const at::Tensor& x) {
  const at::Tensor values = x.to(at::kDouble).contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

ParticleWeights weighted(const std::vector<double>& weights, std::int64_t group) {
  ParticleWeights result(static_cast<std::int64_t>(weights.size()), group);
  result.multiply(logs(weights));
  return result;
}

TEST(ParticleWeights, EffectiveShareIsTheSmallestOfAllGroups) {
  EXPECT_DOUBLE_EQ(ParticleWeights(8, 4).effective_share(), 1.0);
  // (1 + 1 + 2)^2/(1 + 1 + 4) = 8/3 of 3 particles; single precision of log 2.
  EXPECT_NEAR(weighted({1, 1, 2, 5, 5, 5}, 3).effective_share(), 8.0 / 9.0, 1e-7);
  // A common factor, however small, changes nothing.
  ParticleWeights weights = weighted({1, 1, 2}, 3);
  weights.multiply({-1e5, -1e5, -1e5});
  EXPECT_NEAR(weights.effective_share(), 8.0 / 9.0, 1e-7);
}

TEST(ParticleWeights, TemperingReachesTheShareAndNotMore) {
  ParticleWeights weights = weighted({1e-9, 1e-3, 1, 1e-1, 1, 1, 1, 2}, 4);
  const at::Tensor before = weights.state();
  weights.temper(0.4);
  EXPECT_NEAR(weights.effective_share(), 0.4, 1e-6);  // rounding of the tempered logarithms
  const at::Tensor alpha = weights.state() / before;
  EXPECT_NEAR((alpha[0] - alpha[1]).item<double>(), 0.0, 1e-6) << "one exponent for the group";
  EXPECT_TRUE(at::equal(weights.state().narrow(0, 4, 4), before.narrow(0, 4, 4))) << "the second group has an effective share of .89";
}

// A particle of weight w gets the whole part of n w copies or one more; over evenly spread uniform numbers n w on average.
TEST(ParticleWeights, SystematicResamplingIsFair) {
  const std::vector<double> shares = {0.05, 0.0, 0.45, 0.2, 0.3, 0.0, 0.0, 0.0};
  const std::vector<double> weights = {0.05, 1e-30, 0.45, 0.2, 0.3, 1e-30, 1e-30, 1e-30};
  constexpr int kUniforms = 1000;
  std::vector<double> mean(8, 0.0);
  for (int i = 0; i < kUniforms; ++i) {
    ParticleWeights particles = weighted(weights, 8);
    std::vector<double> uniform(8, 0.99);
    uniform[0] = (i + 0.5) / kUniforms;
    std::vector<int> copies(8, 0);
    for (const std::int64_t ancestor : particles.resample(1.0, uniform)) ++copies[ancestor];
    for (int k = 0; k < 8; ++k) {
      EXPECT_LT(std::abs(copies[k] - 8 * shares[k]), 1.0);
      mean[k] += static_cast<double>(copies[k]) / kUniforms;
    }
    EXPECT_DOUBLE_EQ(particles.effective_share(), 1.0) << "weights are equal afterwards";
  }
  for (int k = 0; k < 8; ++k) EXPECT_NEAR(mean[k], 8 * shares[k], 2.0 / kUniforms);  // a jump of the count falls between two uniform numbers
}

TEST(ParticleWeights, SurvivorsStayAndGroupsDoNotMix) {
  ParticleWeights particles = weighted({1e-9, 1, 1e-9, 1, 1, 1e-9, 1e-9, 1e-9, 1, 1, 1, 1}, 4);
  const std::vector<std::int64_t> ancestors = particles.resample(0.9, std::vector<double>(12, 0.5));
  EXPECT_EQ(ancestors, (std::vector<std::int64_t>{1, 1, 3, 3, 4, 4, 4, 4, 8, 9, 10, 11}));
  const at::Tensor x = at::arange(24, at::kFloat).view({12, 2});
  EXPECT_EQ(row(take_ancestors(x, ancestors)[2]), (std::vector<double>{6, 7}));
}

TEST(ParticleWeights, GoOnFromTheirState) {
  const ParticleWeights before = weighted({0.1, 0.7, 1, 0.3}, 2);
  ParticleWeights after(4, 2);
  after.restore(before.state());
  EXPECT_TRUE(at::equal(after.state(), before.state()));
  expect_error(ErrorKind::kBadData, "3 particle weights", [&] { after.restore(at::zeros({3})); });
  expect_error(ErrorKind::kInternal, "groups of 2", [] { ParticleWeights(5, 2); });
  expect_error(ErrorKind::kNumerical, "weight", [&] { after.multiply({0, 0, NAN, 0}); });
}

// r^H S^-1 r by dense matrices in double.
std::vector<double> dense_distance(const Bed& bed, const at::Tensor& mean, const SpectralCovariance& covariance) {
  const at::Tensor a = dense_matrix([&](const at::Tensor& x) { return bed.op->forward(x); }, bed.op->domain());
  const at::Tensor c = dense_matrix([&](const at::Tensor& x) { return covariance.apply(x); }, bed.op->domain());
  const at::Tensor s = a.matmul(c).matmul(a.t()) + bed.sigma_y * bed.sigma_y * at::eye(a.size(0), at::kDouble);
  const at::Tensor r = as_real_rows(bed.y.unsqueeze(0)) - as_real_rows(mean).matmul(a.t());
  return row((r * at::linalg_solve(s, r.t()).t()).sum(1));
}

Bed coil_bed() {
  at::Tensor mask = at::zeros({8, 8});
  for (const int line : {0, 1, 4, 6}) mask[line].fill_(1.0);
  const auto op = std::make_shared<CoilOperator>(ring_of_coils(3, 8, 8), mask);
  const auto prior = std::make_shared<MixturePrior>(
      SpectralBasis::kDft, std::vector<MixturePrior::Component>{{1.0, at::zeros({1, 8, 8}, at::kComplexFloat), lorentzian_spectrum(8, 0.25)}}, PriorInfo{});
  return {"coils", prior, op, op->forward(at::complex(wave(8, 1, 2, 0), wave(8, 2, 1, 1)).unsqueeze(0))[0], 0.1};
}

TEST(DataDistance, IsThatOfDenseMatrices) {
  for (const Bed& bed : {t1c_box8(), t1c_mri4x(), coil_bed()}) {
    const GaussianLikelihood likelihood(bed.op, bed.y, bed.sigma_y);
    const TensorSpec domain = bed.op->domain();
    const at::Tensor mean = RandomStreams(1, 0, 3).normal(0, domain.shape, domain.dtype);
    for (const double sigma : {5.0, 0.3, 0.02}) {
      const SpectralCovariance covariance = bed.prior->error_covariance(sigma, domain.shape);
      const std::vector<double> exact = dense_distance(bed, mean, covariance);
      at::Tensor u;
      SolveReport report;
      const std::vector<double> close = likelihood.data_distance(mean, covariance, u, {1e-4, 1000}, report);
      EXPECT_GT(report.iterations, 0);
      // Squares of r over sigma_y in single precision: 1e-7 of a number that cancels little.
      for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(close[i] / exact[i], 1.0, 1e-5) << bed.name << " sigma " << sigma;

      // The solution as a first guess leaves nothing to do.
      likelihood.data_distance(mean, covariance, u, {2e-4, 1000}, report);
      EXPECT_EQ(report.iterations, 0);

      // Stopped early, it is too large by no more than the header says; 2 for the preconditioner's norm in place of the exact one.
      at::Tensor rough;
      const double tolerance = 0.1, bound = 2.0 * tolerance * tolerance * static_cast<double>(real_size(domain));
      const std::vector<double> early = likelihood.data_distance(mean, covariance, rough, {tolerance, 1000}, report);
      for (std::size_t i = 0; i < exact.size(); ++i) {
        EXPECT_GT(early[i], exact[i] * (1.0 - 1e-5));
        EXPECT_LT(early[i], exact[i] * (1.0 + 1e-5) + bound) << bed.name << " sigma " << sigma;
      }
    }
  }
}

class ParticleMethod : public testing::TestWithParam<const char*> {
 protected:
  static SamplerOptions options(std::int64_t batch_size) {
    SamplerOptions result;
    result.method = GetParam();
    result.settings["group"] = 8;
    result.n_samples = 28;                     // the last group is larger than what is asked for
    result.batch_size = batch_size;
    result.n_steps = 6;
    result.seed = 5;
    return result;
  }

  static Samples run(const Bed& bed, const SamplerOptions& how) {
    const GaussianLikelihood likelihood(bed.op, bed.y, bed.sigma_y);
    Observer observer;
    return sample(*bed.prior, &likelihood, bed.op->domain().shape, how, observer);
  }
};

TEST_P(ParticleMethod, reproducible) {
  for (const Bed& bed : {t2c_box6(), coil_bed()}) {
    const Samples all = run(bed, options(0));
    EXPECT_EQ(all.x.size(0), 28);
    for (const int threads : {1, 2})
      for (const std::int64_t batch_size : {1, 8, 17}) {
        at::set_num_threads(threads);
        EXPECT_TRUE(at::equal(run(bed, options(batch_size)).x, all.x)) << bed.name << " batch " << batch_size << " threads " << threads;
      }
  }
}

TEST_P(ParticleMethod, ReportsTheEffectiveShare) {
  const Samples samples = run(t2c_box6(), options(0));
  ASSERT_EQ(samples.report.effective_share.size(), samples.report.sigmas.size());
  const auto [least, most] = std::minmax_element(samples.report.effective_share.begin(), samples.report.effective_share.end());
  EXPECT_GE(*least, 1.0 / 8.0 * (1.0 - 1e-12));
  EXPECT_LT(*least, 0.9) << "ambiguous data must move the weights";
  EXPECT_LE(*most, 1.0);
}

// Its sweeps have no weights, the particles that they begin with have.
TEST(SplitGibbs, ReportsTheEffectiveShareOfItsStart) {
  const Bed bed = t2c_box6();
  SamplerOptions how;
  how.method = "split-gibbs";
  how.n_samples = 8;
  how.n_steps = 3;
  how.settings = {{"sde-steps", 1}, {"start-steps", 8}, {"group", 8}};
  const GaussianLikelihood likelihood(bed.op, bed.y, bed.sigma_y);
  Observer observer;
  const SamplerReport report = sample(*bed.prior, &likelihood, bed.op->domain().shape, how, observer).report;
  ASSERT_EQ(report.effective_share.size(), 3u);
  EXPECT_LT(report.effective_share[0], 0.9) << "ambiguous data must move the weights";
  EXPECT_EQ(report.effective_share[1], 1.0);
  EXPECT_EQ(report.group, 8);
}

INSTANTIATE_TEST_SUITE_P(All, ParticleMethod, testing::Values("brsmc", "twisted-smc"),
                         [](const auto& info) { return std::string(info.param) == "brsmc" ? "Brsmc" : "TwistedSmc"; });

}  // namespace
}  // namespace postrec::test
