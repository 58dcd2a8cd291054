#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace postrec {

/// The one place where ITK's order of axes and ours meet. ITK counts (x, y, z, ...) with x fastest in memory and the components of a
/// pixel side by side; our tensors count [.., z, C, y, x], x fastest and components as planes. So sizes are reversed and components moved.
///
/// `values`: flat, as ITK has them; `size`: ITK's (x, y, z, ...), at least two. Returns contiguous [.., z, C, y, x]; a 2-D image gets z
/// = 1.
at::Tensor tensor_from_itk(const at::Tensor& values, std::vector<std::int64_t> size, std::int64_t components);

/// The other way: [.., z, C, y, x] to values in ITK's order, contiguous [.., z, y, x, C].
at::Tensor itk_from_tensor(const at::Tensor& pixels);

/// Size of [.., z, C, y, x] in ITK's order: (x, y, z, ...).
std::vector<std::int64_t> itk_size(const at::Tensor& pixels);

}  // namespace postrec
