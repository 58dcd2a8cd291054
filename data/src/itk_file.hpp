#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

#include "input_file.hpp"
#include "postrec/image.hpp"

namespace postrec {

/// An image file through ITK: pixels [z, C, y, x] float32 as they are (checked neither for NaN nor for what they mean), and geometry.
/// The payload is checked first. With a folder `scratch` the pixels lie in a file there (scratch_tensor.hpp); of NIfTI and MetaImage no more than 64 MiB at a
/// time are in memory. Throws Error: kBadData (more than three dimensions, complex or alpha, directions that are no rotation), kInputOutput (disk full).
Image read_itk_file(const std::filesystem::path& path, FileFormat format, const std::filesystem::path& scratch = {});

/// Whether the directions are three axes at right angles, of length 1: |D^T D - I| below 1e-3.
bool is_orthonormal(const ImageGeometry& geometry);

/// Writes [z, C, y, x] or [volume, z, C, y, x], C = 1 or 3, and checks what was written. Values are float32, or 8-bit for PNG.
/// Throws Error(kInputOutput).
void write_itk_file(const std::filesystem::path& path, FileFormat format, const at::Tensor& pixels, const ImageGeometry& geometry);

}  // namespace postrec
