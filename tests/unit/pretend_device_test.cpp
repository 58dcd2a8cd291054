#include "pretend_device.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

// The other tests of devices say nothing if this one would let a mistake pass.
namespace postrec {
namespace {

at::Tensor numbers() { return at::arange(24, at::kFloat).view({2, 3, 4}); }

TEST(PretendDevice, ComputesWhatTheHostComputes) {
  const at::Tensor x = numbers(), y = x.to(pretend::device());
  EXPECT_EQ(y.device(), pretend::device());
  EXPECT_TRUE(((y * 2.0).sqrt() + y.transpose(1, 2).sum(1, true).transpose(1, 2)).cpu().equal((x * 2.0).sqrt() + x.transpose(1, 2).sum(1, true).transpose(1, 2)));
  EXPECT_TRUE(at::fft_fft2(y).cpu().equal(at::fft_fft2(x)));
  EXPECT_TRUE(at::view_as_real(at::fft_fft2(y).conj().resolve_conj()).cpu().equal(at::view_as_real(at::fft_fft2(x).conj().resolve_conj())));
  const at::Tensor kernel = at::ones({2, 2, 3, 3});
  EXPECT_TRUE(at::conv2d(y.unsqueeze(0), kernel.to(pretend::device()), {}, 1, 1).cpu().equal(at::conv2d(x.unsqueeze(0), kernel, {}, 1, 1)));
  at::Tensor in_place = y.clone();
  in_place.add_(1.0).select(0, 1).zero_();
  at::Tensor expected = x.clone();
  expected.add_(1.0).select(0, 1).zero_();
  EXPECT_TRUE(in_place.cpu().equal(expected));
}

TEST(PretendDevice, CountsWhatCrosses) {
  const at::Tensor x = numbers();
  pretend::reset_traffic();
  const at::Tensor y = x.to(pretend::device());
  EXPECT_EQ(pretend::traffic().to_device, 1);
  (void)(y + y).sum().item<float>();
  EXPECT_EQ(pretend::traffic().waits, 1);
  (void)y.nonzero();
  (void)y.masked_select(y.gt(3.0));
  (void)y.index({y.gt(3.0)});
  EXPECT_GE(pretend::traffic().waits, 4);
  EXPECT_EQ(pretend::traffic().to_host, 0);
  (void)y.cpu();
  EXPECT_EQ(pretend::traffic().to_host, 1);
  pretend::reset_traffic();
  (void)(y * y + at::zeros({3, 4}, y.options()) + at::full({1}, 2.0, y.options()));
  const pretend::Traffic none = pretend::traffic();
  EXPECT_EQ(none.to_host + none.to_device + none.waits, 0);
  EXPECT_EQ(none.queued, 5);                   // two fills, a product, two sums
  (void)y.transpose(1, 2).unsqueeze(0).expand({2, -1, -1, -1}).chunk(2, 3);
  EXPECT_EQ(pretend::traffic().queued, 5);
}

TEST(PretendDevice, RefusesToMixWithTheHost) {
  const at::Tensor x = numbers(), y = x.to(pretend::device());
  EXPECT_THROW((void)(x + y), c10::Error);
  EXPECT_THROW((void)at::matmul(y, x.transpose(1, 2)), c10::Error);
  EXPECT_NO_THROW((void)(y * at::scalar_tensor(2.0)));
}

TEST(PretendDevice, HasMemoryThatTheHostCannotRead) {
  const at::Tensor y = numbers().to(pretend::device());
  EXPECT_EQ(static_cast<const float*>(pretend::host_address(y.const_data_ptr()))[5], 5.0f);
  EXPECT_DEATH((void)*const_cast<const volatile float*>(y.const_data_ptr<float>()), "");
}

TEST(PretendDevice, RunsOutOfMemory) {
  const at::Tensor y = numbers().to(pretend::device());
  pretend::limit_memory(pretend::memory_in_use() + 1000);
  EXPECT_NO_THROW((void)at::empty({200}, y.options()));
  EXPECT_THROW((void)at::empty({300}, y.options()), c10::OutOfMemoryError);
  EXPECT_GE(pretend::peak_memory(), pretend::memory_in_use());
  pretend::limit_memory(0);
  EXPECT_NO_THROW((void)at::empty({300}, y.options()));
}

}  // namespace
}  // namespace postrec
