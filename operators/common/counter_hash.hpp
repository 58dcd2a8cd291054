#pragma once

#include <cstdint>

namespace postrec {

/// The SplitMix64 output function [Steele 2014] of a counter: 64 random bits that depend on (seed, index) alone. Masks are made with
/// it, not with random.hpp, because an operator knows nothing of the core but its interface, and a plugin must make the same mask.
inline std::uint64_t counter_hash(std::uint64_t seed, std::uint64_t index) {
  const auto mix = [](std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  };
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;
  return mix(mix(seed + kGolden) + (index + 1) * kGolden);
}

/// The same as a number in (0, 1).
inline double counter_uniform(std::uint64_t seed, std::uint64_t index) {
  return (static_cast<double>(counter_hash(seed, index) >> 11) + 0.5) * 0x1p-53;
}

}  // namespace postrec
