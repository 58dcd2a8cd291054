#include "power_average.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "postrec/error.hpp"
#include "spectrum_table.hpp"

namespace postrec {
namespace {

// The power as a function of |f| alone, double [C, n, n]: averaged over rings one cell apart, each cell shared between the two rings beside
// it, and read back log-linearly. Smoothing the ratio to it does not smear the peak at DC. A ring without power takes the value of the one
// inside it, those at DC that of the first with power.
at::Tensor radial_power(SpectralBasis basis, const at::Tensor& power, const at::Tensor& weight) {
  const std::int64_t n = weight.size(0);
  const at::Tensor f = at::tensor(axis_frequencies(basis, n), at::kDouble);
  const double cell = (f[1] - f[0]).item<double>();
  const at::Tensor position = ((f.square().unsqueeze(1) + f.square().unsqueeze(0)).sqrt() / cell).flatten();
  const at::Tensor inner = position.floor().to(at::kLong), outer = inner + 1;
  const at::Tensor of_outer = position - inner, of_inner = 1.0 - of_outer;
  const std::int64_t n_rings = outer.max().item<std::int64_t>() + 1;
  at::Tensor rings = at::zeros({power.size(0), n_rings}, at::kDouble), weights = at::zeros({n_rings}, at::kDouble);
  rings.index_add_(1, inner, power.flatten(1) * of_inner).index_add_(1, outer, power.flatten(1) * of_outer);
  weights.index_add_(0, inner, weight.flatten() * of_inner).index_add_(0, outer, weight.flatten() * of_outer);
  std::int64_t first_known = n_rings;
  for (std::int64_t i = 0; i < n_rings; ++i) {
    at::Tensor mean = rings.select(1, i);
    if (weights[i].item<double>() > 0.0 && mean.gt(0.0).all().item<bool>()) {
      mean.div_(weights[i]);
      first_known = std::min(first_known, i);
    } else if (i > first_known) {
      mean.copy_(rings.select(1, i - 1));
    }
  }
  if (first_known == n_rings) throw Error(ErrorKind::kBadData, "a channel of the images to fit is constant", "give images that are not");
  for (std::int64_t i = 0; i < first_known; ++i) rings.select(1, i).copy_(rings.select(1, first_known));
  const at::Tensor log_rings = rings.log();
  return (log_rings.index_select(1, inner) * of_inner + log_rings.index_select(1, outer) * of_outer).exp().view_as(power);
}

// Mean over 3x3 cells with weights [1 2 1]/4 in both axes; periodic for the DFT, cut at the edge for the DCT.
at::Tensor smooth(SpectralBasis basis, const at::Tensor& table) {
  at::Tensor result = table;
  for (const std::int64_t axis : {-2, -1}) {
    const std::int64_t n = table.size(axis);
    at::Tensor before = at::roll(result, 1, axis), after = at::roll(result, -1, axis);
    if (basis == SpectralBasis::kDct) {
      before.narrow(axis, 0, 1).zero_();
      after.narrow(axis, n - 1, 1).zero_();
    }
    result = result * 0.5 + (before + after) * 0.25;
  }
  return result;
}

// Entry at k plus entry at -k, both halved. [DFT order, DC at n/2]
at::Tensor symmetric(const at::Tensor& table) {
  const std::int64_t shift = table.size(-1) % 2 == 0 ? 1 : 0;
  return (table + at::roll(table.flip({-2, -1}), {shift, shift}, {-2, -1})) * 0.5;
}

}  // namespace

void accumulate_power(SpectralBasis basis, const at::Tensor& power, double ratio, bool skip_mean, at::Tensor& sum, at::Tensor& weight) {
  const std::int64_t rows = power.size(1), columns = power.size(2), n = weight.size(0);
  const std::vector<double> row_frequencies = axis_frequencies(basis, rows), column_frequencies = axis_frequencies(basis, columns);
  const auto value = power.accessor<double, 3>();
  auto sums = sum.accessor<double, 3>();
  auto weights = weight.accessor<double, 2>();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t k = 0; k < columns; ++k) {
      const std::int64_t row = nearest_cell(basis, n, row_frequencies[r] * ratio), column = nearest_cell(basis, n, column_frequencies[k] * ratio);
      if (row < 0 || column < 0 || (skip_mean && r == 0 && k == 0)) continue;
      weights[row][column] += 1.0;
      for (std::int64_t c = 0; c < power.size(0); ++c) sums[c][row][column] += value[c][r][k];
    }
}

at::Tensor smoothed_power(SpectralBasis basis, const at::Tensor& sum, const at::Tensor& sum_weight) {
  const bool mirrored = basis == SpectralBasis::kDft;
  at::Tensor power = mirrored ? symmetric(sum) : sum, weight = mirrored ? symmetric(sum_weight) : sum_weight;
  const at::Tensor radial = radial_power(basis, power, weight);
  power = power / radial;
  // Smoothed once everywhere, and again as often as it takes to reach every cell that no image has reached.
  at::Tensor ratio = at::zeros_like(power), reached = at::zeros_like(weight);
  do {
    power = smooth(basis, power);
    weight = smooth(basis, weight);
    const at::Tensor fresh = reached.eq(0.0).logical_and(weight.gt(0.0));
    ratio = at::where(fresh, power / weight.clamp_min(1e-300), ratio);
    reached = reached + fresh.to(at::kDouble);
  } while (!reached.gt(0.0).all().item<bool>());
  return ratio * radial;
}

}  // namespace postrec
