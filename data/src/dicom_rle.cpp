#include "dicom_rle.hpp"

namespace postrec {

namespace {

constexpr std::size_t kHeaderBytes = 64, kMostStripes = 15;

std::size_t number_at(std::span<const std::uint8_t> bytes, std::size_t at) {
  return bytes[at] | std::size_t{bytes[at + 1]} << 8 | std::size_t{bytes[at + 2]} << 16 | std::size_t{bytes[at + 3]} << 24;
}

/// How many bytes a stripe unpacks to; what follows when it is full is padding. 0: a run is cut off.
std::size_t unpacked_bytes(std::span<const std::uint8_t> stripe, std::size_t full) {
  std::size_t n = 0;
  for (std::size_t at = 0; at < stripe.size() && n < full;) {
    const std::size_t code = stripe[at++];
    if (code == 128) continue;
    const std::size_t packed = code < 128 ? code + 1 : 1;
    if (packed > stripe.size() - at) return 0;
    at += packed;
    n += code < 128 ? packed : 257 - code;
  }
  return n;
}

}  // namespace

bool is_whole_rle(std::span<const std::uint8_t> frame, std::size_t n_stripes, std::size_t stripe_bytes) {
  if (frame.size() < kHeaderBytes || n_stripes < 1 || n_stripes > kMostStripes || number_at(frame, 0) != n_stripes) return false;
  for (std::size_t i = 0; i < n_stripes; ++i) {
    const std::size_t begin = number_at(frame, 4 + 4 * i), end = i + 1 < n_stripes ? number_at(frame, 8 + 4 * i) : frame.size();
    if (begin < kHeaderBytes || end < begin || end > frame.size() || unpacked_bytes(frame.subspan(begin, end - begin), stripe_bytes) != stripe_bytes)
      return false;
  }
  return true;
}

}  // namespace postrec
