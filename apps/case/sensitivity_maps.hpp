#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace postrec {

struct EstimatedMaps {
  at::Tensor maps;   ///< complex64 [slice, coil, H, W] of all slices, or [1, coil, H, W] when one of several was asked for
  std::string note;  ///< how they were found
};

/// Coil sensitivities of these slices of a k-space [slice, coil, ky, kx], each from its own fully sampled centre, by ESPIRiT (mri_fourier/espirit.hpp).
/// Samples that are exactly 0 in every coil were not acquired. Throws Error(kBadData), naming the slice, when the centre is too small.
/// `slices`: all, or one. With a folder `scratch` the maps lie in a file there (scratch_tensor.hpp).
EstimatedMaps estimate_sensitivity_maps(const at::Tensor& kspace, const std::vector<std::int64_t>& slices, const std::filesystem::path& scratch = {});

}  // namespace postrec
