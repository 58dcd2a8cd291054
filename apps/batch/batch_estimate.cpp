#include "batch/batch_estimate.hpp"

#include <algorithm>
#include <fstream>

namespace postrec {
namespace {

constexpr std::uint64_t kProgram = 350'000'000;  // LibTorch and the plugins
constexpr std::uint64_t kStoredPixel = 2, kPixel = 4;
constexpr std::uint64_t kImages = 12;            // measurement, maps and their copies while they are written

constexpr std::uint64_t kMostDeflated = 1032;    // bytes that one byte of deflate can stand for: what a damaged file says beyond that is not believed

/// ISIZE, the unpacked size modulo 2^32 [RFC 1952].
std::uint64_t unpacked_size(const std::filesystem::path& file, std::uint64_t size) {
  unsigned char last[4] = {};
  std::ifstream stream(file, std::ios::binary);
  stream.seekg(-4, std::ios::end);
  if (!stream.read(reinterpret_cast<char*>(last), 4)) return size;
  return std::min(last[0] | std::uint64_t{last[1]} << 8 | std::uint64_t{last[2]} << 16 | std::uint64_t{last[3]} << 24, kMostDeflated * size);
}

}  // namespace

std::uint64_t estimated_memory(const std::filesystem::path& root, const BatchCase& each, std::int64_t n_samples) {
  const std::filesystem::path file = root / each.path;
  const std::uint64_t bytes = file.extension() == ".gz" ? unpacked_size(file, each.bytes()) : each.bytes();
  return kProgram + bytes / kStoredPixel * kPixel * (2 * static_cast<std::uint64_t>(n_samples) + kImages);
}

}  // namespace postrec
