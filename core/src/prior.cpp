#include "postrec/prior.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"

namespace postrec {

at::Tensor Prior::score(const at::Tensor& x_t, double sigma) const {
  const double precision = 1.0 / (sigma * sigma);
  return linear_combination(precision, denoise(x_t, sigma), -precision, x_t);
}

at::Tensor Prior::draw_noisy(const at::Tensor& white, double sigma) const { return linear_combination(sigma, white, 0.0, white); }

double Prior::image_deviation(const std::vector<std::int64_t>& image_shape) const {
  return std::sqrt(error_covariance(range().maximum, image_shape).eigenvalues().mean().item<double>());
}

at::Tensor Prior::denoise_under(const at::Tensor& /*z*/, const SpectralNoise& /*noise*/) const {
  throw Error(ErrorKind::kUnavailable, "prior '" + info().name + "' knows white noise only",
              "train it with --conditional masked-fourier, or choose a method that takes any prior");
}

}  // namespace postrec
