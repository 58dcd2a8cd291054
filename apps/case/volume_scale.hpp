#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "postrec/data/intensity_scale.hpp"
#include "postrec/measurement.hpp"
#include "postrec/operator.hpp"
#include "postrec/prior.hpp"

namespace postrec {

/// Slices that stand for a volume: the middles of `at_most` equal parts of n_slices, or all when there are no more. The same whichever slices are reconstructed.
std::vector<std::int64_t> slices_across(std::int64_t n_slices, std::int64_t at_most);

/// Filtered back-projection, zero-filled image, ...: [codomain] -> [domain], in the physical unit. An operator without one offers its adjoint.
at::Tensor direct_reconstruction(const Operator& op, const at::Tensor& y);

/// The zero-filled images of several coils whose sensitivities are not known, y [coil, ky, kx] -> [H, W]: the root of the sum of their squares, up to a shift.
at::Tensor coil_magnitude(const at::Tensor& y);

/// What a volume is as bright as: the 99.5th percentile of the magnitudes of direct reconstructions, [C, H, W], of slices across it; 0 when they are empty, and for one
/// slice alone.
double volume_intensity(std::int64_t n_slices, const std::function<at::Tensor(std::int64_t slice)>& direct);

/// The scale of a slice, from measurements alone: from its own direct reconstruction, as in training, where each slice had its own percentile; but not less than
/// .9 of what the volume gives (0: there is none to compare with), so that a slice at the edge, dark tissue or air and noise, is not blown up to the brightness of a
/// full one. apps/README.md has what was measured. Alone, a slice without any signal is measured in units of its noise.
IntensityScale scale_of(const Measurement& measurement, const Prior& prior, const at::Tensor& direct, double of_volume = 0.0);

}  // namespace postrec
