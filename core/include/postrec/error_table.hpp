#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "postrec/denoiser_correction.hpp"
#include "postrec/error_envelope.hpp"
#include "postrec/prior.hpp"
#include "postrec/spectral_covariance.hpp"

namespace postrec {

/// What was measured of a denoiser: how its answers are corrected, and the covariance of the error that is left, c(sigma), on a table of noise levels: interpolated log-log between them,
/// proportional to sigma^2 below the first (nothing but noise is left) and constant above the last (nothing is known).
///
/// Over frequency it is a table in cycles per pixel, read at the frequencies of an image of any size, and exact where the sizes agree. Over pixels it may have an
/// envelope. (c is of the error itself, so a little blurred by what the envelope does to spectra.)
class ErrorTable {
 public:
  /// 48 log-spaced levels from 1e-3 to 60, in single precision as files hold them.
  static std::vector<double> standard_sigmas();

  /// `sigmas` rising, `eigenvalues` c > 0 float32 [n_sigmas, C, rows, columns] in the order of the basis. Throws Error(kBadData) on anything else.
  /// `envelope` and `correction` have a row for each level.
  ErrorTable(SpectralBasis basis, std::vector<double> sigmas, at::Tensor eigenvalues, std::optional<ErrorEnvelope> envelope = {},
             std::optional<DenoiserCorrection> correction = {});

  SpectralBasis basis() const { return basis_; }
  const std::vector<double>& sigmas() const { return sigmas_; }
  const at::Tensor& eigenvalues() const { return eigenvalues_; }
  const std::optional<ErrorEnvelope>& envelope() const { return envelope_; }
  const std::optional<DenoiserCorrection>& correction() const { return correction_; }

  /// What the denoiser's answer to x_t, [B, C, H, W], becomes; the same without a correction. All else here is of its error.
  at::Tensor corrected(const at::Tensor& x_t, const at::Tensor& denoised, double sigma) const;
  /// C at sigma > 0 for images of this shape [C, H, W]. Throws Error(kBadData) on another number of channels.
  SpectralCovariance at_sigma(double sigma, const std::vector<std::int64_t>& image_shape) const;
  /// The same with the envelope, if there is one, around denoised images [B, C, H, W], and on their device.
  SpectralCovariance around(const at::Tensor& denoised, double sigma) const;

 private:
  class Cache;
  struct Position;
  Position position_of(double sigma) const;

  SpectralBasis basis_;
  std::vector<double> sigmas_;
  at::Tensor eigenvalues_;
  std::optional<ErrorEnvelope> envelope_;
  std::optional<DenoiserCorrection> correction_;
  at::Tensor log_eigenvalues_;                 ///< double
  std::shared_ptr<Cache> cache_;               ///< how to read the table at the last size asked for; shared by copies
};

/// Measures the denoiser's correction, c(sigma) = diag E |Q^H (x0 - D'(x0 + sigma n, sigma))|^2 per real component, D' being corrected, and the envelope of that error, on held-out
/// images of any size, [C, H, W] each, real or complex. One evaluation per image and level, with noise from the streams (seed, image).
///
/// `table_size` rows and columns; each cell is an average over the images' frequencies near it and over its neighbours (power_average.hpp), so
/// that n coefficients beside a cell leave a relative error of about (2/n)^(1/2), for complex images (1/n)^(1/2).
/// `mean_squares`: takes the mean of |x0 - D|^2 per real component at each level, over images, if not null: of the denoiser as it is, whose worth a correction would hide.
/// `denoise` takes and gives [1, C, H, W]. Throws Error: kUsage (no image, table smaller than 4), kBadData (an image that does not fit the basis
/// or the first image, or is not finite), kNumerical (the denoiser's answer is not finite).
ErrorTable measure_error_table(const std::function<at::Tensor(const at::Tensor& x_t, double sigma)>& denoise, SpectralBasis basis,
                               const std::vector<at::Tensor>& images, std::int64_t table_size = 32, std::uint64_t seed = 0,
                               std::vector<double> sigmas = ErrorTable::standard_sigmas(), std::vector<double>* mean_squares = nullptr);

/// The longest run of noise levels at which a denoiser is worth asking: its mean square error there is below sigma^2, that of x_t itself, and below
/// `image_variance`, that of the mean image (all per real component). Throws Error(kBadData) when that is less than two levels.
SigmaRange useful_range(const std::vector<double>& sigmas, const std::vector<double>& mean_squares, double image_variance);

}  // namespace postrec
