#include "postrec/gaussian_prior.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <utility>

#include "batched_vectors.hpp"
#include "device_cache.hpp"
#include "postrec/error.hpp"
#include "shape_cache.hpp"
#include "spectral_transform.hpp"
#include "spectrum_table.hpp"

namespace postrec {
namespace {

struct FrequencyGrid {
  std::vector<double> rows;
  std::vector<double> columns;
};

FrequencyGrid grid_of(SpectralBasis basis, std::int64_t rows, std::int64_t columns, double factor = 1.0) {
  FrequencyGrid grid{axis_frequencies(basis, rows), axis_frequencies(basis, columns)};
  for (double& f : grid.rows) f *= factor;
  for (double& f : grid.columns) f *= factor;
  return grid;
}

// log s [C, R, K] read at the frequencies of a grid.
at::Tensor interpolate(SpectralBasis basis, const at::Tensor& log_table, const FrequencyGrid& grid) {
  const at::Tensor along_rows = axis_interpolation(basis, log_table.size(1), grid.rows);
  const at::Tensor along_columns = axis_interpolation(basis, log_table.size(2), grid.columns);
  return at::matmul(at::matmul(along_rows, log_table), along_columns.t());
}

// |f| at every point of a grid, or of the point of the square |f| <= 1/2 closest to it.
at::Tensor radius(const FrequencyGrid& grid, double limit) {
  const at::Tensor rows = at::tensor(grid.rows, at::kDouble).clamp(-limit, limit), columns = at::tensor(grid.columns, at::kDouble).clamp(-limit, limit);
  return (rows.square().unsqueeze(1) + columns.square().unsqueeze(0)).sqrt();
}

// g of s ~ |f|^-g over the outer half of a table, per channel [C, 1, 1]; at least 0.
at::Tensor decay_exponent(const at::Tensor& log_table, const FrequencyGrid& grid) {
  const at::Tensor f = radius(grid, 0.5);
  const at::Tensor outer = f.ge(0.25).to(at::kDouble);
  const at::Tensor log_f = f.clamp_min(1e-3).log();
  const at::Tensor n = outer.sum();
  const at::Tensor centred = (log_f - (log_f * outer).sum() / n) * outer;
  const at::Tensor slope = (log_table * centred).sum({1, 2}, true) / centred.square().sum();
  return (-slope).clamp_min(0.0);
}

}  // namespace

struct GaussianPrior::Cache {
  ShapeCache<at::Tensor> spectrum, natural_spectrum;
  DeviceCache<Tables> tables;
};

GaussianPrior::GaussianPrior(SpectralBasis basis, at::Tensor spectrum, at::Tensor mean, double pixel_mm, PriorInfo info)
    : basis_(basis), spectrum_(std::move(spectrum)), mean_(std::move(mean)), pixel_mm_(pixel_mm), info_(std::move(info)),
      cache_(std::make_shared<Cache>()) {
  const std::string name = "prior '" + info_.name + "': ";
  if (spectrum_.scalar_type() != at::kFloat || spectrum_.dim() != 3 || spectrum_.size(0) < 1 || spectrum_.size(1) < 2 || spectrum_.size(2) < 2)
    throw Error(ErrorKind::kBadData, name + "the spectrum is not float32 [channels, rows, columns] of at least 2x2", "fit the prior again");
  if (mean_.scalar_type() != at::kFloat || mean_.dim() != 1 || mean_.size(0) != spectrum_.size(0))
    throw Error(ErrorKind::kBadData, name + "the mean is not float32 with one number a channel", "fit the prior again");
  if (!spectrum_.gt(0.0).all().item<bool>() || !at::isfinite(spectrum_).all().item<bool>() || !at::isfinite(mean_).all().item<bool>())
    throw Error(ErrorKind::kBadData, name + "the spectrum or mean holds a number that is not positive or not finite", "fit the prior again");
  if (!(pixel_mm_ >= 0.0) || !std::isfinite(pixel_mm_))
    throw Error(ErrorKind::kBadData, name + "pixel size " + std::to_string(pixel_mm_) + " mm", "it must be positive, or 0 when not known");
}

TensorSpec GaussianPrior::domain() const {
  return {{spectrum_.size(0), -1, -1}, basis_ == SpectralBasis::kDft ? at::kComplexFloat : at::kFloat};
}

// With a measurement sampling starts at sigma_max n instead of at x + sigma_max n. At ten times the largest standard deviation that costs 1 % of the mean and
// 0.005 % of the spread of that one coefficient, and only where the data do not see it.
SigmaRange GaussianPrior::range() const {
  return {0.01 * std::sqrt(spectrum_.mean().item<double>()), 10.0 * std::sqrt(spectrum_.max().item<double>())};
}

at::Tensor GaussianPrior::spectrum_for(const std::vector<std::int64_t>& image_shape) const {
  if (image_shape.size() != 3 || image_shape[0] != spectrum_.size(0))
    throw Error(ErrorKind::kBadData, "prior '" + info_.name + "' is for images [" + std::to_string(spectrum_.size(0)) + ", rows, columns]",
                "give images with as many channels");
  return cache_->spectrum.get(image_shape, [&] {
    if (spectrum_.sizes() == at::IntArrayRef(image_shape)) return spectrum_;
    return interpolate(basis_, spectrum_.to(at::kDouble).log(), grid_of(basis_, image_shape[1], image_shape[2])).exp().to(at::kFloat);
  });
}

GaussianPrior::Tables GaussianPrior::on(const at::Device& device) const {
  return cache_->tables.get(device, [&] { return Tables{spectrum_.to(device), mean_.to(device)}; });
}

at::Tensor GaussianPrior::natural_spectrum_for(const std::vector<std::int64_t>& image_shape, const at::Device& device) const {
  return cache_->natural_spectrum.get(shape_on(image_shape, device), [&] { return to_natural_order(basis_, spectrum_for(image_shape)).to(device); });
}

at::Tensor GaussianPrior::denoise(const at::Tensor& x_t, double sigma) const {
  const at::Tensor s = natural_spectrum_for(x_t.sizes().slice(1).vec(), x_t.device());
  const at::Tensor mean = on(x_t.device()).mean.view({-1, 1, 1});
  return from_natural_basis(basis_, times_table(to_natural_basis(basis_, x_t - mean), s / (s + sigma * sigma))) + mean;
}

at::Tensor GaussianPrior::draw_noisy(const at::Tensor& white, double sigma) const {
  const at::Tensor s = natural_spectrum_for(white.sizes().slice(1).vec(), white.device());
  const at::Tensor centred = from_natural_basis(basis_, times_table(to_natural_basis(basis_, white), (s + sigma * sigma).sqrt()));
  return centred + on(white.device()).mean.view({-1, 1, 1});
}

at::Tensor GaussianPrior::denoise_under(const at::Tensor& z, const SpectralNoise& noise) const {
  const at::Tensor s = natural_spectrum_for(z.sizes().slice(1).vec(), z.device());
  const at::Tensor mean = on(z.device()).mean.view({-1, 1, 1});
  const at::Tensor shrink = s / (s + noise.natural_variance().squeeze(0));
  return from_natural_basis(basis_, times_table(to_natural_basis(basis_, z - mean), shrink)) + mean;
}

SpectralCovariance GaussianPrior::error_covariance(double sigma, const std::vector<std::int64_t>& image_shape) const {
  const at::Tensor s = spectrum_for(image_shape);
  return SpectralCovariance(basis_, s * (sigma * sigma) / (s + sigma * sigma));
}

GaussianPrior GaussianPrior::at_pixel_size(double pixel_mm) const {
  if (!(pixel_mm_ > 0.0)) throw Error(ErrorKind::kBadData, "prior '" + info_.name + "' does not know its pixel size", "fit it from images that do");
  if (!(pixel_mm > 0.0)) throw Error(ErrorKind::kUsage, "pixel size " + std::to_string(pixel_mm) + " mm", "it must be positive");
  const double ratio = pixel_mm_ / pixel_mm;
  if (ratio == 1.0) return *this;
  const at::Tensor log_table = spectrum_.to(at::kDouble).log();
  const std::int64_t rows = spectrum_.size(1), columns = spectrum_.size(2);
  const FrequencyGrid grid = grid_of(basis_, rows, columns, ratio);
  const at::Tensor inside = radius(grid, 0.5).clamp_min(1e-9), all = radius(grid, 1e9).clamp_min(1e-9);
  const at::Tensor beyond = decay_exponent(log_table, grid_of(basis_, rows, columns)) * (inside / all).log();
  const at::Tensor resampled = (interpolate(basis_, log_table, grid) + beyond).exp() * (ratio * ratio);
  return GaussianPrior(basis_, resampled.to(at::kFloat), mean_, pixel_mm, info_);
}

}  // namespace postrec
