#include "inference_kernels.hpp"

#include <immintrin.h>

#define POSTREC_INLINE static inline __attribute__((always_inline))

namespace postrec::inference {
namespace {

constexpr std::int64_t kRows = 6;  // tiles a product of registers holds: 6 x 16 sums fill 12 of the 16 registers
static_assert(kTiles % kRows == 0);

alignas(32) const float kZeros[kMostChannels] = {};  // the pixels around an image

// 2^n times a Taylor series on [-log(2)/2, log(2)/2], cut where its relative error is 2e-7.
POSTREC_INLINE __m256 exponential(__m256 x) {
  x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.0f)), _mm256_set1_ps(88.0f));
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);  // log(2) in two parts, the first exact times n
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 series = _mm256_set1_ps(1.0f / 720);
  const float coefficients[] = {1.0f / 120, 1.0f / 24, 1.0f / 6, 1.0f / 2, 1.0f, 1.0f};
  for (const float coefficient : coefficients) series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(coefficient));
  const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(series, _mm256_castsi256_ps(exponent));
}

// 1 + exp(-x), one over the logistic function.
POSTREC_INLINE __m256 logistic_divisor(__m256 x) { return _mm256_add_ps(_mm256_set1_ps(1.0f), exponential(_mm256_sub_ps(_mm256_setzero_ps(), x))); }

POSTREC_INLINE __m256 silu_of(__m256 x) { return _mm256_div_ps(x, logistic_divisor(x)); }

// s + x s (1 - s), s the logistic function.
POSTREC_INLINE __m256 silu_slope_of(__m256 x) {
  const __m256 one = _mm256_set1_ps(1.0f), s = _mm256_div_ps(one, logistic_divisor(x));
  return _mm256_mul_ps(s, _mm256_fmadd_ps(x, _mm256_sub_ps(one, s), one));
}

// What separates the 16 matrices: a cache line more than they hold, so that they do not fall on the same lines of the cache.
POSTREC_INLINE std::int64_t matrix_stride(std::int64_t channels) { return kTiles * channels + 16; }

POSTREC_INLINE void transform_input(const __m256* d, std::int64_t step, __m256* e) {
  e[0] = _mm256_sub_ps(d[0], d[2 * step]);
  e[step] = _mm256_add_ps(d[step], d[2 * step]);
  e[2 * step] = _mm256_sub_ps(d[2 * step], d[step]);
  e[3 * step] = _mm256_sub_ps(d[step], d[3 * step]);
}

// The 4x4 pixels under a tile -> its row of each of the 16 matrices.
POSTREC_INLINE void load_tile(const Convolution& c, std::int64_t tile_y, std::int64_t tile_x, float* row) {
  const float* pixels[16];
  for (std::int64_t i = 0; i < 16; ++i) {
    const std::int64_t y = 2 * tile_y - 1 + i / 4, x = 2 * tile_x - 1 + i % 4;
    const bool inside = y >= 0 && y < c.height && x >= 0 && x < c.width;
    pixels[i] = inside ? c.x + (y * c.width + x) * c.in_channels : kZeros;
  }
  const std::int64_t stride = matrix_stride(c.in_channels);
  for (std::int64_t channel = 0; channel < c.in_channels; channel += kVector) {
    __m256 d[16], along_x[16], e[16];
    for (int i = 0; i < 16; ++i) d[i] = _mm256_loadu_ps(pixels[i] + channel);
    for (int i = 0; i < 4; ++i) transform_input(d + 4 * i, 1, along_x + 4 * i);
    for (int i = 0; i < 4; ++i) transform_input(along_x + i, 4, e + i);
    for (int i = 0; i < 16; ++i) _mm256_storeu_ps(row + i * stride + channel, e[i]);
  }
}

// kRows rows of a [.., depth] times a panel [depth, kPanel], each sum in the order of the depth.
POSTREC_INLINE void multiply_panel(const float* a, const float* panel, std::int64_t depth, float* product, std::int64_t product_stride) {
  __m256 sums[kRows][2];
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = _mm256_setzero_ps();
  for (std::int64_t k = 0; k < depth; ++k) {
    const __m256 left = _mm256_loadu_ps(panel + k * kPanel), right = _mm256_loadu_ps(panel + k * kPanel + kVector);
    for (int r = 0; r < kRows; ++r) {
      const __m256 value = _mm256_broadcast_ss(a + r * depth + k);
      sums[r][0] = _mm256_fmadd_ps(value, left, sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(value, right, sums[r][1]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    _mm256_storeu_ps(product + r * product_stride, sums[r][0]);
    _mm256_storeu_ps(product + r * product_stride + kVector, sums[r][1]);
  }
}

POSTREC_INLINE void transform_output(const __m256* m, std::int64_t step, __m256& first, __m256& second) {
  first = _mm256_add_ps(_mm256_add_ps(m[0], m[step]), m[2 * step]);
  second = _mm256_sub_ps(_mm256_sub_ps(m[step], m[2 * step]), m[3 * step]);
}

// A tile's row of each of the 16 products -> its 2x2 pixels.
POSTREC_INLINE void store_tile(const Convolution& c, std::int64_t tile_y, std::int64_t tile_x, const float* row) {
  const std::int64_t stride = matrix_stride(c.out_channels);
  const std::int64_t rows = 2 * tile_y + 1 < c.height ? 2 : 1, columns = 2 * tile_x + 1 < c.width ? 2 : 1;
  for (std::int64_t channel = 0; channel < c.out_channels; channel += kVector) {
    __m256 m[16], along_y[2][4], v[2][2];
    for (int i = 0; i < 16; ++i) m[i] = _mm256_loadu_ps(row + i * stride + channel);
    for (int i = 0; i < 4; ++i) transform_output(m + i, 4, along_y[0][i], along_y[1][i]);
    for (int i = 0; i < 2; ++i) transform_output(along_y[i], 1, v[i][0], v[i][1]);
    const __m256 scale = _mm256_loadu_ps(c.scale + channel), shift = _mm256_loadu_ps(c.shift + channel);
    for (std::int64_t y = 0; y < rows; ++y)
      for (std::int64_t x = 0; x < columns; ++x) {
        const std::int64_t at = ((2 * tile_y + y) * c.width + 2 * tile_x + x) * c.out_channels + channel;
        __m256 value = _mm256_fmadd_ps(v[y][x], scale, shift);
        if (c.slope_at) value = _mm256_mul_ps(value, silu_slope_of(_mm256_loadu_ps(c.slope_at + at)));
        if (c.residual) value = _mm256_add_ps(value, _mm256_loadu_ps(c.residual + at));
        if (c.out) _mm256_storeu_ps(c.out + at, value);
        if (c.activated) _mm256_storeu_ps(c.activated + at, silu_of(value));
      }
  }
}

}  // namespace

std::int64_t tiles(const Convolution& c) { return ((c.height + 1) / 2) * ((c.width + 1) / 2); }

std::int64_t scratch_size(const Convolution& c) { return 16 * (matrix_stride(c.in_channels) + matrix_stride(c.out_channels)); }

void convolve_tiles(const Convolution& c, std::int64_t first, float* scratch) {
  const std::int64_t across = (c.width + 1) / 2, all = tiles(c);
  const std::int64_t count = all - first < kTiles ? all - first : kTiles;
  float* const products = scratch + 16 * matrix_stride(c.in_channels);
  for (std::int64_t i = 0; i < count; ++i) load_tile(c, (first + i) / across, (first + i) % across, scratch + i * c.in_channels);
  for (std::int64_t matrix = 0; matrix < 16; ++matrix)
    for (std::int64_t panel = 0; panel < c.out_channels; panel += kPanel)
      for (std::int64_t i = 0; i < count; i += kRows)  // the last rows may be of no tile: nobody reads their products
        multiply_panel(scratch + matrix * matrix_stride(c.in_channels) + i * c.in_channels,
                       c.kernel + (matrix * c.out_channels + panel) * c.in_channels, c.in_channels,
                       products + matrix * matrix_stride(c.out_channels) + i * c.out_channels + panel, c.out_channels);
  for (std::int64_t i = 0; i < count; ++i) store_tile(c, (first + i) / across, (first + i) % across, products + i * c.out_channels);
}

void silu(const float* x, float* activated, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kVector) _mm256_storeu_ps(activated + i, silu_of(_mm256_loadu_ps(x + i)));
}

void add_doubled_row(const float* low, float* x, float* activated, std::int64_t width, std::int64_t channels) {
  for (std::int64_t column = 0; column < width; ++column)
    for (std::int64_t channel = 0; channel < channels; channel += kVector) {
      const std::int64_t at = column * channels + channel;
      const __m256 sum = _mm256_add_ps(_mm256_loadu_ps(x + at), _mm256_loadu_ps(low + column / 2 * channels + channel));
      _mm256_storeu_ps(x + at, sum);
      _mm256_storeu_ps(activated + at, silu_of(sum));
    }
}

}  // namespace postrec::inference
