#include "training/training_scans.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "case/scan_subject.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/dicom_folder.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr double kAlmostEmpty = 0.1;  // of the mean magnitude of the scan's fullest slice

bool is_scan_file(const fs::path& path) {
  std::string name = path.filename().string();
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* ending : {".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".jpg", ".jpeg"})
    if (name.size() > std::strlen(ending) && name.ends_with(ending)) return true;
  return false;
}

PriorIntensity scan_intensity(PriorIntensity intensity, IntensityUnit unit) {
  return unit == IntensityUnit::kArbitrary && intensity == PriorIntensity::kPercentile ? PriorIntensity::kUnit : intensity;
}

at::Tensor block_means(const at::Tensor& pixels, std::int64_t side, const fs::path& path) {
  if (side == 1) return pixels;
  if (pixels.size(2) < side || pixels.size(3) < side)
    throw Error(ErrorKind::kBadData, "'" + path.string() + "' has slices of " + std::to_string(pixels.size(2)) + "x" + std::to_string(pixels.size(3)) + " pixels",
                "--reduce must not be larger");
  return at::avg_pool2d(pixels, {side, side});  // a rest at the end of a row or column is left out
}

/// The scale of `what`, which an error names.
IntensityScale scale_of(IntensityUnit unit, PriorIntensity intensity, const at::Tensor& pixels, const std::string& what) {
  try {
    return IntensityScale::make(unit, intensity, pixels);
  } catch (const Error& error) {
    throw Error(error.kind(), what + ": " + error.message(), "leave it out, or say how its numbers are meant (--unit, and in training --intensity)");
  }
}

}  // namespace

std::vector<fs::path> training_paths(const std::vector<std::string>& operands) {
  std::vector<fs::path> paths;
  for (const auto& operand : operands) {
    std::vector<fs::path> inside;
    std::error_code failure;
    bool has_dicom = false;
    for (const auto& entry : fs::directory_iterator(operand, failure)) {
      if (entry.path().filename().string().front() == '.') continue;  // what a desktop leaves
      if (is_scan_file(entry.path())) inside.push_back(entry.path());
      else has_dicom = has_dicom || (entry.is_regular_file() && has_dicom_mark(entry.path()));
    }
    if (has_dicom && !inside.empty())
      throw Error(ErrorKind::kBadData, quoted_path(operand) + " holds DICOM and other files, such as " + quoted_path(inside.front().filename()), "give a series and other scans as folders of their own");
    std::sort(inside.begin(), inside.end());
    if (inside.empty()) inside.emplace_back(operand);
    paths.insert(paths.end(), inside.begin(), inside.end());
  }
  return paths;
}

std::vector<TrainingSlice> read_training_slices(const fs::path& path, const SliceOptions& options) {
  Scan scan = read_scan(path);
  Image& image = scan.image;
  if (options.unit) image.unit = *options.unit;
  const at::Tensor pixels = block_means(image.pixels, options.reduce, path);
  // A picture of bytes has no physical size: its pixel counts as one, reduced or not, as that of the picture to reconstruct will.
  const double pixel_mm = image.geometry.spacing_mm[0] * static_cast<double>(options.intensity == PriorIntensity::kByte ? 1 : options.reduce);
  const at::Tensor physical = scale_of(image.unit, scan_intensity(options.intensity, image.unit), pixels, quoted_path(path)).stored_to_physical(pixels);
  const at::Tensor fullness = physical.abs().mean(at::IntArrayRef({1, 2, 3}));
  const double enough = kAlmostEmpty * fullness.max().item<double>();
  const std::string subject = subject_of(scan, path);
  std::vector<TrainingSlice> slices;
  for (std::int64_t i = 0; i < physical.size(0); ++i) {
    if (!(fullness[i].item<double>() > enough)) continue;
    const at::Tensor model = scale_of(image.unit, options.intensity, physical[i], "slice " + std::to_string(i) + " of " + quoted_path(path)).physical_to_model(physical[i]);
    slices.push_back({model.contiguous(), pixel_mm, path.string(), subject});
  }
  return slices;
}

void require_same_channels(const TrainingSlice& slice, const TrainingSlice& first, const fs::path& path) {
  if (slice.image.size(0) != first.image.size(0))
    throw Error(ErrorKind::kBadData,
                "'" + path.string() + "' has " + std::to_string(slice.image.size(0)) + " channels, the scans before it " + std::to_string(first.image.size(0)),
                "train on scans of one kind");
}

}  // namespace postrec
