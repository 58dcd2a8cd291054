#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace postrec {

/// Whether a frame in DICOM's RLE (PS3.5 annex G) has that many stripes, behind each other and each of exactly that many bytes when unpacked.
bool is_whole_rle(std::span<const std::uint8_t> frame, std::size_t n_stripes, std::size_t stripe_bytes);

}  // namespace postrec
