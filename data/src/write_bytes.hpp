#pragma once

#include <cstddef>
#include <filesystem>

namespace postrec {

/// Writes a whole file. Throws Error: kCannotCreate, kInputOutput (disk full).
void write_bytes(const std::filesystem::path& path, const void* data, std::size_t n_bytes);

}  // namespace postrec
