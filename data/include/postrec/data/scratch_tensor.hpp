#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

namespace postrec {

/// A tensor of zeros on the CPU that need not fit into memory: it lies in a file of `folder` that never has a name, so that nothing is left of it
/// however the process ends, and the kernel moves its pages in and out. All of its disk space is taken at once, so that writing to it cannot fail.
/// An empty folder gives an ordinary tensor. Throws Error: kCannotCreate (no such folder, no permission), kInputOutput (disk full).
at::Tensor scratch_tensor(const std::filesystem::path& folder, at::IntArrayRef sizes, at::ScalarType dtype);

}  // namespace postrec
