#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "postrec/error.hpp"
#include "postrec/gaussian_prior.hpp"
#include "spectral_transform.hpp"
#include "spectrum_table.hpp"

namespace postrec {
namespace {

constexpr double kFloor = 1e-8;                // of the largest entry: keeps s > 0 where images hold nothing

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

GaussianFit::GaussianFit(SpectralBasis basis, std::int64_t channels, std::int64_t table_size, double pixel_mm)
    : basis_(basis), pixel_mm_(pixel_mm) {
  if (channels < 1 || table_size < 4)
    throw Error(ErrorKind::kUsage, "a spectrum of " + std::to_string(channels) + " channels and table size " + std::to_string(table_size),
                "at least 1 channel and 4 rows are needed");
  power_sum_ = at::zeros({channels, table_size, table_size}, at::kDouble);
  weight_sum_ = at::zeros({table_size, table_size}, at::kDouble);
}

void GaussianFit::add(const at::Tensor& image, double pixel_mm) {
  const bool complex = basis_ == SpectralBasis::kDft;
  if (image.dim() != 3 || image.size(0) != power_sum_.size(0) || image.is_complex() != complex || image.numel() == 0)
    throw Error(ErrorKind::kBadData, "an image to fit is not " + std::string(complex ? "complex" : "real") + " [" +
                std::to_string(power_sum_.size(0)) + ", rows, columns]", "convert it first");
  if (!at::isfinite(image).all().item<bool>()) throw Error(ErrorKind::kBadData, "an image to fit holds NaN or infinity", "leave it out");
  const double ratio = pixel_mm > 0.0 && pixel_mm_ > 0.0 ? pixel_mm_ / pixel_mm : 1.0;  // table pixel over image pixel
  const std::int64_t rows = image.size(1), columns = image.size(2), n = weight_sum_.size(0);

  const at::Tensor mean = complex ? at::zeros({image.size(0)}, at::kDouble) : image.to(at::kDouble).mean({1, 2});
  const at::Tensor centred = image.to(complex ? at::kComplexFloat : at::kFloat) - mean.to(at::kFloat).view({-1, 1, 1});
  const at::Tensor coefficients = from_natural_order(basis_, to_natural_basis(basis_, centred));
  // |X|^2 is two real components for complex images; a coarser pixel holds less of the same power density.
  const at::Tensor power = at::abs(coefficients).to(at::kDouble).square() * ((complex ? 0.5 : 1.0) / (ratio * ratio));

  const std::vector<double> row_frequencies = axis_frequencies(basis_, rows), column_frequencies = axis_frequencies(basis_, columns);
  const auto value = power.accessor<double, 3>();
  auto sum = power_sum_.accessor<double, 3>();
  auto weight = weight_sum_.accessor<double, 2>();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t k = 0; k < columns; ++k) {
      const std::int64_t row = nearest_cell(basis_, n, row_frequencies[r] * ratio), column = nearest_cell(basis_, n, column_frequencies[k] * ratio);
      const bool is_mean = !complex && r == 0 && k == 0;
      if (row < 0 || column < 0 || is_mean) continue;
      weight[row][column] += 1.0;
      for (std::int64_t c = 0; c < power.size(0); ++c) sum[c][row][column] += value[c][r][k];
    }
  image_means_.push_back(mean);
  mean_weights_.push_back(static_cast<double>(rows * columns) / (ratio * ratio));
  ++n_images_;
}

GaussianPrior GaussianFit::finish(PriorInfo info) const {
  if (n_images_ == 0) throw Error(ErrorKind::kBadData, "no image to fit a prior to", "give at least one");
  at::Tensor power = power_sum_.clone(), weight = weight_sum_.clone();
  const at::Tensor mean = at::stack(image_means_).mean(0);
  if (basis_ == SpectralBasis::kDct) {
    for (std::int64_t i = 0; i < n_images_; ++i)
      power.select(1, 0).select(1, 0).add_((image_means_[i] - mean).square() * mean_weights_[i]);
    weight[0][0].add_(static_cast<double>(n_images_ - 1));  // the mean was fitted too
  } else {
    power = symmetric(power);
    weight = symmetric(weight);
  }
  const at::Tensor radial = radial_power(basis_, power, weight);
  power = power / radial;
  // Smoothed once everywhere, and again as often as it takes to reach every cell that no image has reached.
  at::Tensor ratio = at::zeros_like(power), reached = at::zeros_like(weight);
  do {
    power = smooth(basis_, power);
    weight = smooth(basis_, weight);
    const at::Tensor fresh = reached.eq(0.0).logical_and(weight.gt(0.0));
    ratio = at::where(fresh, power / weight.clamp_min(1e-300), ratio);
    reached = reached + fresh.to(at::kDouble);
  } while (!reached.gt(0.0).all().item<bool>());
  const at::Tensor spectrum = ratio * radial;
  const double floor = kFloor * spectrum.max().item<double>();
  return GaussianPrior(basis_, spectrum.clamp_min(floor).to(at::kFloat), mean.to(at::kFloat), pixel_mm_, std::move(info));
}

}  // namespace postrec
