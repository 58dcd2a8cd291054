#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace postrec {

/// SHA-256 in lower-case hexadecimal. [FIPS 180-4]
std::string sha256_hex(const void* data, std::size_t n_bytes);

/// Of a file's content from byte `offset` on, read in blocks. Throws Error(kNoInput) when it cannot be opened, Error(kInputOutput) when reading fails.
std::string sha256_file(const std::filesystem::path& path, std::uint64_t offset = 0);

}  // namespace postrec
