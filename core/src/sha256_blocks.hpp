#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace postrec {

using Sha256State = std::array<std::uint32_t, 8>;

/// Takes in blocks of 64 bytes, by the processor's SHA instructions where it has them (ten times as fast).
void sha256_blocks(Sha256State& state, const std::uint8_t* data, std::size_t n_blocks);

/// The same on any processor.
void sha256_blocks_portable(Sha256State& state, const std::uint8_t* data, std::size_t n_blocks);

}  // namespace postrec
