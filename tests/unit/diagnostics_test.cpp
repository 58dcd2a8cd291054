#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "expect_error.hpp"
#include "postrec/diagnostics.hpp"
#include "postrec/random.hpp"

namespace postrec::test {
namespace {

at::Tensor image(std::uint64_t draw, std::int64_t rows, std::int64_t columns) { return RandomStreams(6, 0, 1).normal(draw, {rows, columns}, at::kFloat)[0].abs(); }

TEST(Diagnostics, PsnrAndNrmse) {
  const at::Tensor truth = at::full({1, 4, 5}, 2.0f), off = truth + 0.1f;
  EXPECT_NEAR(psnr_db(off, truth, 1.0), 20.0, 1e-4);
  EXPECT_NEAR(psnr_db(off, truth, 10.0), 40.0, 1e-4);
  EXPECT_NEAR(nrmse(off, truth), 0.05, 1e-6);
  EXPECT_TRUE(std::isinf(psnr_db(truth, truth, 1.0)));
}

// The mean of local similarities by the definition, window by window. [Wang 2004]
double direct_ssim(const at::Tensor& a, const at::Tensor& b, double peak) {
  const auto x = a.accessor<float, 2>(), y = b.accessor<float, 2>();
  double weights[11][11], total = 0.0, sum = 0.0;
  for (int i = 0; i < 11; ++i)
    for (int j = 0; j < 11; ++j) total += weights[i][j] = std::exp(-((i - 5) * (i - 5) + (j - 5) * (j - 5)) / (2 * 1.5 * 1.5));
  const double c1 = 1e-4 * peak * peak, c2 = 9e-4 * peak * peak;
  std::int64_t n = 0;
  for (std::int64_t r = 0; r + 11 <= a.size(0); ++r)
    for (std::int64_t c = 0; c + 11 <= a.size(1); ++c, ++n) {
      double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
      for (int i = 0; i < 11; ++i)
        for (int j = 0; j < 11; ++j) {
          const double w = weights[i][j] / total, p = x[r + i][c + j], q = y[r + i][c + j];
          mx += w * p, my += w * q, xx += w * p * p, yy += w * q * q, xy += w * p * q;
        }
      sum += (2 * mx * my + c1) * (2 * (xy - mx * my) + c2) / ((mx * mx + my * my + c1) * (xx - mx * mx + yy - my * my + c2));
    }
  return sum / static_cast<double>(n);
}

TEST(Diagnostics, SsimAgreesWithTheDefinition) {
  const at::Tensor truth = image(0, 17, 23), noisy = truth + 0.3 * image(1, 17, 23);
  EXPECT_NEAR(ssim(noisy, truth, 2.0), direct_ssim(noisy, truth, 2.0), 1e-6);
  EXPECT_NEAR(ssim(truth, truth, 2.0), 1.0, 1e-12);
  EXPECT_LT(ssim(1.6 - truth, truth, 2.0), 0.0);  // the same mean, the opposite structure
  EXPECT_NEAR(ssim(at::stack({noisy, truth}), at::stack({truth, truth}), 2.0), 0.5 * (1.0 + direct_ssim(noisy, truth, 2.0)), 1e-6);
}

TEST(Diagnostics, Coverage) {
  const at::Tensor truth = at::arange(10, at::kFloat);
  EXPECT_DOUBLE_EQ(interval_coverage(at::full({10}, 2.0f), at::full({10}, 5.0f), truth), 0.4);
}

TEST(Diagnostics, RefusesWhatCannotBeCompared) {
  expect_error(ErrorKind::kBadData, "size", [] { psnr_db(at::ones({2, 2}), at::ones({2, 3}), 1.0); });
  expect_error(ErrorKind::kBadData, "peak", [] { psnr_db(at::ones({2, 2}), at::ones({2, 2}), 0.0); });
  expect_error(ErrorKind::kBadData, "zero", [] { nrmse(at::ones({2, 2}), at::zeros({2, 2})); });
  expect_error(ErrorKind::kBadData, "11x11", [] { ssim(at::ones({10, 20}), at::ones({10, 20}), 1.0); });
}

}  // namespace
}  // namespace postrec::test
