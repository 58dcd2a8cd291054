#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

namespace postrec {

/// The value of a tensor parameter: .cfl/.hdr (complex64, as read_cfl), .nii, .nii.gz, .nrrd, .mha, .png (float32 [slice, C, H, W], leading
/// axes of size 1 dropped down to two), .txt or .csv (float32 numbers, one row a line: [n] or [rows, columns]).
/// Throws Error: kNoInput, kBadData.
at::Tensor read_tensor(const std::filesystem::path& path);

}  // namespace postrec
