#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "postrec/prior.hpp"

namespace postrec {

/// A stationary Gaussian: x = mean + Q diag(s)^(1/2) n, Q the orthonormal DFT (complex images) or DCT (real images).
///
/// The spectrum s is a table over frequency in cycles per pixel, interpolated (log-log) to the size of the image, and exact where the sizes agree.
/// Denoiser, error covariance and posterior are exact: D(x, sigma) = mean + Q s/(s + sigma^2) Q^H (x - mean).
class GaussianPrior : public Prior {
 public:
  /// `spectrum` s > 0: float32 [C, rows, columns], in the order of `basis` (DFT: DC at n/2; DCT: DC at 0), variance per real component.
  /// `mean`: float32 [C]. `pixel_mm` is the pixel size that the table is for, 0 when not known. Throws Error(kBadData) on anything else.
  GaussianPrior(SpectralBasis basis, at::Tensor spectrum, at::Tensor mean, double pixel_mm, PriorInfo info);

  TensorSpec domain() const override;
  const PriorInfo& info() const override { return info_; }
  SigmaRange range() const override;
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const override;
  at::Tensor draw_noisy(const at::Tensor& white, double sigma) const override;
  at::Tensor denoise_under(const at::Tensor& z, const SpectralNoise& noise) const override;
  SpectralCovariance error_covariance(double sigma, const std::vector<std::int64_t>& image_shape) const override;

  SpectralBasis basis() const { return basis_; }
  const at::Tensor& spectrum() const { return spectrum_; }
  const at::Tensor& mean() const { return mean_; }
  double pixel_mm() const { return pixel_mm_; }

  /// s at the frequencies of an image of this shape, float32 [C, H, W]. Throws Error(kBadData) on another number of channels.
  at::Tensor spectrum_for(const std::vector<std::int64_t>& image_shape) const;

  /// What computing on a device needs, copied there once for all copies of this prior.
  struct Tables {
    at::Tensor spectrum, mean;
  };
  Tables on(const at::Device& device) const;
  /// spectrum_for with frequency 0 first, whatever the basis; kept there for the last shape and device asked for.
  at::Tensor natural_spectrum_for(const std::vector<std::int64_t>& image_shape, const at::Device& device) const;

  /// The same images seen with another pixel size: s'(f) = s(f p/p') (p/p')^2. Frequencies that the table does not reach follow the
  /// power law of its outer half.
  GaussianPrior at_pixel_size(double pixel_mm) const;

 private:
  struct Cache;

  SpectralBasis basis_;
  at::Tensor spectrum_;
  at::Tensor mean_;
  double pixel_mm_;
  PriorInfo info_;
  std::shared_ptr<Cache> cache_;               ///< of the last size and of every device asked for; shared by copies
};

/// Fits a GaussianPrior: the average power spectrum of images of any size, in model units.
///
/// Real images: the mean of each channel is fitted too. Complex images: the mean is 0, because their global phase is arbitrary, and the
/// spectrum is symmetric, s(-k) = s(k).
class GaussianFit {
 public:
  /// `table_size`: rows and columns of the spectrum table. `pixel_mm`: the pixel size to refer the table to. Throws Error(kUsage) on sizes out of range.
  GaussianFit(SpectralBasis basis, std::int64_t channels, std::int64_t table_size, double pixel_mm);
  /// One image [C, H, W], real or complex as the basis asks, with its pixel size (0: as the table's). Throws Error(kBadData) on another type or shape and on NaN.
  void add(const at::Tensor& image, double pixel_mm);
  /// Throws Error(kBadData) when nothing was added.
  GaussianPrior finish(PriorInfo info) const;

 private:
  SpectralBasis basis_;
  double pixel_mm_;
  std::int64_t n_images_ = 0;
  at::Tensor power_sum_;                       ///< power without the images' means, double [C, rows, columns]
  at::Tensor weight_sum_;                      ///< how many coefficients fell into each cell, double [rows, columns]
  std::vector<at::Tensor> image_means_;        ///< double [C]
  std::vector<double> mean_weights_;           ///< power at DC for a mean of 1, in the table's pixels
};

}  // namespace postrec
