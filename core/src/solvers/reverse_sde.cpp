#include "reverse_sde.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "../batched_vectors.hpp"

namespace postrec {
namespace {

/// d log scale/dt.
double drift(const NoiseProcess& process, double t) {
  if (process.kind() != NoiseProcess::Kind::kVp && process.kind() != NoiseProcess::Kind::kSubVp) return 0.0;
  const NoiseProcessOptions& o = process.options();
  return -0.5 * (o.beta_min + t * (o.beta_max - o.beta_min));
}

}  // namespace

at::Tensor multiple(double a, const at::Tensor& x) {
  const at::Tensor result = real_view(x).mul(a);
  return x.is_complex() ? at::view_as_complex(result) : result;
}

at::Tensor combination(double a, const at::Tensor& x, double b, const at::Tensor& y, double c, const at::Tensor& z) {
  return linear_combination(1.0, linear_combination(a, x, b, y), c, z);
}

at::Tensor reverse_increment(const NoiseProcess& process, double t, double length, const at::Tensor& scaled, const at::Tensor& denoised,
                             const at::Tensor& noise) {
  const double sigma = process.sigma(t), scale = process.scale(t), g_squared = process.g_squared(t);
  const double pull = length * g_squared / (sigma * sigma);
  return combination(-length * drift(process, t) - pull, scaled, pull * scale, denoised, scale * std::sqrt(length * g_squared), noise);
}

at::Tensor reverse_diffusion_step(const NoiseProcess& process, double sigma, double next_sigma, const at::Tensor& x_t, const at::Tensor& denoised,
                                  const at::Tensor& noise) {
  const double k = process.scale(process.time(sigma)) / process.scale(process.time(next_sigma));
  const double variance = sigma * sigma - next_sigma * next_sigma, pull = variance / (sigma * sigma);
  return combination(k * (2.0 - k - pull), x_t, k * pull, denoised, k * std::sqrt(variance), noise);
}

}  // namespace postrec
