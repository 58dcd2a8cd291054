#include "postrec/error_envelope.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "expect_error.hpp"
#include "postrec/error_table.hpp"
#include "postrec/random.hpp"
#include "threads.hpp"

namespace postrec::test {
namespace {

constexpr std::int64_t kSize = 96, kImages = 8;

at::Tensor noise(std::uint64_t seed, std::int64_t n, const std::vector<std::int64_t>& shape, at::ScalarType type = at::kFloat) {
  return RandomStreams(seed, 0, n).normal(0, shape, type);
}

/// Flat to the left of column kSize/2, busy to the right, where the denoiser's errors are `ratio` times those on the left.
struct HalfBusy {
  at::Tensor denoised = noise(1, kImages, {1, kSize, kSize});
  at::Tensor error = noise(2, kImages, {1, kSize, kSize});
  explicit HalfBusy(double ratio) {
    denoised.narrow(-1, 0, kSize / 2).zero_();
    error.narrow(-1, 0, kSize / 2).div_(ratio);
  }
};

ErrorEnvelope measured(const HalfBusy& images) {
  EnvelopeMeasurement measurement;
  for (std::int64_t i = 0; i < kImages; ++i) measurement.add(images.denoised.narrow(0, i, 1), images.error.narrow(0, i, 1));
  measurement.finish_level();
  return measurement.envelope();
}

// White noise of deviation 1 loses 1/25 of its variance to a 5x5 mean. 13x13 pixels are about 50 independent squares: relative deviation (2/50)^(1/2)/2 = .1 at one
// pixel; the mean over an image of 96x96 has .01 and is .005 too low (square root); 4 of it and that.
TEST(LocalActivity, IsTheRootMeanSquareOfDetail) {
  const at::Tensor white = local_activity(noise(3, 4, {1, kSize, kSize}));
  EXPECT_EQ(white.sizes(), at::IntArrayRef({4, 1, kSize, kSize}));
  EXPECT_NEAR(white.mean().item<double>(), std::sqrt(24.0 / 25.0), 0.045);
  EXPECT_NEAR(local_activity(2.0 * noise(3, 4, {1, kSize, kSize})).mean().item<double>(), 2.0 * white.mean().item<double>(), 1e-4);
  // Constant images have none, up to rounding, at the border as well.
  EXPECT_LT(local_activity(at::full({1, 3, 20, 31}, 0.7f)).max().item<double>(), 1e-6);
  // Colours, and real and imaginary parts, are means: a complex image with one busy part has half the power.
  const at::Tensor part = noise(4, 1, {1, kSize, kSize}), complex = at::complex(part, at::zeros_like(part));
  EXPECT_LT((local_activity(complex) * std::sqrt(2.0) / local_activity(part) - 1.0).abs().max().item<double>(), 1e-5);
}

TEST(LocalActivity, TakesImagesSmallerThanItsBoxes) {
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{1, 1, 1}, {1, 2, 9}, {3, 4, 1}})
    EXPECT_TRUE(at::isfinite(local_activity(noise(5, 2, shape))).all().item<bool>());
}

// The errors are 4 and 1 in 2 equal halves: relative deviations 4/sqrt(8.5) and 1/sqrt(8.5). Each half has 37,000 pixels, away from the border between them: a relative
// deviation of 1/sqrt(2 * 37000) = .004. Near the border, where activity lies between, they mix; the columns 20 pixels off are clear of it.
TEST(ErrorEnvelope, FindsWhereTheErrorIs) {
  const HalfBusy images(4.0);
  const at::Tensor w = measured(images).around(images.denoised, 0, 0.0);
  EXPECT_EQ(w.sizes(), at::IntArrayRef({kImages, 1, kSize, kSize}));
  EXPECT_NEAR(w.narrow(-1, 0, 28).mean().item<double>(), 1.0 / std::sqrt(8.5), 0.02 / std::sqrt(8.5));
  EXPECT_NEAR(w.narrow(-1, 68, 28).mean().item<double>(), 4.0 / std::sqrt(8.5), 0.16 / std::sqrt(8.5));  // bins share pixels with the border
  EXPECT_NEAR(w.square().mean().item<double>(), 1.0, 0.05);  // by the bins' width
}

// The data must be able to show what the prior did not expect in an empty background.
TEST(ErrorEnvelope, NeverForbidsAnError) {
  const HalfBusy images(1e6);
  EXPECT_NEAR(measured(images).around(images.denoised, 0, 0.0).min().item<double>(), 0.1, 1e-6);
}

TEST(ErrorEnvelope, LiesBetweenTheLevels) {
  const at::Tensor activities = at::tensor({0.1f, 1.0f}), image = noise(6, 1, {1, 32, 32}) * 100.0;  // above the last activity everywhere
  const ErrorEnvelope envelope(activities, at::tensor({0.5f, 1.0f, 0.5f, 3.0f}).view({2, 2}));
  EXPECT_NEAR(envelope.around(image, 0, 0.0).max().item<double>(), 1.0, 1e-6);
  EXPECT_NEAR(envelope.around(image, 0, 0.25).max().item<double>(), 1.5, 1e-6);
  EXPECT_NEAR(envelope.around(image, 1, 0.0).max().item<double>(), 3.0, 1e-6);
  EXPECT_NEAR(envelope.around(image * 0.0, 0, 0.25).max().item<double>(), 0.5, 1e-6);  // below the first
}

// Law: reproducible. Alone, in another place of a batch or with other threads, an image has the same envelope to the bit.
TEST(ErrorEnvelope, reproducible) {
  const HalfBusy images(4.0);
  const ErrorEnvelope envelope = measured(images);
  const auto with_threads = [&](int n, const at::Tensor& batch) {
    const Threads threads(n);
    return envelope.around(batch, 0, 0.0);
  };
  for (const at::Tensor& batch : {images.denoised, noise(7, 5, {2, 31, 37}, at::kComplexFloat)}) {
    const at::Tensor together = with_threads(1, batch);
    for (const int n : {1, 2, 3}) {
      EXPECT_TRUE(at::equal(with_threads(n, batch), together)) << n;
      for (std::int64_t i = 0; i < batch.size(0); ++i) EXPECT_TRUE(at::equal(with_threads(n, batch.narrow(0, i, 1)), together.narrow(0, i, 1))) << n;
    }
  }
}

TEST(ErrorEnvelope, RefusesWhatIsNone) {
  const at::Tensor activities = at::tensor({0.1f, 1.0f}), deviations = at::ones({3, 2});
  expect_error(ErrorKind::kBadData, "rise", [&] { ErrorEnvelope(at::tensor({1.0f, 0.1f}), deviations); });
  expect_error(ErrorKind::kBadData, "rise", [&] { ErrorEnvelope(at::tensor({0.0f, 0.1f}), deviations); });
  expect_error(ErrorKind::kBadData, "levels", [&] { ErrorEnvelope(activities, at::ones({3, 4})); });
  expect_error(ErrorKind::kBadData, "positive", [&] { ErrorEnvelope(activities, deviations * 0.0); });
  expect_error(ErrorKind::kBadData, "finite", [&] { ErrorEnvelope(activities, deviations * INFINITY); });
  expect_error(ErrorKind::kUsage, "no noise level", [] { EnvelopeMeasurement().envelope(); });
  expect_error(ErrorKind::kBadData, "noise levels", [&] { ErrorTable(SpectralBasis::kDct, {0.1, 0.2}, at::ones({2, 1, 4, 4}), ErrorEnvelope(activities, deviations)); });
}

// Law: factor, with an envelope: W F (W F)^H = W C W.
TEST(SpectralCovariance, HasAnEnvelope) {
  const SpectralCovariance c(SpectralBasis::kDct, noise(8, 1, {1, 12, 9})[0].square() + 0.1);
  const at::Tensor w = noise(9, 3, {1, 12, 9}).square() + 0.5, x = noise(10, 3, {1, 12, 9});
  const SpectralCovariance shaped = c.with_envelope(w);
  const at::Tensor expected = w * c.apply(w * x);
  EXPECT_LT((shaped.apply(x) - expected).abs().max().item<double>(), 1e-4);
  EXPECT_LT((shaped.apply_factor(shaped.apply_factor_adjoint(x)) - expected).abs().max().item<double>(), 1e-4);
  EXPECT_LT((shaped.scaled(at::full({1, 12, 9}, 2.0f)).apply(x) - 2.0 * expected).abs().max().item<double>(), 2e-4);
  expect_error(ErrorKind::kInternal, "envelope", [&] { shaped.apply_sqrt(x); });
  EXPECT_FALSE(c.has_envelope());
}

}  // namespace
}  // namespace postrec::test
