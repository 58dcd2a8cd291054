#pragma once

#include <cstdint>

namespace postrec {

/// What a random stream of the program is for. Streams of different purposes never meet.
enum class SeedPurpose : std::uint64_t { kSampling = 0, kNoise = 1, kPhase = 2 };

/// The seed of one slice: h = mix(seed), h = mix(h ^ slice), h = mix(h ^ purpose), with mix the step of SplitMix64 [Steele 2014].
/// It depends on nothing else, so that a slice gets the same samples alone and among others.
inline std::uint64_t derive_seed(std::uint64_t seed, std::int64_t slice, SeedPurpose purpose) {
  const auto mix = [](std::uint64_t z) {
    z += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  };
  return mix(mix(mix(seed) ^ static_cast<std::uint64_t>(slice)) ^ static_cast<std::uint64_t>(purpose));
}

}  // namespace postrec
