#include "case/coil_maps.hpp"

#include <ATen/ATen.h>

#include <cmath>

namespace postrec {
namespace {

// In half image widths.
constexpr double kRingRadius = 1.2;
constexpr double kLoopRadius = 0.6;

at::Tensor coordinates(std::int64_t n) { return (at::arange(n, at::kDouble) + 0.5) * (2.0 / static_cast<double>(n)) - 1.0; }

}  // namespace

at::Tensor birdcage_maps(std::int64_t n_coils, std::int64_t height, std::int64_t width) {
  const at::Tensor y = coordinates(height).unsqueeze(1).expand({height, width});
  const at::Tensor x = coordinates(width).unsqueeze(0).expand({height, width});
  std::vector<at::Tensor> maps;
  for (std::int64_t coil = 0; coil < n_coils; ++coil) {
    const double angle = 2 * M_PI * static_cast<double>(coil) / static_cast<double>(n_coils);
    const at::Tensor dx = x - kRingRadius * std::cos(angle);
    const at::Tensor dy = y - kRingRadius * std::sin(angle);
    const at::Tensor magnitude = (1.0 + (dx * dx + dy * dy) / (kLoopRadius * kLoopRadius)).pow(-1.5);
    maps.push_back(at::polar(magnitude, at::atan2(dy, dx) - angle));
  }
  const at::Tensor stack = at::stack(maps);
  const at::Tensor sum_of_squares = at::real(stack * at::conj(stack)).sum(0, /*keepdim=*/true);
  return (stack / at::sqrt(sum_of_squares)).to(at::kComplexFloat);
}

}  // namespace postrec
