#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "postrec/operator.hpp"
#include "postrec/spectral_covariance.hpp"
#include "postrec/spectral_noise.hpp"

namespace postrec {

struct SigmaRange {
  double minimum = 0.0;
  double maximum = 0.0;
};

/// What the numbers that a prior sees mean: how a scan is scaled to it (the scaling itself lives in data/).
enum class PriorIntensity {
  kUnit,             ///< as they are
  kPercentile,       ///< the 99.5th percentile of the magnitude is 1 (MR)
  kRelativeWater,    ///< attenuation relative to water: air 0, water 1, that is 1 + HU/1000 (CT)
  kByte,             ///< 0..255 is 0..1 (8-bit pictures)
};

/// Facts about a prior that travel with its file.
struct PriorInfo {
  std::string name;
  std::string licence;
  std::string trained_on;
  PriorIntensity intensity = PriorIntensity::kUnit;
  std::string sha256;                          ///< of the file; empty for priors made in memory
  std::string channels = {};                   ///< what each real channel means, "real, imaginary"; empty: as usual for such images
  std::string training = {};                   ///< how it was trained: command, steps
};

/// A prior p(x) through its denoiser at noise level sigma, x_sigma = x + sigma n (the one convention inside PostRec).
///
/// For complex images n has unit variance in each real component. Safe to call from several threads.
class Prior {
 public:
  virtual ~Prior() = default;

  /// Shape and type of the images it can denoise; a -1 in the shape accepts any size.
  virtual TensorSpec domain() const = 0;
  virtual const PriorInfo& info() const = 0;
  virtual SigmaRange range() const = 0;

  /// E[x | x + sigma n = x_t], [B, domain] -> [B, domain].
  virtual at::Tensor denoise(const at::Tensor& x_t, double sigma) const = 0;

  /// x + sigma n from standard normal numbers [B, domain] at the largest sigma, where a walk without a measurement begins: noise alone, unless the prior knows what little of x is left
  /// beside it.
  virtual at::Tensor draw_noisy(const at::Tensor& white, double sigma) const;

  /// E[x | x + n = z] for noise with a spectrum, one table for the batch, in the basis of error_covariance: what methods need that put x_t and y
  /// into one noisy image. Throws Error(kUnavailable) with a prior that knows white noise only.
  virtual at::Tensor denoise_under(const at::Tensor& z, const SpectralNoise& noise) const;

  /// Covariance of the denoiser's error at sigma, per real component, for images of this shape [C, (D,) H, W]:
  /// C = Q diag(c) Q^H, measured on held-out images or exact.
  virtual SpectralCovariance error_covariance(double sigma, const std::vector<std::int64_t>& image_shape) const = 0;

  /// The same about denoised images [B, C, H, W], for each its own where more is known of an error when one sees them: where in the image it is large.
  virtual SpectralCovariance error_covariance_around(const at::Tensor& denoised, double sigma) const {
    return error_covariance(sigma, denoised.sizes().slice(1).vec()).to(denoised.device());
  }

  /// Whether that covariance was measured on images rather than known: then it may differ from scan to scan.
  virtual bool error_covariance_is_measured() const { return false; }

  /// Standard deviation of a pixel of the prior's images, per real component: the error that is left at the highest noise.
  double image_deviation(const std::vector<std::int64_t>& image_shape) const;

  /// grad log p_sigma(x_t) = (D - x_t) / sigma^2 (Tweedie).
  at::Tensor score(const at::Tensor& x_t, double sigma) const;
};

}  // namespace postrec
