#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "expect_error.hpp"
#include "postrec/noise_process.hpp"
#include "postrec/parametrisation.hpp"

namespace postrec::test {
namespace {

// x ~ N(m, C) in two dimensions. What a perfect network would answer to x'_t, by regression on x'_t with cov(x'_t) = scale^2 (C + sigma^2 I).
struct Gaussian {
  at::Tensor mean = at::tensor({0.4, -1.1}, at::kDouble), covariance = at::tensor({0.8, 0.3, 0.3, 0.5}, at::kDouble).view({2, 2});

  at::Tensor regress(const at::Tensor& cross, const at::Tensor& x_prime, double sigma, double scale) const {
    const at::Tensor total = scale * scale * (covariance + sigma * sigma * at::eye(2, at::kDouble));
    return at::matmul(x_prime - scale * mean, at::matmul(cross, at::linalg_inv(total)).t());
  }
  at::Tensor image(const at::Tensor& x_prime, double sigma, double scale) const { return mean + regress(scale * covariance, x_prime, sigma, scale); }
  at::Tensor noise(const at::Tensor& x_prime, double sigma, double scale) const {
    return regress(scale * sigma * at::eye(2, at::kDouble), x_prime, sigma, scale);
  }
  at::Tensor velocity(const at::Tensor& x_prime, double sigma, double scale) const {
    const at::Tensor cross = scale * scale * sigma * (at::eye(2, at::kDouble) - covariance);
    return -scale * sigma * mean + regress(cross, x_prime, sigma, scale);
  }
  at::Tensor score(const at::Tensor& x_prime, double sigma, double scale) const { return regress(-at::eye(2, at::kDouble), x_prime, sigma, scale); }
};

// All four answers give the exact denoiser, in processes that keep the variance and in others. Bound: rounding of doubles.
TEST(Parametrisation, AllPredictionsOfAGaussianGiveItsDenoiser) {
  const Gaussian gaussian;
  const at::Tensor x_prime = at::tensor({0.3, -0.7, 2.0, 1.5, -1.0, 0.1}, at::kDouble).view({3, 2});
  for (const char* name : {"ve", "vp", "sub-vp"}) {
    const NoiseProcess process = make_noise_process(name, {});
    for (const double t : {0.1, 0.5, 0.8}) {
      const double sigma = process.sigma(t), scale = process.scale(t);
      const at::Tensor expected = gaussian.image(x_prime, sigma, scale), x_t = x_prime / scale;
      const auto expect_image = [&](Prediction prediction, const at::Tensor& output) {
        const at::Tensor image = image_from_prediction(prediction, x_t, output, sigma, scale);
        EXPECT_TRUE(at::allclose(image, expected, 1e-9, 1e-9)) << name << " at " << t << ", prediction " << static_cast<int>(prediction);
      };
      expect_image(Prediction::kImage, gaussian.image(x_prime, sigma, scale));
      expect_image(Prediction::kNoise, gaussian.noise(x_prime, sigma, scale));
      expect_image(Prediction::kVelocity, gaussian.velocity(x_prime, sigma, scale));
      expect_image(Prediction::kScore, gaussian.score(x_prime, sigma, scale));
    }
  }
}

// [Salimans 2022, section 4]: x0 = alpha x'_t - std v with alpha^2 + std^2 = 1.
TEST(Parametrisation, VelocityAsPublished) {
  const at::Tensor x_prime = at::tensor({0.3, -0.7}, at::kDouble), v = at::tensor({1.5, 0.2}, at::kDouble);
  const double alpha = 0.6, std = 0.8;
  const at::Tensor image = image_from_prediction(Prediction::kVelocity, x_prime / alpha, v, std / alpha, alpha);
  EXPECT_TRUE(at::allclose(image, alpha * x_prime - std * v, 1e-12, 1e-12));
}

TEST(Parametrisation, RefusesAScaleThatCannotBe) {
  const at::Tensor x = at::zeros({1, 2});
  expect_error(ErrorKind::kInternal, "scale", [&] { image_from_prediction(Prediction::kNoise, x, x, 1.0, 0.0); });
  expect_error(ErrorKind::kInternal, "sigma", [&] { image_from_prediction(Prediction::kNoise, x, x, NAN, 1.0); });
}

}  // namespace
}  // namespace postrec::test
