#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

namespace postrec {

/// BART's .cfl/.hdr pair: complex64, column-major, up to 16 dimensions (0 readout, 1 phase 1, 2 phase 2, 3 coil, 4 map set, ... 13 slice).
/// `path` with or without an extension. A 2-D acquisition (dimension 0 or 2 of size 1 is dropped) comes back as
/// [slice, coil, ky, kx]; see the .cpp for which BART dimension becomes which axis. The values are those of the file itself,
/// mapped into memory: they take none that the kernel cannot take back, and the file must stay as it is as long as the tensor lives.
/// Throws Error: kNoInput, kBadData.
at::Tensor read_cfl(const std::filesystem::path& path);

/// Writes [slice, coil, ky, kx] complex64 so that read_cfl gives it back. Throws Error: kCannotCreate, kInputOutput.
void write_cfl(const std::filesystem::path& path, const at::Tensor& data);

}  // namespace postrec
