#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "postrec/image.hpp"
#include "postrec/observer.hpp"
#include "postrec/prior.hpp"

namespace postrec {

/// One slice to train on, in model units.
struct TrainingSlice {
  at::Tensor image;                            ///< [C, H, W] float32
  double pixel_mm = 0.0;
};

/// A folder stands for the scan files in it, sorted by name; without any it is a DICOM series itself.
std::vector<std::filesystem::path> training_paths(const std::vector<std::string>& operands);

/// The slices of one scan that are not almost empty, each by its own intensity scale, as reconstruct does.
/// `unit`: what the numbers of the file mean, when it does not say. Throws Error as read_scan.
std::vector<TrainingSlice> read_training_slices(const std::filesystem::path& path, PriorIntensity intensity, std::optional<IntensityUnit> unit);

/// Throws Error(kBadData) unless `slice` has as many channels as `first`; `path` is where it came from.
void require_same_channels(const TrainingSlice& slice, const TrainingSlice& first, const std::filesystem::path& path);

}  // namespace postrec
