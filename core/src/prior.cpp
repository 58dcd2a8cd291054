#include "postrec/prior.hpp"

#include <ATen/ATen.h>

#include "batched_vectors.hpp"

namespace postrec {

at::Tensor Prior::score(const at::Tensor& x_t, double sigma) const {
  const double precision = 1.0 / (sigma * sigma);
  return linear_combination(precision, denoise(x_t, sigma), -precision, x_t);
}

}  // namespace postrec
