#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

namespace postrec {

struct NoiseEstimate {
  double sigma_y = 0.0;                        ///< per real component
  std::string from;                            ///< "the outermost 5 % of ...": what it was estimated from
};

/// The noise of a measurement from y [slice, ...] itself: k-space by estimate_kspace_noise, real data by estimate_smooth_noise.
std::optional<NoiseEstimate> estimate_noise(const at::Tensor& y);

/// The noise of a k-space per real component, from y [slice, coil, ky, kx] itself.
///
/// Far from the centre there is hardly any signal: the magnitudes of the outermost 5 % of the acquired samples (by distance from DC, at
/// least 64 positions) are Rayleigh distributed, whose median is sigma sqrt(2 ln 2). The median forgives the signal that is left. It
/// reads too low when the scanner filtered the rim away. Nothing when y is not complex or has fewer acquired positions than that.
std::optional<double> estimate_kspace_noise(const at::Tensor& y);

/// The noise of sinograms or pictures y [slice, (channel,) rows, columns], which are smooth beside it.
///
/// Second differences along rows and columns at once have nothing of a plane and 6 sigma of white noise [Immerkaer 1996]; their median
/// magnitude forgives the edges. Differences that touch an exact 0, which was not measured, are left out. It reads too high for data as
/// rough as their noise: by at most 20 %, 8 % and 1 % for heads, chests and abdomens of 256x256 at 60, 180 and 720 views and sigma .02,
/// by 4 % at sigma .08 and more. It reads too low where neighbours share their noise. Nothing when y is not real or leaves fewer than
/// 1000 differences.
std::optional<double> estimate_smooth_noise(const at::Tensor& y);

}  // namespace postrec
