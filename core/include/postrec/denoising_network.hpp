#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "postrec/gaussian_prior.hpp"
#include "postrec/spectral_noise.hpp"
#include "postrec/unet.hpp"

namespace postrec {

/// A learned denoiser that starts from the best linear one:
///   D(x, sigma) = D_G(x, sigma) + c_out(sigma) F([c_in (x - mean), (D_G - mean) / sigma_data], log(sigma) / 4)
/// with D_G the denoiser of a stationary Gaussian fitted to the same images, c_in = (sigma_data^2 + sigma^2)^(-1/2), sigma_data^2 = mean s and
/// c_out^2 = mean s sigma^2 / (s + sigma^2), the error of D_G, over its spectrum s. For a white spectrum this is EDM's preconditioning
/// [Karras 2022, table 1]; for the spectra of scans it hands the network the low frequencies of the whole image, however small its crops were.
///
/// A complex image is two real channels to F.
///
/// Noise with a spectrum v: the same with s/(s + v) in D_G and mean s v/(s + v) in c_out^2, sigma^2 = mean v in c_in and in the noise level's coordinate, and a
/// summary of v beside that coordinate, if the network takes one (`conditions` = SpectralNoise::kSummarySize). White v = sigma^2 is the formula above.
class DenoisingNetwork {
 public:
  /// Throws Error(kBadData) when the network's channels are not those of the Gaussian.
  DenoisingNetwork(GaussianPrior gaussian, UNet network);

  /// The architecture for images of this Gaussian: input and output channels set, the rest as given.
  static UNetConfig config_for(const GaussianPrior& gaussian, UNetConfig config);

  /// The same denoiser with F evaluated in these numbers; all else stays float32.
  DenoisingNetwork in_precision(NetworkPrecision precision) const { return {gaussian_, network_.in_precision(precision)}; }

  const GaussianPrior& gaussian() const { return gaussian_; }
  const UNet& network() const { return network_; }

  /// x_t [B, C, H, W] real or complex as the Gaussian's images, sigma float32 [B] or [1] -> E[x | x_t]. Differentiable. On the device of both: after the first call
  /// for a device and image size nothing is copied and nobody waits.
  at::Tensor denoise(const at::Tensor& x_t, const at::Tensor& sigma) const;

  /// E[x | x + Q v^(1/2) n = z] for noise with a spectrum: z [B, C, H, W], `noise` in the basis of the Gaussian, one table or one a sample. Differentiable in z.
  at::Tensor denoise(const at::Tensor& z, const SpectralNoise& noise) const;

  /// c_out at each sigma [B] -> [B]: the root mean square error of the linear denoiser; training weighs its loss by 1 / c_out^2.
  at::Tensor output_scale(const at::Tensor& sigma) const;
  /// The same for each table of `noise` [N], on the frequencies of its images.
  at::Tensor output_scale(const SpectralNoise& noise) const;

 private:
  /// What the network sees of the noise, [B] or [1] each.
  struct Noise {
    at::Tensor variance;                       ///< v, frequency 0 first: [B or 1, C or 1, H or 1, W or 1]
    at::Tensor level;
    at::Tensor output_scale;
    at::Tensor summary;                        ///< undefined when the network takes none
  };
  at::Tensor denoise(const at::Tensor& x_t, const Noise& noise) const;
  at::Tensor linear_part(const at::Tensor& centred, const at::Tensor& variance) const;

  GaussianPrior gaussian_;
  UNet network_;
  double data_variance_ = 0.0;
};

}  // namespace postrec
