#include "heun_rule.hpp"

#include "../batched_vectors.hpp"
#include "reverse_sde.hpp"

namespace postrec {

at::Tensor heun_step(const at::Tensor& x_t, double sigma, double next_sigma, const Denoiser& denoise) {
  const at::Tensor denoised = denoise(x_t, sigma);
  if (next_sigma == 0.0) return denoised;
  const double slope = 1.0 / sigma, next_slope = 1.0 / next_sigma, half = 0.5 * (next_sigma - sigma);
  const at::Tensor euler = linear_combination(next_sigma / sigma, x_t, 1.0 - next_sigma / sigma, denoised);
  const at::Tensor ahead = denoise(euler, next_sigma);
  // x + half ((x - D)/sigma + (euler - ahead)/next_sigma)
  return linear_combination(1.0, linear_combination(1.0 + half * slope, x_t, -half * slope, denoised), half * next_slope,
                            linear_combination(1.0, euler, -1.0, ahead));
}

}  // namespace postrec
