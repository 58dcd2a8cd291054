#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace postrec {

/// The slices of a truth or a mask that belong to slices with these numbers: all of them when there are as many, otherwise those numbers. [slice, C, H, W]
/// Throws Error(kBadData) that names `what` when there is no such slice.
at::Tensor matching_slices(const at::Tensor& volume, const std::vector<std::int64_t>& numbers, const std::string& what);

}  // namespace postrec
