#include "common/training_scans.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr double kAlmostEmpty = 0.1;  // of the mean magnitude of the scan's fullest slice

bool is_scan_file(const fs::path& path) {
  const std::string name = path.filename().string();
  const auto ends_with = [&](const std::string& end) { return name.size() > end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0; };
  return ends_with(".nii") || ends_with(".nii.gz") || ends_with(".nrrd") || ends_with(".mha") || ends_with(".mhd") || ends_with(".png");
}

PriorIntensity scan_intensity(PriorIntensity intensity, IntensityUnit unit) {
  return unit == IntensityUnit::kArbitrary && intensity == PriorIntensity::kPercentile ? PriorIntensity::kUnit : intensity;
}

}  // namespace

std::vector<fs::path> training_paths(const std::vector<std::string>& operands) {
  std::vector<fs::path> paths;
  for (const auto& operand : operands) {
    std::vector<fs::path> inside;
    std::error_code failure;
    for (const auto& entry : fs::directory_iterator(operand, failure))
      if (is_scan_file(entry.path())) inside.push_back(entry.path());
    std::sort(inside.begin(), inside.end());
    if (inside.empty()) inside.emplace_back(operand);
    paths.insert(paths.end(), inside.begin(), inside.end());
  }
  return paths;
}

std::vector<TrainingSlice> read_training_slices(const fs::path& path, PriorIntensity intensity, std::optional<IntensityUnit> unit) {
  Image image = read_scan(path).image;
  if (unit) image.unit = *unit;
  const at::Tensor physical =
      IntensityScale::make(image.unit, scan_intensity(intensity, image.unit), image.pixels).stored_to_physical(image.pixels);
  const at::Tensor fullness = physical.abs().mean(at::IntArrayRef({1, 2, 3}));
  const double enough = kAlmostEmpty * fullness.max().item<double>();
  std::vector<TrainingSlice> slices;
  for (std::int64_t i = 0; i < physical.size(0); ++i) {
    if (!(fullness[i].item<double>() > enough)) continue;
    const at::Tensor model = IntensityScale::make(image.unit, intensity, physical[i]).physical_to_model(physical[i]);
    slices.push_back({model.contiguous(), image.geometry.spacing_mm[0]});
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
