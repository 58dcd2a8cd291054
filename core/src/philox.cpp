#include "philox.hpp"

// The loops below are compiled once for each vector width and chosen at run time. Sanitizers cannot run before the choice is made.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define POSTREC_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define POSTREC_VECTOR_CLONES
#endif

namespace postrec::philox {
namespace {

struct Words {
  std::uint32_t lane[4][kGroup];
};

POSTREC_PHILOX_INLINE Words random_words(const Counter& first, const Key& key) {
  Words words;
  for (int i = 0; i < kGroup; ++i) {
    std::uint32_t c0 = first[0] + static_cast<std::uint32_t>(i), c1 = first[1], c2 = first[2], c3 = first[3];
    ten_rounds(c0, c1, c2, c3, key[0], key[1]);
    words.lane[0][i] = c0;
    words.lane[1][i] = c1;
    words.lane[2][i] = c2;
    words.lane[3][i] = c3;
  }
  return words;
}

POSTREC_PHILOX_INLINE void box_mullers(const std::uint32_t* radius_words, const std::uint32_t* angle_words, float* first, float* second) {
  for (int i = 0; i < kGroup; ++i) box_muller(radius_words[i], angle_words[i], first[i], second[i]);
}

}  // namespace

Counter philox4x32(Counter counter, Key key) {
  ten_rounds(counter[0], counter[1], counter[2], counter[3], key[0], key[1]);
  return counter;
}

POSTREC_VECTOR_CLONES
void fill_normal(float* out, std::int64_t n_groups, Counter first, Key key) {
  for (std::int64_t group = 0; group < n_groups; ++group, first[0] += kGroup, out += kGroupNumbers) {
    const Words words = random_words(first, key);
    box_mullers(words.lane[0], words.lane[1], out, out + kGroup);
    box_mullers(words.lane[2], words.lane[3], out + 2 * kGroup, out + 3 * kGroup);
  }
}

POSTREC_VECTOR_CLONES
void fill_uniform(float* out, std::int64_t n_groups, Counter first, Key key) {
  for (std::int64_t group = 0; group < n_groups; ++group, first[0] += kGroup, out += kGroupNumbers) {
    const Words words = random_words(first, key);
    for (int lane = 0; lane < 4; ++lane)
      for (int i = 0; i < kGroup; ++i) out[lane * kGroup + i] = uniform_of_word(words.lane[lane][i]);
  }
}

}  // namespace postrec::philox
