#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace postrec {

/// The noise of a k-space per real component, from y [slice, coil, ky, kx] itself.
///
/// Far from the centre there is hardly any signal: the magnitudes of the outermost 5 % of the acquired samples (by distance from DC, at least
/// 64 positions) are Rayleigh distributed, whose median is sigma sqrt(2 ln 2). The median forgives the signal that is left. It reads too
/// low when the scanner filtered the rim away. Nothing when y is not complex or has fewer acquired positions than that.
std::optional<double> estimate_kspace_noise(const at::Tensor& y);

}  // namespace postrec
