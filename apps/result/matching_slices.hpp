#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "postrec/image.hpp"

namespace postrec {

/// The slices of a truth or a mask that belong to slices with these numbers: all of them when there are as many, otherwise those numbers. [slice, C, H, W]
/// Throws Error(kBadData) that names `what` when there is no such slice.
at::Tensor matching_slices(const at::Tensor& volume, const std::vector<std::int64_t>& numbers, const std::string& what);

/// The slice of a volume of n_whole slices with which a part of it, n_part slices of rows x columns, begins by their geometries (to half a pixel);
/// nothing where it lies elsewhere.
std::optional<std::int64_t> first_slice_in(const ImageGeometry& whole, std::int64_t n_whole, const ImageGeometry& part, std::int64_t n_part, std::int64_t rows, std::int64_t columns);

}  // namespace postrec
