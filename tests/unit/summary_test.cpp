#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "expect_error.hpp"
#include "postrec/summary.hpp"

namespace postrec::test {
namespace {

TEST(Summary, OfKnownNumbers) {
  const at::Tensor samples = at::tensor({4.0f, 1.0f, 2.0f, 3.0f, 5.0f}).view({5, 1, 1, 1});
  const Summary summary = summarize(samples, 0.5);
  EXPECT_EQ(summary.mean.sizes(), at::IntArrayRef({1, 1, 1}));
  EXPECT_FLOAT_EQ(summary.mean.item<float>(), 3.0f);
  EXPECT_FLOAT_EQ(summary.standard_deviation.item<float>(), std::sqrt(2.5f));
  EXPECT_FLOAT_EQ(summary.lower.item<float>(), 1.5f);
  EXPECT_FLOAT_EQ(summary.upper.item<float>(), 4.5f);
  EXPECT_EQ(summary.level, 0.5);
}

// Five samples bound no more than 4/6: the interval is from the least to the greatest, and says so.
TEST(Summary, FewSamplesBoundLess) {
  const at::Tensor samples = at::tensor({4.0f, 1.0f, 2.0f, 3.0f, 5.0f}).view({5, 1, 1, 1});
  const Summary summary = summarize(samples, 0.9);
  EXPECT_FLOAT_EQ(summary.lower.item<float>(), 1.0f);
  EXPECT_FLOAT_EQ(summary.upper.item<float>(), 5.0f);
  EXPECT_DOUBLE_EQ(summary.level, 4.0 / 6.0);
}

// The mean is of the complex image, the spread of its magnitude: samples i and -i have mean 0 and spread 0.
TEST(Summary, OfComplexSamples) {
  const at::Tensor samples = at::complex(at::zeros({2, 1, 1, 1}), at::tensor({1.0f, -1.0f}).view({2, 1, 1, 1}));
  const Summary summary = summarize(samples);
  EXPECT_EQ(summary.mean.item<float>(), 0.0f);
  EXPECT_EQ(summary.standard_deviation.item<float>(), 0.0f);
  EXPECT_EQ(summary.lower.item<float>(), 1.0f);
  EXPECT_EQ(summary.mean.scalar_type(), at::kFloat);
}

TEST(Summary, OfOneSample) {
  const Summary summary = summarize(at::full({1, 1, 2, 2}, 3.0f));
  EXPECT_TRUE(at::equal(summary.standard_deviation, at::zeros({1, 2, 2})));
  EXPECT_TRUE(at::equal(summary.lower, at::full({1, 2, 2}, 3.0f)));
  EXPECT_TRUE(at::equal(summary.upper, summary.lower));
}

TEST(Summary, RefusesNothing) {
  expect_error(ErrorKind::kUsage, "no sample", [] { summarize(at::zeros({0, 1, 2, 2})); });
  expect_error(ErrorKind::kUsage, "1.0", [] { summarize(at::zeros({2, 1, 2, 2}), 1.0); });
}

}  // namespace
}  // namespace postrec::test
