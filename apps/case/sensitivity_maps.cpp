#include "case/sensitivity_maps.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "mri_fourier/espirit.hpp"
#include "postrec/data/scratch_tensor.hpp"
#include "postrec/error.hpp"

namespace postrec {

EstimatedMaps estimate_sensitivity_maps(const at::Tensor& kspace, const std::vector<std::int64_t>& slices, const std::filesystem::path& scratch) {
  // Maps that are cut to 0 in the air would say that the air is not measured, and samples would hold whatever the prior draws there.
  EspiritOptions options;
  options.crop = 0.0;
  EstimatedMaps estimated;
  std::vector<std::int64_t> shape = kspace.sizes().vec();
  shape[0] = static_cast<std::int64_t>(slices.size());
  estimated.maps = scratch_tensor(scratch, shape, at::kComplexFloat);
  std::int64_t index = 0;
  for (const std::int64_t slice : slices) {
    const at::Tensor acquired = kspace[slice].abs().amax(0).gt(0);
    const at::Tensor maps = estimated.maps[index++];
    if (!acquired.any().item<bool>()) {  // beyond the object: whatever its coils see there
      maps.fill_(1.0 / std::sqrt(static_cast<double>(kspace.size(1))));
      continue;
    }
    const CalibrationRegion region = find_calibration_region(acquired);
    try {
      maps.copy_(espirit_maps(kspace[slice], region, options));
    } catch (const Error& error) {
      throw Error(error.kind(), "slice " + std::to_string(slice) + ": " + error.message(), error.hint());
    }
    estimated.note =
        "sensitivity maps estimated by ESPIRiT from a " + std::to_string(region.height) + "x" + std::to_string(region.width) + " calibration region";
  }
  return estimated;
}

}  // namespace postrec
