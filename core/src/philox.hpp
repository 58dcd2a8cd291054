#pragma once

#include <array>
#include <cstdint>

#include "philox_numbers.hpp"

namespace postrec::philox {

using Counter = std::array<std::uint32_t, 4>;
using Key = std::array<std::uint32_t, 2>;

/// Philox4x32 with ten rounds: 128 bits from a counter and a key. [Salmon 2011, section 4.3]
Counter philox4x32(Counter counter, Key key);

/// Standard normal numbers of n_groups groups; counter[0] of the first group is `first.front()`.
///
/// Box-Muller with logarithm, sine and cosine written out here in single precision, every operation IEEE-exact and in a fixed order,
/// so that the numbers are the same bits on every processor, vector width and compiler. [Box 1958]
void fill_normal(float* out, std::int64_t n_groups, Counter first, Key key);

/// Uniform numbers in [0, 1), multiples of 2^-24, in the same order.
void fill_uniform(float* out, std::int64_t n_groups, Counter first, Key key);

}  // namespace postrec::philox
