#include "report/preview.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "postrec/data/write_image.hpp"

namespace postrec {

GreyWindow grey_window(const at::Tensor& image, IntensityUnit unit) {
  if (unit == IntensityUnit::kHounsfield) return {-160.0, 240.0};
  const at::Tensor sorted = std::get<0>(image.flatten().sort());
  const auto index = static_cast<std::int64_t>(std::floor(0.995 * static_cast<double>(sorted.numel() - 1)));
  const double low = std::min(0.0, sorted[0].item<double>());
  const double high = sorted[index].item<double>();
  return {low, high > low ? high : low + 1.0};
}

namespace {

/// Patient axes are LPS: columns should run to the left (+x) and rows to the back (+y). Column j of the direction is image axis j.
bool runs_along(double cosine) { return std::abs(cosine) > 0.7; }

/// Rows run to the side and columns to the back, as where the readout was from front to back.
bool is_turned(const ImageGeometry& geometry) { return runs_along(geometry.direction[1]) && runs_along(geometry.direction[3]); }

}  // namespace

bool is_axial(const ImageGeometry& geometry) {
  const bool straight = runs_along(geometry.direction[0]) && runs_along(geometry.direction[4]);
  return runs_along(geometry.direction[8]) && (straight || is_turned(geometry));
}

at::Tensor as_shown(const at::Tensor& slice, const ImageGeometry& geometry) {
  if (!is_axial(geometry)) return slice.contiguous();
  const bool turned = is_turned(geometry);
  const double column_to_left = geometry.direction[turned ? 1 : 0], row_to_back = geometry.direction[turned ? 3 : 4];
  at::Tensor picture = turned ? slice.transpose(1, 2) : slice;
  if (row_to_back < 0) picture = picture.flip({1});
  if (column_to_left < 0) picture = picture.flip({2});
  return picture.contiguous();
}

void write_preview(const std::filesystem::path& path, const at::Tensor& slice, const ImageGeometry& geometry, GreyWindow window) {
  write_png(path, as_shown(slice, geometry), window.low, window.high);
}

}  // namespace postrec
