#include "postrec/sha256.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <vector>

#include "postrec/error.hpp"
#include "sha256_blocks.hpp"

namespace postrec {
namespace {

class Sha256 {
 public:
  void update(const std::uint8_t* data, std::size_t n) {
    n_bytes_ += n;
    while (n > 0) {
      if (filled_ == 0 && n >= block_.size()) {  // straight from the caller's memory
        const std::size_t n_blocks = n / block_.size();
        sha256_blocks(state_, data, n_blocks);
        data += n_blocks * block_.size();
        n -= n_blocks * block_.size();
        continue;
      }
      const std::size_t taken = std::min(n, block_.size() - filled_);
      std::memcpy(block_.data() + filled_, data, taken);
      filled_ += taken;
      data += taken;
      n -= taken;
      if (filled_ == block_.size()) {
        sha256_blocks(state_, block_.data(), 1);
        filled_ = 0;
      }
    }
  }

  std::string finish() {
    const std::uint64_t n_bits = n_bytes_ * 8;
    const std::uint8_t one = 0x80, zero = 0;
    update(&one, 1);
    while (filled_ != 56) update(&zero, 1);
    std::array<std::uint8_t, 8> length;
    for (int i = 0; i < 8; ++i) length[i] = static_cast<std::uint8_t>(n_bits >> (56 - 8 * i));
    update(length.data(), length.size());
    std::string text;
    for (const std::uint32_t word : state_)
      for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[(word >> shift) & 15];
    return text;
  }

 private:
  Sha256State state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> block_{};
  std::size_t filled_ = 0;
  std::uint64_t n_bytes_ = 0;
};

}  // namespace

std::string sha256_hex(const void* data, std::size_t n_bytes) {
  Sha256 hash;
  hash.update(static_cast<const std::uint8_t*>(data), n_bytes);
  return hash.finish();
}

std::string sha256_file(const std::filesystem::path& path, std::uint64_t offset) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorKind::kNoInput, "cannot open '" + path.string() + "'", "give a readable file");
  file.seekg(static_cast<std::streamoff>(offset));
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount() > 0)
    hash.update(reinterpret_cast<const std::uint8_t*>(buffer.data()), static_cast<std::size_t>(file.gcount()));
  if (file.bad()) throw Error(ErrorKind::kInputOutput, "reading '" + path.string() + "' failed", "check the disk");
  return hash.finish();
}

}  // namespace postrec
