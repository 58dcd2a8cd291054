#pragma once

#include <ATen/core/Tensor.h>

#include "postrec/image.hpp"
#include "postrec/prior.hpp"

namespace postrec {

/// Attenuation of water at 70 keV, the effective energy of a 120 kVp CT beam. [NIST XCOM: 0.1929 cm^2/g]
inline constexpr double kWaterMuPerMm = 0.01929;

/// Between what a file holds, what the physics measures and what the prior saw.
///   model = physical / scale,   stored = physical * stored_per_physical + stored_offset
/// CT: physical is mu in 1/mm, scale is mu of water, stored is HU. MR: physical and stored are the scanner's arbitrary unit, scale its 99.5th percentile.
struct IntensityScale {
  double scale = 1.0;
  double stored_per_physical = 1.0;
  double stored_offset = 0.0;

  /// For an image in `unit` and a prior that saw `intensity`. `reference` (any shape, real or complex, physical unit) gives the percentile
  /// for PriorIntensity::kPercentile and is ignored otherwise. Throws Error(kBadData) when the percentile is 0 or not finite, and
  /// Error(kConfiguration) when unit and intensity do not go together (HU with an MR prior, no HU with a CT prior).
  static IntensityScale make(IntensityUnit unit, PriorIntensity intensity, const at::Tensor& reference);

  /// All elementwise, real or complex of any shape.
  at::Tensor stored_to_physical(const at::Tensor& x) const;
  at::Tensor physical_to_model(const at::Tensor& x) const;
  at::Tensor model_to_stored(const at::Tensor& x) const;
  /// A standard deviation or width in model units, as stored: no offset.
  at::Tensor model_width_to_stored(const at::Tensor& width) const;
};

/// The 99.5th percentile of |x|, real or complex of any shape and size, by linear interpolation of the order statistics. Throws Error(kBadData) when x is
/// empty or not finite.
double magnitude_percentile(const at::Tensor& x);

}  // namespace postrec
