#include "philox.hpp"

#include <bit>
#include <cmath>

// The loops below are compiled once for each vector width and chosen at run time. Sanitizers cannot run before the choice is made.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define POSTREC_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define POSTREC_VECTOR_CLONES
#endif
#define POSTREC_INLINE inline __attribute__((always_inline))

namespace postrec::philox {
namespace {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

struct Words {
  std::uint32_t lane[4][kGroup];
};

POSTREC_INLINE void one_round(std::uint32_t& c0, std::uint32_t& c1, std::uint32_t& c2, std::uint32_t& c3, std::uint32_t k0, std::uint32_t k1) {
  const std::uint64_t product0 = std::uint64_t{kMultiplier0} * c0;
  const std::uint64_t product1 = std::uint64_t{kMultiplier1} * c2;
  c0 = static_cast<std::uint32_t>(product1 >> 32) ^ c1 ^ k0;
  c1 = static_cast<std::uint32_t>(product1);
  c2 = static_cast<std::uint32_t>(product0 >> 32) ^ c3 ^ k1;
  c3 = static_cast<std::uint32_t>(product0);
}

POSTREC_INLINE Words random_words(const Counter& first, const Key& key) {
  Words words;
  for (int i = 0; i < kGroup; ++i) {
    std::uint32_t c0 = first[0] + static_cast<std::uint32_t>(i), c1 = first[1], c2 = first[2], c3 = first[3];
    std::uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < kRounds; ++round, k0 += kWeyl0, k1 += kWeyl1) one_round(c0, c1, c2, c3, k0, k1);
    words.lane[0][i] = c0;
    words.lane[1][i] = c1;
    words.lane[2][i] = c2;
    words.lane[3][i] = c3;
  }
  return words;
}

// Natural logarithm of 2^-31 (n + 1/2), n < 2^31: log m = 2 artanh((m - 1)/(m + 1)) with the mantissa m in [sqrt(1/2), sqrt(2)).
// The series is cut where its relative error is 2e-9.
POSTREC_INLINE float log_of_word(std::uint32_t word) {
  const float u = static_cast<float>(static_cast<std::int32_t>(word >> 1)) + 0.5f;
  const std::int32_t bits = std::bit_cast<std::int32_t>(u);
  const std::int32_t offset = bits - 0x3F3504F3;                    // of sqrt(1/2)
  const std::int32_t exponent = offset >> 23;
  const float m = std::bit_cast<float>((offset & 0x007FFFFF) + 0x3F3504F3);
  const float t = (m - 1.0f) / (m + 1.0f);
  const float t2 = t * t;
  const float series = 2.0f + t2 * (2.0f / 3 + t2 * (2.0f / 5 + t2 * (2.0f / 7 + t2 * (2.0f / 9))));
  return static_cast<float>(exponent - 31) * 0.693147180559945f + t * series;
}

// Cosine and sine of 2 pi 2^-32 word: the nearest quarter turn exactly, in integers, then Taylor series on [-pi/4, pi/4].
// Errors of the cut series: 3e-8 (cosine), 2e-9 (sine).
POSTREC_INLINE void cos_sin_of_word(std::uint32_t word, float& cosine, float& sine) {
  const std::uint32_t quarter = (word + 0x20000000u) >> 30;
  const std::int32_t rest = static_cast<std::int32_t>(word - (quarter << 30));
  const float x = static_cast<float>(rest) * 1.46291807926715968e-9f;  // 2 pi 2^-32
  const float x2 = x * x;
  const float c = 1.0f + x2 * (-1.0f / 2 + x2 * (1.0f / 24 + x2 * (-1.0f / 720 + x2 * (1.0f / 40320))));
  const float s = x + x * (x2 * (-1.0f / 6 + x2 * (1.0f / 120 + x2 * (-1.0f / 5040 + x2 * (1.0f / 362880)))));
  // Quarter turns swap the two and change signs; as bit operations, because they vectorise.
  const std::uint32_t swap = 0u - (quarter & 1u);
  const std::uint32_t c_bits = std::bit_cast<std::uint32_t>(c), s_bits = std::bit_cast<std::uint32_t>(s);
  const std::uint32_t cosine_bits = ((c_bits & ~swap) | (s_bits & swap)) ^ (((quarter + 1u) & 2u) << 30);
  const std::uint32_t sine_bits = ((s_bits & ~swap) | (c_bits & swap)) ^ ((quarter & 2u) << 30);
  cosine = std::bit_cast<float>(cosine_bits);
  sine = std::bit_cast<float>(sine_bits);
}

POSTREC_INLINE void box_muller(const std::uint32_t* radius_words, const std::uint32_t* angle_words, float* first, float* second) {
  for (int i = 0; i < kGroup; ++i) {
    const float radius = std::sqrt(-2.0f * log_of_word(radius_words[i]));
    float cosine, sine;
    cos_sin_of_word(angle_words[i], cosine, sine);
    first[i] = radius * cosine;
    second[i] = radius * sine;
  }
}

}  // namespace

Counter philox4x32(Counter counter, Key key) {
  for (int round = 0; round < kRounds; ++round, key[0] += kWeyl0, key[1] += kWeyl1)
    one_round(counter[0], counter[1], counter[2], counter[3], key[0], key[1]);
  return counter;
}

POSTREC_VECTOR_CLONES
void fill_normal(float* out, std::int64_t n_groups, Counter first, Key key) {
  for (std::int64_t group = 0; group < n_groups; ++group, first[0] += kGroup, out += kGroupNumbers) {
    const Words words = random_words(first, key);
    box_muller(words.lane[0], words.lane[1], out, out + kGroup);
    box_muller(words.lane[2], words.lane[3], out + 2 * kGroup, out + 3 * kGroup);
  }
}

POSTREC_VECTOR_CLONES
void fill_uniform(float* out, std::int64_t n_groups, Counter first, Key key) {
  for (std::int64_t group = 0; group < n_groups; ++group, first[0] += kGroup, out += kGroupNumbers) {
    const Words words = random_words(first, key);
    for (int lane = 0; lane < 4; ++lane)
      for (int i = 0; i < kGroup; ++i) out[lane * kGroup + i] = static_cast<float>(static_cast<std::int32_t>(words.lane[lane][i] >> 8)) * 0x1p-24f;
  }
}

}  // namespace postrec::philox
