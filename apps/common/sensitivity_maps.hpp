#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace postrec {

struct EstimatedMaps {
  at::Tensor maps;   ///< complex64 [slice, coil, H, W]; 0 for slices that were not asked for
  std::string note;  ///< how they were found
};

/// Coil sensitivities of these slices of a k-space [slice, coil, ky, kx], each from its own fully sampled centre, by ESPIRiT (mri_fourier/espirit.hpp).
/// Samples that are exactly 0 in every coil were not acquired. Throws Error(kBadData), naming the slice, when the centre is too small.
EstimatedMaps estimate_sensitivity_maps(const at::Tensor& kspace, const std::vector<std::int64_t>& slices);

}  // namespace postrec
