#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

namespace postrec {

/// Sizes without those of 1: what two layouts of the same numbers have in common.
inline std::vector<std::int64_t> long_axes(at::IntArrayRef sizes) {
  std::vector<std::int64_t> axes;
  std::copy_if(sizes.begin(), sizes.end(), std::back_inserter(axes), [](std::int64_t size) { return size != 1; });
  return axes;
}

}  // namespace postrec
