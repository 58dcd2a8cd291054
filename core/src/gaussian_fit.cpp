#include <ATen/ATen.h>

#include <string>
#include <utility>

#include "postrec/error.hpp"
#include "postrec/gaussian_prior.hpp"
#include "power_average.hpp"
#include "spectral_transform.hpp"

namespace postrec {
namespace {

constexpr double kFloor = 1e-8;                // of the largest entry: keeps s > 0 where images hold nothing

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
  const std::int64_t rows = image.size(1), columns = image.size(2);

  const at::Tensor mean = complex ? at::zeros({image.size(0)}, at::kDouble) : image.to(at::kDouble).mean({1, 2});
  const at::Tensor centred = image.to(complex ? at::kComplexFloat : at::kFloat) - mean.to(at::kFloat).view({-1, 1, 1});
  const at::Tensor coefficients = from_natural_order(basis_, to_natural_basis(basis_, centred));
  // |X|^2 is two real components for complex images; a coarser pixel holds less of the same power density.
  const at::Tensor power = at::abs(coefficients).to(at::kDouble).square() * ((complex ? 0.5 : 1.0) / (ratio * ratio));
  accumulate_power(basis_, power, ratio, /*skip_mean=*/!complex, power_sum_, weight_sum_);
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
  }
  const at::Tensor spectrum = smoothed_power(basis_, power, weight);
  const double floor = kFloor * spectrum.max().item<double>();
  return GaussianPrior(basis_, spectrum.clamp_min(floor).to(at::kFloat), mean.to(at::kFloat), pixel_mm_, std::move(info));
}

}  // namespace postrec
