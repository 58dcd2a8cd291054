#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

#include "postrec/image.hpp"

namespace postrec {

/// The grey values of a picture: `low` is black, `high` white.
struct GreyWindow {
  double low = 0.0;
  double high = 1.0;
};

/// HU: soft tissue, -160 to 240. Otherwise 0 to the 99.5th percentile of `image`, its minimum to it where negative.
GreyWindow grey_window(const at::Tensor& image, IntensityUnit unit);

/// Whether the slices lie across the body and the head or feet are not turned by half a right angle, so that they can be shown as a radiologist holds them.
bool is_axial(const ImageGeometry& geometry);

/// A slice [C, H, W] as it is shown: axial slices with the patient's front on top and the right side on the left, others as stored.
at::Tensor as_shown(const at::Tensor& slice, const ImageGeometry& geometry);

/// A picture of one slice [C, H, W], axial slices as a radiologist holds them: the patient's front on top, the right side on the left.
void write_preview(const std::filesystem::path& path, const at::Tensor& slice, const ImageGeometry& geometry, GreyWindow window);

}  // namespace postrec
