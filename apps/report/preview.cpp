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

bool is_axial(const ImageGeometry& geometry) { return std::abs(geometry.direction[8]) > 0.7; }

at::Tensor as_shown(const at::Tensor& slice, const ImageGeometry& geometry) {
  // Patient axes are LPS: columns should run to the left (+x) and rows to the back (+y). Column j of the direction is image axis j.
  const double column_to_left = geometry.direction[0], row_to_back = geometry.direction[4];
  at::Tensor picture = slice;
  if (is_axial(geometry) && row_to_back < 0) picture = picture.flip({1});
  if (is_axial(geometry) && column_to_left < 0) picture = picture.flip({2});
  return picture.contiguous();
}

void write_preview(const std::filesystem::path& path, const at::Tensor& slice, const ImageGeometry& geometry, GreyWindow window) {
  write_png(path, as_shown(slice, geometry), window.low, window.high);
}

}  // namespace postrec
