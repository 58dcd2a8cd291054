#include "spectrum_table.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace postrec {
namespace {

double frequency_of(SpectralBasis basis, std::int64_t n, std::int64_t i) {
  return basis == SpectralBasis::kDct ? static_cast<double>(i) / (2.0 * n) : static_cast<double>(i - n / 2) / n;
}

}  // namespace

std::vector<double> axis_frequencies(SpectralBasis basis, std::int64_t n) {
  std::vector<double> frequencies(n);
  for (std::int64_t i = 0; i < n; ++i) frequencies[i] = frequency_of(basis, n, i);
  return frequencies;
}

at::Tensor axis_interpolation(SpectralBasis basis, std::int64_t n, const std::vector<double>& frequencies) {
  // The DFT's table goes round once more at either end, so that the highest frequencies lie inside.
  const bool periodic = basis == SpectralBasis::kDft;
  const std::int64_t begin = periodic ? -1 : 0, end = periodic ? n + 1 : n;
  const double half_cell = 0.5 * (frequency_of(basis, n, 1) - frequency_of(basis, n, 0));
  const auto coordinate = [&](double f) { return std::copysign(std::log1p((f / half_cell) * (f / half_cell)), f); };

  at::Tensor matrix = at::zeros({static_cast<std::int64_t>(frequencies.size()), n}, at::kDouble);
  auto weights = matrix.accessor<double, 2>();
  for (std::size_t row = 0; row < frequencies.size(); ++row) {
    const double lowest = frequency_of(basis, n, begin), highest = frequency_of(basis, n, end - 1);
    const double f = std::clamp(frequencies[row], lowest, highest);
    std::int64_t above = begin + 1;
    while (above < end - 1 && frequency_of(basis, n, above) < f) ++above;
    above = std::min(above, end - 1);
    const std::int64_t below = std::max(above - 1, begin);
    const double u0 = coordinate(frequency_of(basis, n, below)), u1 = coordinate(frequency_of(basis, n, above));
    const double weight = above == below || frequency_of(basis, n, above) == f ? 1.0 : (coordinate(f) - u0) / (u1 - u0);
    weights[row][(below + n) % n] += 1.0 - weight;
    weights[row][(above + n) % n] += weight;
  }
  return matrix;
}

std::int64_t nearest_cell(SpectralBasis basis, std::int64_t n, double frequency) {
  if (basis == SpectralBasis::kDct) {
    const auto cell = static_cast<std::int64_t>(std::llround(frequency * 2.0 * n));
    return cell < n ? cell : -1;
  }
  if (std::abs(frequency) > 0.5) return -1;
  return (static_cast<std::int64_t>(std::llround(frequency * n)) + n / 2 + n) % n;
}

}  // namespace postrec
