#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "case/scan_subject.hpp"
#include "postrec/image.hpp"
#include "postrec/prior.hpp"

namespace postrec {

/// How scans become slices in model units.
struct SliceOptions {
  PriorIntensity intensity = PriorIntensity::kPercentile;
  std::optional<IntensityUnit> unit;           ///< what the numbers of a file mean, when it does not say
  std::int64_t reduce = 1;                     ///< means over blocks of so many pixels along each axis
};

/// One slice to train on, in model units.
struct TrainingSlice {
  at::Tensor image;                            ///< [C, H, W] float32
  double pixel_mm = 0.0;
  std::string scan;                            ///< where it came from, as the user named it
  std::string subject;                         ///< whose it is; never shown
};

/// A folder stands for the scan files in it, sorted by name; without any it is a DICOM series itself.
std::vector<std::filesystem::path> training_paths(const std::vector<std::string>& operands);

/// The slices of one scan that are not almost empty, each by its own intensity scale, as reconstruct does. Throws Error as read_scan, and
/// Error(kBadData) when a slice is smaller than a block of `reduce`.
std::vector<TrainingSlice> read_training_slices(const std::filesystem::path& path, const SliceOptions& options, const ScanSubjects& subjects = {});

/// The size of a pixel after means over blocks of `reduce`, from that before. A picture of bytes has no physical size: its pixel counts as one, reduced or not, as that of
/// the picture to reconstruct will.
double reduced_pixel_mm(double pixel_mm, std::int64_t reduce, PriorIntensity intensity);

/// How many scans the slices are of.
std::size_t count_scans(const std::vector<TrainingSlice>& slices);

/// Throws Error(kBadData) that names a scan of which more than a twentieth of all magnitude is negative: z-scores, say, which what is done to magnitudes (another contrast, a
/// phase) would cut off at 0. What spline interpolation leaves is far less.
void require_magnitudes(const std::vector<TrainingSlice>& slices);

/// Throws Error(kBadData) unless `slice` has as many channels as `first`; `path` is where it came from.
void require_same_channels(const TrainingSlice& slice, const TrainingSlice& first, const std::filesystem::path& path);

}  // namespace postrec
