#include "training/training_scans.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "cli/console.hpp"
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
    bool has_dicom = false, has_folders = false;
    for (const auto& entry : fs::directory_iterator(operand, failure)) {
      if (entry.path().filename().string().front() == '.') continue;  // what a desktop leaves
      if (is_scan_file(entry.path())) inside.push_back(entry.path());
      else has_dicom = has_dicom || (entry.is_regular_file() && has_dicom_mark(entry.path()));
      has_folders = has_folders || entry.is_directory();
    }
    if (has_folders && !inside.empty()) console().warning("the folders in " + quoted_path(operand) + " are not looked into: name those whose scans are meant");
    if (has_dicom && !inside.empty())
      throw Error(ErrorKind::kBadData, quoted_path(operand) + " holds DICOM and other files, such as " + quoted_path(inside.front().filename()), "give a series and other scans as folders of their own");
    std::sort(inside.begin(), inside.end());
    if (inside.empty()) inside.emplace_back(operand);
    paths.insert(paths.end(), inside.begin(), inside.end());
  }
  return paths;
}

std::vector<TrainingSlice> read_training_slices(const fs::path& path, const SliceOptions& options, const ScanSubjects& subjects) {
  Scan scan = read_scan(path);
  Image& image = scan.image;
  if (options.unit) image.unit = *options.unit;
  const at::Tensor pixels = block_means(image.pixels, options.reduce, path);
  const double pixel_mm = reduced_pixel_mm(image.geometry.spacing_mm[0], options.reduce, options.intensity);
  const at::Tensor physical = scale_of(image.unit, scan_intensity(options.intensity, image.unit), pixels, quoted_path(path)).stored_to_physical(pixels);
  const at::Tensor fullness = physical.abs().mean(at::IntArrayRef({1, 2, 3}));
  const double enough = kAlmostEmpty * fullness.max().item<double>();
  const std::string subject = subjects.of(scan, path);
  std::vector<TrainingSlice> slices;
  for (std::int64_t i = 0; i < physical.size(0); ++i) {
    if (!(fullness[i].item<double>() > enough)) continue;
    const at::Tensor model = scale_of(image.unit, options.intensity, physical[i], "slice " + std::to_string(i) + " of " + quoted_path(path)).physical_to_model(physical[i]);
    slices.push_back({model.contiguous(), pixel_mm, path.string(), subject});
  }
  return slices;
}

double reduced_pixel_mm(double pixel_mm, std::int64_t reduce, PriorIntensity intensity) {
  return intensity == PriorIntensity::kByte ? pixel_mm : pixel_mm * static_cast<double>(reduce);
}

std::size_t count_scans(const std::vector<TrainingSlice>& slices) {
  std::set<std::string> scans;
  for (const TrainingSlice& slice : slices) scans.insert(slice.scan);
  return scans.size();
}

void require_magnitudes(const std::vector<TrainingSlice>& slices) {
  constexpr double kMostNegative = 0.05;
  struct Sums {
    double negative = 0.0, all = 0.0;
  };
  std::map<std::string, Sums> sums;
  for (const TrainingSlice& slice : slices) {
    Sums& of_scan = sums[slice.scan];
    of_scan.negative -= slice.image.clamp_max(0.0).sum(at::kDouble).item<double>();
    of_scan.all += slice.image.abs().sum(at::kDouble).item<double>();
  }
  for (const auto& [scan, of_scan] : sums)
    if (of_scan.negative > kMostNegative * of_scan.all)
      throw Error(ErrorKind::kBadData, quoted_path(scan) + " is of no magnitudes: " + std::to_string(std::llround(100.0 * of_scan.negative / of_scan.all)) + " % of its sum are negative numbers",
                  "give the scan before its mean was taken off, or train with --intensity unit and, for --basis dft, --phase zero");
}

void require_same_channels(const TrainingSlice& slice, const TrainingSlice& first, const fs::path& path) {
  if (slice.image.size(0) != first.image.size(0))
    throw Error(ErrorKind::kBadData,
                "'" + path.string() + "' has " + std::to_string(slice.image.size(0)) + " channels, the scans before it " + std::to_string(first.image.size(0)),
                "train on scans of one kind");
}

}  // namespace postrec
