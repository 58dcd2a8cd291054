#pragma once

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace postrec {

enum class Packing { kNone, kDeflate };

/// Reads a part of a file as it is, or unpacks the gzip or zlib data in it, checking everything that the format lets one check (ITK's
/// readers do not). Throws Error(kBadData) that names the file when packed data end early, are damaged, or have a wrong check sum.
class ByteReader {
 public:
  /// `offset`: where the data begin; `n_bytes`: how many there are at most in the file.
  ByteReader(const std::filesystem::path& path, Packing packing, std::uint64_t offset = 0, std::uint64_t n_bytes = UINT64_MAX);
  ~ByteReader();
  ByteReader(const ByteReader&) = delete;
  ByteReader& operator=(const ByteReader&) = delete;

  /// The next n unpacked bytes; fewer only at the end.
  std::string read(std::size_t n);

  /// Reads on to the end and returns how many bytes there were in all. Stops once there are more than `limit`.
  std::uint64_t size_up_to(std::uint64_t limit);

 private:
  void refill();
  std::string read_plain(std::size_t n);
  std::string inflate_next(std::size_t n);

  std::filesystem::path path_;
  Packing packing_;
  std::ifstream file_;
  std::uint64_t n_left_;
  std::vector<unsigned char> input_;
  z_stream stream_{};
  std::uint64_t n_out_ = 0;
  bool ended_ = false;
};

}  // namespace postrec
