#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#ifndef __CUDACC__
#include <bit>
#endif

// What makes one number, for the host's vector loops in philox.cpp and for one CUDA thread each: every operation IEEE-exact and in a fixed order,
// none of them fused, so that the numbers are the same bits on both.
#ifdef __CUDACC__
#define POSTREC_PHILOX_INLINE __host__ __device__ __forceinline__
#else
#define POSTREC_PHILOX_INLINE inline __attribute__((always_inline))
#endif

namespace postrec::philox {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

/// One counter makes four numbers. A group is kGroup consecutive values of counter[0]; its 4 kGroup numbers are stored by lane,
/// [4][kGroup], so that every loop over a group is a vector loop without shuffles.
constexpr int kGroup = 16;
constexpr int kGroupNumbers = 4 * kGroup;

POSTREC_PHILOX_INLINE void one_round(std::uint32_t& c0, std::uint32_t& c1, std::uint32_t& c2, std::uint32_t& c3, std::uint32_t k0, std::uint32_t k1) {
  const std::uint64_t product0 = std::uint64_t{kMultiplier0} * c0;
  const std::uint64_t product1 = std::uint64_t{kMultiplier1} * c2;
  c0 = static_cast<std::uint32_t>(product1 >> 32) ^ c1 ^ k0;
  c1 = static_cast<std::uint32_t>(product1);
  c2 = static_cast<std::uint32_t>(product0 >> 32) ^ c3 ^ k1;
  c3 = static_cast<std::uint32_t>(product0);
}

POSTREC_PHILOX_INLINE void ten_rounds(std::uint32_t& c0, std::uint32_t& c1, std::uint32_t& c2, std::uint32_t& c3, std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < kRounds; ++round, k0 += kWeyl0, k1 += kWeyl1) one_round(c0, c1, c2, c3, k0, k1);
}

/// std::bit_cast, which nvcc does not compile for a device.
template <class To, class From>
POSTREC_PHILOX_INLINE To bits_as(From value) {
#ifdef __CUDACC__
  To bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
#else
  return std::bit_cast<To>(value);
#endif
}

// Natural logarithm of 2^-31 (n + 1/2), n < 2^31: log m = 2 artanh((m - 1)/(m + 1)) with the mantissa m in [sqrt(1/2), sqrt(2)).
// The series is cut where its relative error is 2e-9.
POSTREC_PHILOX_INLINE float log_of_word(std::uint32_t word) {
  const float u = static_cast<float>(static_cast<std::int32_t>(word >> 1)) + 0.5f;
  const std::int32_t bits = bits_as<std::int32_t>(u);
  const std::int32_t offset = bits - 0x3F3504F3;                    // of sqrt(1/2)
  const std::int32_t exponent = offset >> 23;
  const float m = bits_as<float>((offset & 0x007FFFFF) + 0x3F3504F3);
  const float t = (m - 1.0f) / (m + 1.0f);
  const float t2 = t * t;
  const float series = 2.0f + t2 * (2.0f / 3 + t2 * (2.0f / 5 + t2 * (2.0f / 7 + t2 * (2.0f / 9))));
  return static_cast<float>(exponent - 31) * 0.693147180559945f + t * series;
}

// Cosine and sine of 2 pi 2^-32 word: the nearest quarter turn exactly, in integers, then Taylor series on [-pi/4, pi/4].
// Errors of the cut series: 3e-8 (cosine), 2e-9 (sine).
POSTREC_PHILOX_INLINE void cos_sin_of_word(std::uint32_t word, float& cosine, float& sine) {
  const std::uint32_t quarter = (word + 0x20000000u) >> 30;
  const std::int32_t rest = static_cast<std::int32_t>(word - (quarter << 30));
  const float x = static_cast<float>(rest) * 1.46291807926715968e-9f;  // 2 pi 2^-32
  const float x2 = x * x;
  const float c = 1.0f + x2 * (-1.0f / 2 + x2 * (1.0f / 24 + x2 * (-1.0f / 720 + x2 * (1.0f / 40320))));
  const float s = x + x * (x2 * (-1.0f / 6 + x2 * (1.0f / 120 + x2 * (-1.0f / 5040 + x2 * (1.0f / 362880)))));
  // Quarter turns swap the two and change signs; as bit operations, because they vectorise.
  const std::uint32_t swap = 0u - (quarter & 1u);
  const std::uint32_t c_bits = bits_as<std::uint32_t>(c), s_bits = bits_as<std::uint32_t>(s);
  const std::uint32_t cosine_bits = ((c_bits & ~swap) | (s_bits & swap)) ^ (((quarter + 1u) & 2u) << 30);
  const std::uint32_t sine_bits = ((s_bits & ~swap) | (c_bits & swap)) ^ ((quarter & 2u) << 30);
  cosine = bits_as<float>(cosine_bits);
  sine = bits_as<float>(sine_bits);
}

POSTREC_PHILOX_INLINE void box_muller(std::uint32_t radius_word, std::uint32_t angle_word, float& first, float& second) {
  const float radius = std::sqrt(-2.0f * log_of_word(radius_word));
  float cosine, sine;
  cos_sin_of_word(angle_word, cosine, sine);
  first = radius * cosine;
  second = radius * sine;
}

POSTREC_PHILOX_INLINE float uniform_of_word(std::uint32_t word) { return static_cast<float>(static_cast<std::int32_t>(word >> 8)) * 0x1p-24f; }

/// Rows [n_rows, n] of numbers, row r the stream of sample first_sample + r: the counter is (block, draw, sample, domain), the key the seed.
struct Rows {
  float* numbers;
  std::int64_t n_rows, n;
  std::uint32_t key[2];
  std::uint32_t draw, first_sample, domain;

  POSTREC_PHILOX_INLINE std::int64_t blocks_per_row() const { return (n + kGroupNumbers - 1) / kGroupNumbers * kGroup; }
  /// Of the index space of NormalRows and UniformRows: one index a block, whole groups.
  POSTREC_PHILOX_INLINE std::int64_t n_blocks() const { return n_rows * blocks_per_row(); }

  struct Block {
    std::uint32_t words[4];
    std::int64_t row, first;                   ///< its numbers are first, first + kGroup, ... of the row, those below n
  };
  POSTREC_PHILOX_INLINE Block block(std::int64_t index) const {
    const std::int64_t row = index / blocks_per_row(), block = index % blocks_per_row();
    Block made = {{static_cast<std::uint32_t>(block), draw, static_cast<std::uint32_t>(first_sample + row), domain},
                  row, block / kGroup * kGroupNumbers + block % kGroup};
    ten_rounds(made.words[0], made.words[1], made.words[2], made.words[3], key[0], key[1]);
    return made;
  }
  POSTREC_PHILOX_INLINE void store(const Block& block, int lane, float number) const {
    const std::int64_t at = block.first + lane * kGroup;
    if (at < n) numbers[block.row * n + at] = number;
  }
};

/// Block `index` of standard normal numbers, as fill_normal makes them.
struct NormalRows : Rows {
  POSTREC_PHILOX_INLINE void operator()(std::int64_t index) const {
    const Block made = block(index);
    for (int pair = 0; pair < 2; ++pair) {
      float first, second;
      box_muller(made.words[2 * pair], made.words[2 * pair + 1], first, second);
      store(made, 2 * pair, first);
      store(made, 2 * pair + 1, second);
    }
  }
};

/// Block `index` of uniform numbers, as fill_uniform makes them.
struct UniformRows : Rows {
  POSTREC_PHILOX_INLINE void operator()(std::int64_t index) const {
    const Block made = block(index);
    for (int lane = 0; lane < 4; ++lane) store(made, lane, uniform_of_word(made.words[lane]));
  }
};

/// What fills rows in a device's memory, queued on a stream of the current device.
struct DeviceFill {
  void (*normal)(const Rows& rows, void* stream);
  void (*uniform)(const Rows& rows, void* stream);
};

const DeviceFill& cuda_fill();                 ///< only with POSTREC_HAS_CUDA

}  // namespace postrec::philox
