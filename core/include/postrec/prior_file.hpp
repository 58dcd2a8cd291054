#pragma once

#include <filesystem>
#include <memory>

#include "postrec/gaussian_prior.hpp"
#include "postrec/prior.hpp"

namespace postrec {

/// Loads a prior from a safetensors file by memory map. `pixel_mm` > 0: the pixel size of the images to reconstruct, for priors that can
/// adapt to it. Throws Error: kNoInput, kBadData (not safetensors, truncated, overlapping, wrong type, not finite, missing metadata).
std::unique_ptr<Prior> load_prior(const std::filesystem::path& path, double pixel_mm = 0.0);

/// Writes a GaussianPrior (temporary name, then rename). Throws Error: kCannotCreate, kInputOutput.
void save_prior(const std::filesystem::path& path, const GaussianPrior& prior);

}  // namespace postrec
