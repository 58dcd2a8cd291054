#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "expect_error.hpp"
#include "host_fill.hpp"
#include "postrec/random.hpp"

// The same bits on every device. Where there is no GPU, the code of one CUDA thread runs on the pretend device, for every thread.
namespace postrec::test {
namespace {

/// The numbers on the device against the host's: sizes around whole groups (64) and chunks (16384), several rows, complex numbers.
void expect_bits_of_the_host(at::Device device) {
  for (const std::int64_t n : {1, 5, 16, 63, 64, 65, 127, 1000, 16384, 16385, 40000}) {
    for (const std::int64_t n_rows : {1, 3}) {
      const RandomStreams streams(std::uint64_t{1} << 40 | 9, 2, n_rows);
      const at::Tensor normal = streams.normal(3, {n}, at::kFloat, device), uniform = streams.uniform(4, {n}, device);
      EXPECT_EQ(normal.device(), device);
      EXPECT_EQ(uniform.device(), device);
      EXPECT_TRUE(at::equal(normal.cpu(), streams.normal(3, {n}, at::kFloat))) << n_rows << " x " << n;
      EXPECT_TRUE(at::equal(uniform.cpu(), streams.uniform(4, {n}))) << n_rows << " x " << n;
    }
  }
  const RandomStreams streams(11, 0, 2);
  const at::Tensor complex = streams.normal((std::uint64_t{1} << 32) - 1, {3, 5, 7}, at::kComplexFloat, device);
  EXPECT_TRUE(at::equal(complex.cpu(), streams.normal((std::uint64_t{1} << 32) - 1, {3, 5, 7}, at::kComplexFloat)));
  EXPECT_EQ(streams.normal(0, {0, 3}, at::kFloat, device).sizes(), at::IntArrayRef({2, 0, 3}));
  expect_error(ErrorKind::kUsage, "draw", [&] { streams.normal(std::uint64_t{1} << 32, {1}, at::kFloat, device); });
  expect_error(ErrorKind::kUsage, "draw", [&] { streams.uniform(std::uint64_t{1} << 32, {1}, device); });
  expect_error(ErrorKind::kInternal, "type", [&] { streams.normal(0, {1}, at::kDouble, device); });
}

TEST(RandomDevice, TheThreadsOfADeviceMakeTheBitsOfTheHost) {
  const pretend::RandomNumbersHere here;
  pretend::reset_traffic();
  (void)RandomStreams(1, 0, 2).normal(0, {100}, at::kFloat, pretend::device());
  EXPECT_EQ(pretend::traffic().to_device, 0) << "the numbers were made on the host";
  expect_bits_of_the_host(pretend::device());
}

TEST(RandomDevice, ADeviceThatMakesNoneGetsThoseOfTheHost) {
  pretend::reset_traffic();
  (void)RandomStreams(1, 0, 2).normal(0, {100}, at::kFloat, pretend::device());
  EXPECT_EQ(pretend::traffic().to_device, 1);
  expect_bits_of_the_host(pretend::device());
}

TEST(RandomDevice, CudaMakesTheBitsOfTheHost) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  EXPECT_TRUE(philox::device_fill(at::kCUDA)) << "PostRec was built without CUDA: the numbers would be copied";
  expect_bits_of_the_host(at::Device(at::kCUDA, 0));
}

}  // namespace
}  // namespace postrec::test
