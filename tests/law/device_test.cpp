// mri-fourier, masking and grayscale off the CPU: the same numbers, no copies between host and device, no waiting. On a device in host memory
// (support/pretend_device.hpp), whose kernels are the CPU's, and on CUDA where there is one.
#include <thread>

#include "grayscale/grayscale.hpp"
#include "law_checks.hpp"
#include "masking/masking.hpp"
#include "mri_fourier/mri_fourier.hpp"
#include "pretend_device.hpp"

namespace postrec {
namespace {

struct Named {
  std::string name;
  std::shared_ptr<const Operator> op;
};

Parameters sized(std::int64_t height, std::int64_t width) {
  Parameters p;
  p.set("height", height);
  p.set("width", width);
  return p;
}

Named mri(std::int64_t height, std::int64_t width, std::int64_t n_maps, const std::string& pattern, const std::string& axis, const at::Tensor& mask = {}) {
  Parameters p = sized(height, width);
  p.set("coils", std::int64_t{1});
  p.set("mask-pattern", pattern);
  p.set("n-acs-lines", std::int64_t{2});
  p.set("mask-seed", std::int64_t{1});
  p.set("undersample-axis", axis);
  if (mask.defined()) p.set("mask", mask);
  if (n_maps > 0) p.set("sens-maps", law::random_batch({{height, width}, at::kComplexFloat}, n_maps, 99));
  const std::string size = std::to_string(height) + " x " + std::to_string(width);
  return {"mri-fourier " + size + ", " + std::to_string(n_maps) + " maps, " + (mask.defined() ? "a mask" : pattern) + " along " + axis, mri_fourier_type().make(p)};
}

/// Every pattern and axis, with and without maps; odd, even, prime and mixed sizes.
std::vector<Named> mri_operators() {
  std::vector<Named> all;
  for (const auto& [height, width] : std::vector<std::pair<std::int64_t, std::int64_t>>{{31, 37}, {24, 30}, {15, 16}}) {
    for (const std::int64_t n_maps : {0, 1, 3}) {
      for (const std::string pattern : {"full", "equispaced", "random", "variable-density"})
        for (const std::string axis : {"y", "x"}) all.push_back(mri(height, width, n_maps, pattern, axis));
      for (const std::string pattern : {"variable-density-2d", "poisson-disc"}) all.push_back(mri(height, width, n_maps, pattern, "y"));
      all.push_back(mri(height, width, n_maps, "full", "y", at::arange(height * width).remainder(5).ne(1).view({height, width})));
      all.push_back(mri(height, width, n_maps, "full", "x", at::arange(width).remainder(3).ne(1)));
    }
  }
  return all;
}

std::vector<Named> pixel_operators() {
  std::vector<Named> all;
  for (const bool is_complex : {false, true}) {
    for (const std::string pattern : {"full", "random"}) {
      Parameters p = sized(13, 17);
      p.set("channels", std::int64_t{2});
      p.set("complex", is_complex);
      p.set("pattern", pattern);
      p.set("keep-fraction", 0.4);
      p.set("mask-seed", std::int64_t{3});
      all.push_back({"masking " + pattern + (is_complex ? ", complex" : ""), masking_type().make(p)});
    }
  }
  Parameters p = sized(13, 17);
  p.set("weights", std::vector<double>{0.2126, 0.7152, 0.0722});
  all.push_back({"grayscale", grayscale_type().make(p)});
  return all;
}

std::vector<Named> all_operators() {
  std::vector<Named> all = mri_operators();
  for (Named& named : pixel_operators()) all.push_back(std::move(named));
  return all;
}

/// What the CPU computes, to a few roundings: sums and factors are folded otherwise (law::kRounding tells how many).
void expect_what_the_cpu_computes(const Operator& op, at::Device device) {
  for (const std::int64_t batch : {1, 3}) {
    const at::Tensor x = law::random_batch(op.domain(), batch, 1), v = law::random_batch(op.codomain(), batch, 2);
    const auto expected = law::all_results(op, x, v), got = law::all_results(op, x.to(device), v.to(device));
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].device(), device);
      EXPECT_TRUE(got[i].is_contiguous());
      EXPECT_EQ(got[i].scalar_type(), expected[i].scalar_type());
      ASSERT_EQ(got[i].sizes(), expected[i].sizes());
      EXPECT_LE(law::relative_error(got[i].cpu(), expected[i], law::l2_norm(expected[i])), law::kRounding) << "result " << i << ", batch of " << batch;
    }
  }
}

TEST(OperatorsOnADevice, ComputeWhatTheCpuComputes) {
  for (const auto& [name, op] : all_operators()) {
    SCOPED_TRACE(name);
    expect_what_the_cpu_computes(*op, pretend::device());
  }
}

TEST(OperatorsOnADevice, CopyNothingAndWaitForNothingAfterTheFirstCall) {
  for (const auto& [name, op] : all_operators()) {
    SCOPED_TRACE(name);
    const at::Tensor x = law::random_batch(op->domain(), 3, 1).to(pretend::device()), v = law::random_batch(op->codomain(), 3, 2).to(pretend::device());
    pretend::reset_traffic();
    law::all_results(*op, x, v);
    EXPECT_GT(pretend::traffic().to_device, 0);  // the constants; it also shows that the device counts
    EXPECT_EQ(pretend::traffic().to_host, 0);
    EXPECT_EQ(pretend::traffic().waits, 0);
    pretend::reset_traffic();
    law::all_results(*op, x, v);
    law::all_results(*op, x.transpose(-1, -2).contiguous().transpose(-1, -2), v);
    EXPECT_EQ(pretend::traffic().to_device, 0);
    EXPECT_EQ(pretend::traffic().to_host, 0);
    EXPECT_EQ(pretend::traffic().waits, 0);
  }
}

/// Two tensors of [B, coil, H, W], and some of [B, 1, H, W].
TEST(OperatorsOnADevice, MriFourierNeedsMemoryForTwoBatchesOfCoilImages) {
  const auto op = mri(64, 60, 16, "poisson-disc", "y").op;
  const at::Tensor x = law::random_batch(op->domain(), 2, 1).to(pretend::device()), v = law::random_batch(op->codomain(), 2, 2).to(pretend::device());
  law::all_results(*op, x, v);
  pretend::limit_memory(0);
  const std::size_t before = pretend::peak_memory();
  law::all_results(*op, x, v);
  EXPECT_LE(pretend::peak_memory() - before, 2 * v.nbytes() + 6 * x.nbytes() + v.nbytes());  // the results of forward are among all
}

/// The host may run in LibTorch's inference mode or hand over tensors that autograd follows, and the first call decides nothing for the next.
TEST(OperatorsOnADevice, WorkInAnyAutogradMode) {
  for (const auto& [name, op] : {mri(13, 17, 2, "random", "y"), mri(13, 17, 0, "random", "x"), pixel_operators().front(), pixel_operators().back()}) {
    SCOPED_TRACE(name);
    at::Tensor x = law::random_batch(op->domain(), 2, 3).to(pretend::device());
    const at::Tensor v = law::random_batch(op->codomain(), 2, 4).to(pretend::device());
    std::vector<at::Tensor> expected;
    {
      const c10::InferenceMode mode;
      for (const at::Tensor& result : law::all_results(*op, x, v)) expected.push_back(result.cpu());
    }
    const auto results = law::all_results(*op, x.requires_grad_(name.find("mri") == 0), v);
    for (std::size_t i = 0; i < results.size(); ++i) EXPECT_TRUE(law::same_bits(results[i].detach().cpu(), expected[i])) << "result " << i;
  }
}

TEST(OperatorsOnADevice, CopyTheirConstantsOnceForAllThreads) {
  const auto op = mri(31, 37, 3, "random", "y").op;
  const at::Tensor x = law::random_batch(op->domain(), 1, 3).to(pretend::device());
  const at::Tensor expected = op->normal(x.cpu());
  pretend::reset_traffic();
  std::vector<std::thread> threads;
  std::vector<at::Tensor> results(4);
  for (at::Tensor& result : results) threads.emplace_back([&] { result = op->normal(x); });
  for (std::thread& thread : threads) thread.join();
  const auto first = pretend::traffic().to_device;
  const auto alone = mri(31, 37, 3, "random", "y").op;
  pretend::reset_traffic();
  alone->normal(x);
  EXPECT_EQ(first, pretend::traffic().to_device);
  for (const at::Tensor& result : results) EXPECT_LE(law::relative_error(result.cpu(), expected, law::l2_norm(expected)), law::kRounding);
}

TEST(OperatorsOnADevice, MaskingHidesNanThereToo) {
  Parameters p = sized(5, 7);
  p.set("channels", std::int64_t{1});
  p.set("complex", false);
  p.set("mask", at::arange(35).ne(3).view({5, 7}));
  p.set("pattern", std::string("full"));
  at::Tensor x = at::ones({1, 1, 5, 7});
  x.view({35})[3] = std::nan("");
  EXPECT_EQ(masking_type().make(p)->forward(x.to(pretend::device())).cpu().sum().item<float>(), 34);
}

TEST(OperatorsOnCuda, ComputeWhatTheCpuComputes) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  for (const auto& [name, op] : all_operators()) {
    SCOPED_TRACE(name);
    expect_what_the_cpu_computes(*op, at::Device(at::kCUDA, 0));
  }
}

}  // namespace
}  // namespace postrec
