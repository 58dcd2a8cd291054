// The whole walk on a device in host memory: the samples of the CPU, what crosses between host and device on the way, and memory that runs out.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "beds.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/random.hpp"
#include "postrec/sampler.hpp"
#include "pretend_device.hpp"
#include "test_operators.hpp"
#include "wrong_table.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSize = 32;
constexpr double kNoise = 0.1;

PriorInfo named() {
  PriorInfo info;
  info.name = "test";
  return info;
}

/// Half of the pixels of an image of a Gaussian prior whose table of errors the bridge corrects.
struct Problem {
  GaussianPrior prior{SpectralBasis::kDct, lorentzian_spectrum(kSize, 0.25).roll({-kSize / 2, -kSize / 2}, {-2, -1}), at::zeros({1}), 0.0, named()};
  WrongTable told{prior, 0.5, true};
  at::Tensor mask = RandomStreams(9, 0, 1).uniform(0, {kSize, kSize})[0].lt(0.5);

  GaussianLikelihood likelihood(at::Device device) const {
    const auto op = std::make_shared<MaskOperator>(mask.to(device), 1, at::kFloat);
    return {op, RandomStreams(3, 0, 1).normal(0, op->codomain().shape, at::kFloat)[0].to(device), kNoise};
  }
};

SamplerOptions options_for(std::int64_t n_samples, int n_levels) {
  SamplerOptions options;
  options.n_samples = n_samples;
  options.n_steps = n_levels;
  return options;
}

struct Messages : Observer {
  void on_message(const std::string& text) override { all.push_back(text); }
  void on_step(const Step& step) override { done = step.done; }
  std::vector<std::string> all;
  std::int64_t done = 0;
};

at::Tensor samples_on(at::Device device, const SamplerOptions& options, Observer& observer) {
  const Problem problem;
  const GaussianLikelihood likelihood = problem.likelihood(device);
  const at::Tensor x = sample(problem.told, &likelihood, {1, kSize, kSize}, options, observer).x;
  EXPECT_EQ(x.device(), device);
  return x.cpu();
}

double relative_distance(const at::Tensor& a, const at::Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

TEST(DeviceWalk, GivesTheSamplesOfTheCpu) {
  Observer nobody;
  const SamplerOptions options = options_for(3, 6);
  // Conjugate gradients stop at 1e-3 of a sample's spread, and the device looks later than the CPU does: the rest is float32 roundings.
  EXPECT_LT(relative_distance(samples_on(pretend::device(), options, nobody), samples_on(at::kCPU, options, nobody)), 1e-3);
}

// What crosses must not grow with the work. Of a level, by count: the finite checks, the misfit, the inflation and a look at the solver every four iterations.
TEST(DeviceWalk, WaitsAFewTimesALevelAndCopiesNoImageBack) {
  const auto traffic_of = [](int n_levels) {
    const Problem problem;
    const GaussianLikelihood likelihood = problem.likelihood(pretend::device());
    Observer nobody;
    pretend::reset_traffic();
    const Samples samples = sample(problem.told, &likelihood, {1, kSize, kSize}, options_for(3, n_levels), nobody);
    int looks = 0;
    for (const int iterations : samples.report.solve_iterations) looks += iterations / 4 + 2;
    return std::pair(pretend::traffic(), looks);
  };
  const auto [few, few_looks] = traffic_of(4);
  const auto [many, many_looks] = traffic_of(12);
  EXPECT_LE(many.to_host + many.waits - few.to_host - few.waits, 8 * 6 + many_looks - few_looks);
  EXPECT_GT(many.to_host, few.to_host);        // the count counts
}

TEST(DeviceWalk, HalvesTheBatchWhenMemoryRunsOutAndSaysSoOnce) {
  const SamplerOptions options = options_for(16, 5);
  Messages expected, told;
  const auto peak_of = [](std::int64_t n) {
    Observer nobody;
    pretend::limit_memory(0);
    (void)samples_on(pretend::device(), options_for(n, 5), nobody);
    return pretend::peak_memory();
  };
  const at::Tensor whole = samples_on(pretend::device(), options, expected);
  EXPECT_TRUE(expected.all.empty());
  // Room for a batch of four, and for what is finished; not for eight.
  const std::size_t before = pretend::memory_in_use(), limit = peak_of(4) + 12 * kSize * kSize * sizeof(float) + (peak_of(8) - peak_of(4)) / 4;
  ASSERT_LT(limit, peak_of(8));
  pretend::limit_memory(limit);
  const at::Tensor halved = samples_on(pretend::device(), options, told);
  pretend::limit_memory(0);
  EXPECT_EQ(pretend::memory_in_use(), before);
  EXPECT_LT(relative_distance(halved, whole), 1e-3);  // as GivesTheSamplesOfTheCpu
  ASSERT_EQ(told.all.size(), 1u);
  EXPECT_NE(told.all[0].find("no memory for 16 samples"), std::string::npos) << told.all[0];
  EXPECT_NE(told.all[0].find("going on with 4"), std::string::npos) << told.all[0];
  EXPECT_EQ(told.done, expected.done);
}

/// Has no memory for more than four images at low noise: the walk is half done by then.
class ShortOfMemory : public WrongTable {
 public:
  using WrongTable::WrongTable;
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const override {
    if (x_t.size(0) > 4 && sigma < 0.5) C10_THROW_ERROR(OutOfMemoryError, "no memory left");
    return WrongTable::denoise(x_t, sigma);
  }
};

TEST(DeviceWalk, WhatWasDoneOfABatchWithoutMemoryDoesNotCount) {
  const Problem problem;
  const GaussianLikelihood likelihood = problem.likelihood(at::kCPU);
  const SamplerOptions options = options_for(8, 6);
  Messages expected, told;
  const Samples whole = sample(problem.told, &likelihood, {1, kSize, kSize}, options, expected);
  ASSERT_GT(whole.report.sigmas[0], 0.5);
  const Samples halved = sample(ShortOfMemory(problem.prior, 0.5, true), &likelihood, {1, kSize, kSize}, options, told);
  EXPECT_TRUE(halved.x.equal(whole.x));
  EXPECT_EQ(told.all.size(), 1u);
  EXPECT_EQ(told.done, expected.done);
  EXPECT_EQ(halved.report.nfe, whole.report.nfe);
  EXPECT_EQ(halved.report.solve_iterations, whole.report.solve_iterations);
}

TEST(DeviceWalk, OutOfMemoryWithOneSampleIsAnError) {
  Observer nobody;
  const std::size_t in_use = pretend::memory_in_use();
  const Problem problem;
  const GaussianLikelihood likelihood = problem.likelihood(pretend::device());
  pretend::limit_memory(pretend::memory_in_use() + 3 * kSize * kSize * sizeof(float));
  EXPECT_THROW((void)sample(problem.told, &likelihood, {1, kSize, kSize}, options_for(4, 3), nobody), c10::OutOfMemoryError);
  pretend::limit_memory(0);
  EXPECT_GE(pretend::memory_in_use(), in_use);
}

}  // namespace
}  // namespace postrec::test
