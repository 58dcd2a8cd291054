#pragma once

#include <filesystem>
#include <vector>

#include "postrec/image.hpp"

namespace postrec {

/// Writes a real image [slice, C, H, W] as .nii.gz or .nii, float32, with its geometry. C = 3 becomes an RGB vector image.
/// Written to a temporary name in the same folder, synced and renamed. All throw Error: kCannotCreate (also another ending), kInputOutput, kInternal (another shape or type).
void write_nifti(const std::filesystem::path& path, const Image& image);

/// Writes samples [sample, slice, C, H, W] (real, C = 1) as one 4-D NIfTI (x, y, z, sample).
void write_nifti_samples(const std::filesystem::path& path, const at::Tensor& samples, const ImageGeometry& geometry);

/// A picture of one real slice [C, H, W], C = 1 or 3: `low` is black, `high` white, 8 bit. Row 0 is the top. Also Error: kUsage (low not below high), kNumerical (not finite).
void write_png(const std::filesystem::path& path, const at::Tensor& slice, double low, double high);

}  // namespace postrec
