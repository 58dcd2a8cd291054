#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ct_radon_settings.hpp"
#include "host_launcher.hpp"

// What a CUDA thread of ct-radon computes. Where there is no GPU, its code runs on the pretend device, for every thread; where there is one, it runs there.
namespace postrec {
namespace {

class DeviceSetting : public testing::TestWithParam<Setting> {};

INSTANTIATE_TEST_SUITE_P(CtRadon, DeviceSetting, testing::ValuesIn(settings()), [](const auto& info) { return info.param.name; });

/// Largest difference over the largest magnitude.
double relative_difference(const at::Tensor& found, const at::Tensor& expected) {
  return (found - expected).abs().max().item<double>() / std::max(1e-30, expected.abs().max().item<double>());
}

TEST_P(DeviceSetting, TheThreadsOfADeviceComputeTheBitsOfThePortableKernels) {
  const pretend::CtRadonHere here;
  const auto op = make_with(GetParam().parameters, ct::portable_kernels());
  // 11 images are groups of 8, 2 and 1; 5 are 4 and 1.
  for (const std::int64_t batch : {1, 5, 11}) {
    const at::Tensor x = random(op->domain(), batch, 1), v = random(op->codomain(), batch, 2);
    EXPECT_TRUE(at::equal(op->forward(x.to(pretend::device())).cpu(), op->forward(x))) << batch;
    EXPECT_TRUE(at::equal(op->adjoint(v.to(pretend::device())).cpu(), op->adjoint(v))) << batch;
    EXPECT_TRUE(at::equal(op->pseudo_inverse(v.to(pretend::device())).cpu(), op->pseudo_inverse(v))) << batch;
  }
}

// Whatever the CPU's kernels do, 1e-6 is what a device may differ by: ten roundings of the sums.
TEST_P(DeviceSetting, TheThreadsOfADeviceAgreeWithTheKernelsThatRunHere) {
  const pretend::CtRadonHere here;
  const auto op = make_with(GetParam().parameters, ct::best_kernels());
  const at::Tensor x = random(op->domain(), 2, 3), v = random(op->codomain(), 2, 4);
  EXPECT_LE(relative_difference(op->forward(x.to(pretend::device())).cpu(), op->forward(x)), 1e-6);
  EXPECT_LE(relative_difference(op->adjoint(v.to(pretend::device())).cpu(), op->adjoint(v)), 1e-6);
}

// Its filtered back-projection has elements that measure nothing.
TEST(CtRadonDevice, ADisplacedDetector) {
  const pretend::CtRadonHere here;
  const auto op = make(with(parallel(), {{"arc-rad", 6.283185307}, {"detector-offset-mm", 6.0}}));
  const at::Tensor v = random(op->codomain(), 3, 8);
  EXPECT_TRUE(at::equal(op->pseudo_inverse(v.to(pretend::device())).cpu(), op->pseudo_inverse(v)));
}

// The candidates of a pixel come from float32 arithmetic, which is coarser for large images: still none may be missed.
TEST(CtRadonDevice, NoRayIsMissedOnALargeImage) {
  const pretend::CtRadonHere here;
  const Parameters large = scan(1021, 997, 0.7, 4);  // views at 0 and 90 degrees among them
  const Values source = {{"source-to-isocenter-mm", 600.0}, {"source-to-detector-mm", 1100.0}};
  for (const std::string beam : {"parallel", "fan-flat", "fan-curved"}) {
    const auto op = make(with(beam == "parallel" ? large : with(large, source), {{"beam", beam}}));
    const at::Tensor x = random(op->domain(), 1, 5), v = random(op->codomain(), 1, 6);
    EXPECT_TRUE(at::equal(op->forward(x.to(pretend::device())).cpu(), op->forward(x))) << beam;
    EXPECT_TRUE(at::equal(op->adjoint(v.to(pretend::device())).cpu(), op->adjoint(v))) << beam;
  }
}

TEST(CtRadonDevice, NothingCrossesAfterTheFirstCall) {
  const pretend::CtRadonHere here;
  const auto op = make(parallel());
  const at::Tensor x = random(op->domain(), 3, 7).to(pretend::device());
  (void)op->adjoint(op->forward(x));
  pretend::reset_traffic();
  const at::Tensor back = op->adjoint(op->forward(x));
  (void)op->pseudo_inverse(op->forward(x));
  const pretend::Traffic traffic = pretend::traffic();
  EXPECT_EQ(traffic.to_host + traffic.to_device + traffic.waits, 0);
  EXPECT_EQ(back.device(), pretend::device());
}

TEST(CtRadonDevice, StridedInputIsUnderstood) {
  const pretend::CtRadonHere here;
  const auto op = make(parallel());
  const at::Tensor wide = random({{2, 31, 37}, at::kFloat}, 2, 8), x = wide.narrow(1, 1, 1);
  EXPECT_TRUE(at::equal(op->forward(wide.to(pretend::device()).narrow(1, 1, 1)).cpu(), op->forward(x)));
}

TEST(CtRadonDevice, ADeviceThatCannotProjectGivesOneClearError) {
  const auto op = make(parallel());
  try {
    (void)op->forward(random(op->domain(), 1, 9).to(pretend::device()));
    ADD_FAILURE() << "projected without code for the device";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
    EXPECT_NE(std::string(error.what()).find(pretend::device().str()), std::string::npos) << error.what();
    EXPECT_NE(error.hint().find("POSTREC_CUDA"), std::string::npos) << error.hint();
  }
}

// On the GPU itself: the bits of the CPU, too, since nvcc fuses nothing of its own; only a curved detector's back-projection uses the device's arc tangent.
TEST_P(DeviceSetting, CudaComputesWhatTheCpuComputes) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  const auto op = make(GetParam().parameters);
  for (const std::int64_t batch : {1, 5, 11}) {
    const at::Tensor x = random(op->domain(), batch, 1), v = random(op->codomain(), batch, 2);
    EXPECT_LE(relative_difference(op->forward(x.to(at::kCUDA)).cpu(), op->forward(x)), 1e-6) << batch;
    EXPECT_LE(relative_difference(op->adjoint(v.to(at::kCUDA)).cpu(), op->adjoint(v)), 1e-6) << batch;
    EXPECT_LE(relative_difference(op->pseudo_inverse(v.to(at::kCUDA)).cpu(), op->pseudo_inverse(v)), 1e-6) << batch;
  }
}

TEST_P(DeviceSetting, CudaAdjointIsTheTranspose) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  const auto op = make(GetParam().parameters);
  for (unsigned seed = 0; seed < 10; ++seed) {
    const at::Tensor x = random(op->domain(), 1, seed), v = random(op->codomain(), 1, seed + 100);
    const at::Tensor ax = op->forward(x.to(at::kCUDA)).cpu(), back = op->adjoint(v.to(at::kCUDA)).cpu();
    // The tolerance of AdjointIsTheTransposeOnBothInstructionSets.
    EXPECT_LE(std::abs(inner_product(ax, v) - inner_product(x, back)) / (euclidean_norm(ax) * euclidean_norm(v)), 1e-7);
  }
}

}  // namespace
}  // namespace postrec
