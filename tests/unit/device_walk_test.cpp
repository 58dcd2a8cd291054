// The whole walk on a device in host memory: the samples of the CPU, what crosses between host and device on the way, and memory that runs out.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "beds.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/out_of_memory.hpp"
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
  // Conjugate gradients stop at 3e-4 of a sample's spread, and the device looks later than the CPU does: the rest is float32 roundings.
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
    // Each solve looks at every fourth iteration. A level that takes the Jacobian's product solves twice, of which the report is of the longer.
    int looks = 0, most = 0;
    for (const int iterations : samples.report.solve_iterations) looks += iterations / 4 + 2, most = std::max(most, iterations / 4 + 2);
    return std::pair(pretend::traffic(), looks + static_cast<int>(samples.report.nfe - n_levels) * most);
  };
  const auto [few, few_looks] = traffic_of(4);
  const auto [many, many_looks] = traffic_of(12);
  EXPECT_LE(many.to_host + many.waits - few.to_host - few.waits, 8 * 5 + many_looks - few_looks);
  EXPECT_GT(many.to_host, few.to_host);        // the count counts
}

TEST(DeviceWalk, SamplesAPriorWhereItIsTold) {
  const Problem problem;
  Observer nobody;
  SamplerOptions options = options_for(3, 6);
  const at::Tensor expected = sample(problem.prior, nullptr, {1, kSize, kSize}, options, nobody).x;
  options.device = pretend::device();
  const at::Tensor x = sample(problem.prior, nullptr, {1, kSize, kSize}, options, nobody).x;
  EXPECT_EQ(x.device(), pretend::device());
  EXPECT_LT(relative_distance(x.cpu(), expected), 1e-3);  // as GivesTheSamplesOfTheCpu
}

TEST(DeviceWalk, HalvesTheBatchWhenMemoryRunsOutAndSaysSoOnce) {
  SamplerOptions options = options_for(16, 5);
  options.batch_limit = std::make_shared<BatchLimit>();
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
  Messages later;
  const at::Tensor again = samples_on(pretend::device(), options, later);
  pretend::limit_memory(0);
  EXPECT_TRUE(later.all.empty());              // the next slice knows
  EXPECT_TRUE(again.equal(halved));
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
    largest = std::max(largest, x_t.size(0));
    if (x_t.size(0) > 4 && sigma < 0.5) C10_THROW_ERROR(OutOfMemoryError, "no memory left");
    return WrongTable::denoise(x_t, sigma);
  }
  mutable std::int64_t largest = 0;            ///< batch
};

Samples samples_of(const Prior& prior, const Problem& problem, const SamplerOptions& options, Observer& observer) {
  const GaussianLikelihood likelihood = problem.likelihood(at::kCPU);
  return sample(prior, &likelihood, {1, kSize, kSize}, options, observer);
}

TEST(DeviceWalk, WhatWasLearnedOfTheMemoryHoldsForTheNextCall) {
  const Problem problem;
  constexpr std::int64_t kImage = kSize * kSize * sizeof(float);
  SamplerOptions options = options_for(12, 6);
  options.batch_limit = std::make_shared<BatchLimit>();
  Messages first, second;
  const Samples learning = samples_of(ShortOfMemory(problem.prior, 0.5, true), problem, options, first);
  EXPECT_EQ(first.all.size(), 1u);
  EXPECT_EQ(options.batch_limit->image_bytes, 3 * kImage);  // 12, 6, 3

  const ShortOfMemory prior(problem.prior, 0.5, true);
  const Samples knowing = samples_of(prior, problem, options, second);
  EXPECT_EQ(prior.largest, 3);                 // nothing larger was tried
  EXPECT_TRUE(second.all.empty());
  EXPECT_EQ(second.done, first.done);
  EXPECT_TRUE(knowing.x.equal(learning.x));
}

TEST(DeviceWalk, ALimitIsInBytesOfWholeImagesAndLeavesRoomForOne) {
  const Problem problem;
  constexpr std::int64_t kImage = kSize * kSize * sizeof(float);
  for (const auto& [image_bytes, expected] : {std::pair<std::int64_t, std::int64_t>{3 * kImage + 1, 3}, {4 * kImage - 1, 3}, {kImage / 2, 1}, {100 * kImage, 4}}) {
    const ShortOfMemory prior(problem.prior, 0.5, true);
    SamplerOptions options = options_for(4, 3);
    options.batch_limit = std::make_shared<BatchLimit>(image_bytes);
    Observer nobody;
    (void)samples_of(prior, problem, options, nobody);
    EXPECT_EQ(prior.largest, expected) << image_bytes;
    EXPECT_EQ(options.batch_limit->image_bytes, image_bytes);
  }
}

TEST(DeviceWalk, ALimitHoldsWholeGroups) {
  const Problem problem;
  for (const auto& [n_images, expected] : {std::pair<std::int64_t, std::int64_t>{3, 2}, {1, 2}}) {
    const ShortOfMemory prior(problem.prior, 0.5, true);
    SamplerOptions options = options_for(4, 3);
    options.method = "brsmc";
    options.settings = {{"group", 2.0}};
    options.batch_limit = std::make_shared<BatchLimit>(n_images * kSize * kSize * static_cast<std::int64_t>(sizeof(float)));
    Observer nobody;
    (void)samples_of(prior, problem, options, nobody);
    EXPECT_EQ(prior.largest, expected) << n_images;
  }
}

/// Stops after so many levels.
struct Stopping : Observer {
  explicit Stopping(int n) : left(n) {}
  void on_step(const Step&) override { --left; }
  bool cancelled() const override { return left <= 0; }
  int left;
};

// The limit is not of a run's identity, and the batch that a checkpoint holds is gone on with as it is.
TEST(DeviceWalk, ARunGoesOnFromItsCheckpointUnderALimit) {
  const Problem problem;
  Observer nobody;
  SamplerOptions options = options_for(8, 5);
  const at::Tensor whole = samples_of(problem.told, problem, options, nobody).x;
  options.batch_size = 4;
  options.checkpoint = std::filesystem::temp_directory_path() / ("postrec_walk_" + std::to_string(::getpid()) + ".safetensors");
  Stopping stopping(2);
  EXPECT_TRUE(samples_of(problem.told, problem, options, stopping).report.interrupted);
  options.batch_limit = std::make_shared<BatchLimit>(2 * kSize * kSize * static_cast<std::int64_t>(sizeof(float)));
  const ShortOfMemory prior(problem.prior, 0.5, true);
  EXPECT_TRUE(samples_of(prior, problem, options, nobody).x.equal(whole));
  EXPECT_EQ(prior.largest, 4);
  std::filesystem::remove(options.checkpoint);
}

// A checkpoint's tensors lie on the host.
TEST(DeviceWalk, WhatMethodsKeepGoesBackToTheDevice) {
  const Problem problem;
  const GaussianLikelihood likelihood = problem.likelihood(pretend::device());
  Observer nobody;
  for (const auto& [method, solver] : {std::pair{"brsmc", ""}, {"prior", "dpm-solver-2m"}, {"prior", "dpm-solver-2m-sde"}, {"prior", "adaptive-sde"}, {"prior", "flow-adaptive"}}) {
    SCOPED_TRACE(std::string(method) + " " + solver);
    const bool is_prior = method == std::string("prior");
    SamplerOptions options = options_for(4, 5);
    options.method = method;
    options.solver = solver;
    options.device = pretend::device();
    if (!is_prior) options.settings["group"] = 4;
    const auto samples = [&](Observer& observer) { return sample(problem.told, is_prior ? nullptr : &likelihood, {1, kSize, kSize}, options, observer); };
    const at::Tensor whole = samples(nobody).x;
    options.checkpoint = std::filesystem::temp_directory_path() / ("postrec_kept_" + std::to_string(::getpid()) + ".safetensors");
    Stopping stopping(2);
    EXPECT_TRUE(samples(stopping).report.interrupted);
    EXPECT_TRUE(samples(nobody).x.cpu().equal(whole.cpu()));
    std::filesystem::remove(options.checkpoint);
  }
}

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

TEST(DeviceWalk, MemoryThatRanOutIsKnownByItsTextToo) {
  const auto is_memory = [](const std::string& text) { return is_out_of_memory(c10::Error({__func__, __FILE__, __LINE__}, text)); };
  for (const char* text : {"GET was unable to find an engine to execute this computation", "cuFFT error: CUFFT_ALLOC_FAILED", "CUDA error: out of memory", "DefaultCPUAllocator: can't allocate memory"})
    EXPECT_TRUE(is_memory(text)) << text;
  EXPECT_FALSE(is_memory("The size of tensor a (3) must match the size of tensor b (4)"));
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
