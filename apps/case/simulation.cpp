#include "case/simulation.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "postrec/likelihood.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

/// cos(pi k (i + 1/2) / n), [n]: half-wave k across an axis of n pixels.
at::Tensor half_wave(std::int64_t k, std::int64_t n) {
  return at::cos((at::arange(n, at::kDouble) + 0.5) * (M_PI * static_cast<double>(k) / static_cast<double>(n)));
}

}  // namespace

at::Tensor smooth_phase_rad(std::uint64_t seed, std::int64_t height, std::int64_t width) {
  constexpr std::int64_t kWaves = 3;
  const at::Tensor amplitudes = RandomStreams(seed, 0, 1).normal(0, {kWaves, kWaves}, at::kFloat).squeeze(0);
  at::Tensor phase = at::zeros({height, width}, at::kDouble);
  for (std::int64_t k = 0; k < kWaves; ++k)
    for (std::int64_t l = 0; l < kWaves; ++l) {
      const double amplitude = amplitudes[k][l].item<double>() / (1.0 + static_cast<double>(k + l));
      phase += amplitude * at::outer(half_wave(k, height), half_wave(l, width));
    }
  return phase.to(at::kFloat);
}

at::Tensor with_phase(const at::Tensor& image, const at::Tensor& phase_rad, at::ScalarType dtype) {
  if (!at::isComplexType(dtype)) return image.to(dtype);
  if (!phase_rad.defined()) return at::complex(image, at::zeros_like(image));
  return at::complex(image * at::cos(phase_rad), image * at::sin(phase_rad));
}

at::Tensor simulate_slice(const Operator& op, const at::Tensor& x, double sigma_y, std::uint64_t seed) {
  const TensorSpec codomain = op.codomain();
  const at::Tensor noise = RandomStreams(seed, 0, 1).normal(0, codomain.shape, codomain.dtype, x.device()).squeeze(0);
  const at::Tensor clean = op.forward(x.unsqueeze(0)).squeeze(0);
  return clean + sigma_y * noise * measured_entries(op, x.device()).to(noise.scalar_type());
}

}  // namespace postrec
