#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "postrec/denoising_network.hpp"
#include "postrec/error_table.hpp"
#include "postrec/prior.hpp"

namespace postrec {

/// A learned prior: a DenoisingNetwork with the measured covariance of its error.
///
/// Fully convolutional: any image size. Pixel sizes are not adapted to: the network sees images in pixels.
class NetworkPrior : public Prior {
 public:
  /// Throws Error(kBadData) when table and network are of other bases or channels, or the range is not 0 < minimum < maximum.
  NetworkPrior(DenoisingNetwork network, ErrorTable errors, SigmaRange range, PriorInfo info);

  /// The same prior with its network evaluated in these numbers. The error table stays: what a precision that is worth using adds to the error is under a hundredth
  /// of its variance (core/README.md).
  NetworkPrior in_precision(NetworkPrecision precision) const { return {network_.in_precision(precision), errors_, range_, info_}; }
  NetworkPrecision precision() const { return network_.network().precision(); }

  TensorSpec domain() const override { return network_.gaussian().domain(); }
  const PriorInfo& info() const override { return info_; }
  SigmaRange range() const override { return range_; }
  /// Law: batch. The bits of an image do not depend on the others of its batch (CPU).
  /// Law: threads. Nor on the number of threads (CPU, no group normalisation and no attention: those change by rounding).
  /// On another device the images of a batch go through the network together; the promise is then rounding instead, in float32 1e-5 of the largest value.
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const override;
  at::Tensor draw_noisy(const at::Tensor& white, double sigma) const override { return network_.gaussian().draw_noisy(white, sigma); }
  /// Only when the network was trained for noise spectra; a law as of denoise.
  at::Tensor denoise_under(const at::Tensor& z, const SpectralNoise& noise) const override;
  bool error_covariance_is_measured() const override { return true; }
  SpectralCovariance error_covariance(double sigma, const std::vector<std::int64_t>& image_shape) const override {
    return errors_.at_sigma(sigma, image_shape);
  }
  SpectralCovariance error_covariance_around(const at::Tensor& denoised, double sigma) const override { return errors_.around(denoised, sigma); }

  const DenoisingNetwork& network() const { return network_; }
  const ErrorTable& errors() const { return errors_; }

 private:
  DenoisingNetwork network_;
  ErrorTable errors_;
  SigmaRange range_;
  PriorInfo info_;
};

}  // namespace postrec
