#include <immintrin.h>

#include "ct_radon/kernels.hpp"

namespace postrec::ct {
namespace {

static_assert(kLanes == 8, "one vector");

int larger(int a, int b) { return a > b ? a : b; }
int smaller(int a, int b) { return a < b ? a : b; }

__m256 lane_numbers() { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }

/// The eight neighbouring pairs base[index[j]], base[index[j] + 1]. Loading them as 64 bits is faster than two gathers on all processors measured.
struct Pairs {
  __m256 left, right;
};

__m128 two_pairs(const float* base, int a, int b) {
  const __m128d low = _mm_load_sd(reinterpret_cast<const double*>(base + a));
  return _mm_castpd_ps(_mm_loadh_pd(low, reinterpret_cast<const double*>(base + b)));
}

Pairs load_pairs(const float* base, const int* index) {
  const __m256 even = _mm256_set_m128(two_pairs(base, index[4], index[5]), two_pairs(base, index[0], index[1]));
  const __m256 odd = _mm256_set_m128(two_pairs(base, index[6], index[7]), two_pairs(base, index[2], index[3]));
  return {_mm256_shuffle_ps(even, odd, 0x88), _mm256_shuffle_ps(even, odd, 0xdd)};
}

/// Where eight neighbouring rays cross a row, kept inside the image's border.
struct Crossing {
  __m256 whole, fraction;
};

class EightRays {
 public:
  EightRays(const RayBundle& bundle, int block)
      : start_(_mm256_loadu_ps(bundle.start + block * kLanes)),
        slope_(_mm256_loadu_ps(bundle.slope + block * kLanes)),
        right_(_mm256_set1_ps(static_cast<float>(bundle.width))) {}

  Crossing at(int row) const {
    const __m256 column = _mm256_fmadd_ps(_mm256_set1_ps(static_cast<float>(row)), slope_, start_);
    const __m256 inside = _mm256_min_ps(right_, _mm256_max_ps(_mm256_set1_ps(-1.0f), column));
    const __m256 whole = _mm256_floor_ps(inside);
    return {whole, _mm256_sub_ps(inside, whole)};
  }

  /// From the first to the last ray, on one row.
  float width_at(int row) const {
    alignas(32) float column[kLanes];
    _mm256_store_ps(column, _mm256_fmadd_ps(_mm256_set1_ps(static_cast<float>(row)), slope_, start_));
    return column[kLanes - 1] - column[0];
  }

 private:
  __m256 start_, slope_, right_;
};

/// Elements base[index[j]] where index rises by less than sixteen over the eight lanes: two loads and two permutations instead of a gather.
class Window {
 public:
  explicit Window(__m256i index)
      : first_(_mm_cvtsi128_si32(_mm256_castsi256_si128(index))),
        offset_(_mm256_sub_epi32(index, _mm256_broadcastd_epi32(_mm256_castsi256_si128(index)))),
        is_far_(_mm256_castsi256_ps(_mm256_slli_epi32(offset_, 28))) {}

  __m256 load(const float* base) const { return _mm256_blendv_ps(load_near(base), load_near(base + kLanes), is_far_); }

  /// Where index rises by less than eight.
  __m256 load_near(const float* base) const { return _mm256_permutevar8x32_ps(_mm256_loadu_ps(base + first_), offset_); }

 private:
  int first_;
  __m256i offset_;
  __m256 is_far_;
};

Pairs load_pixels(const float* row, __m256 whole, bool is_narrow) {
  const __m256i index = _mm256_cvttps_epi32(whole);
  if (is_narrow) {
    const Window window(index);
    return {window.load(row), window.load(row + 1)};
  }
  alignas(32) int stored[kLanes];
  _mm256_store_si256(reinterpret_cast<__m256i*>(stored), index);
  return load_pairs(row, stored);
}

template <bool is_narrow>
__m256 sum_of_tile(const EightRays& rays, const float* image, std::ptrdiff_t row_stride, int first, int last) {
  __m256 sum = _mm256_setzero_ps();
  for (int r = first; r < last; ++r) {
    const Crossing crossing = rays.at(r);
    const Pairs pixels = load_pixels(image + r * row_stride, crossing.whole, is_narrow);
    sum = _mm256_add_ps(sum, _mm256_fmadd_ps(crossing.fraction, _mm256_sub_ps(pixels.right, pixels.left), pixels.left));
  }
  return sum;
}

void forward_single(const RayBundle& bundle, const float* image, std::ptrdiff_t row_stride, int row_begin, int row_end, float* sums) {
  for (int block = 0; block < bundle.n_blocks; ++block) {
    const int first = larger(row_begin, bundle.block_first_row[block]), last = smaller(row_end, bundle.block_last_row[block]);
    if (first >= last) continue;
    const EightRays rays(bundle, block);
    // How far the rays lie apart is linear in the row.
    const bool is_narrow = rays.width_at(first) < 14.0f && rays.width_at(last - 1) < 14.0f;
    const __m256 tile = is_narrow ? sum_of_tile<true>(rays, image, row_stride, first, last) : sum_of_tile<false>(rays, image, row_stride, first, last);
    float* sum = sums + block * kLanes;
    _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), tile));
  }
}

void forward_batch(const RayBundle& bundle, const float* image, std::ptrdiff_t row_stride, int row_begin, int row_end, float* sums) {
  for (int block = 0; block < bundle.n_blocks; ++block) {
    const int first = larger(row_begin, bundle.block_first_row[block]), last = smaller(row_end, bundle.block_last_row[block]);
    if (first >= last) continue;
    const EightRays rays(bundle, block);
    __m256 tile[kLanes];
    for (int j = 0; j < kLanes; ++j) tile[j] = _mm256_setzero_ps();
    for (int r = first; r < last; ++r) {
      const Crossing crossing = rays.at(r);
      alignas(32) int index[kLanes];
      alignas(32) float fraction[kLanes];
      _mm256_store_si256(reinterpret_cast<__m256i*>(index), _mm256_slli_epi32(_mm256_cvttps_epi32(crossing.whole), 3));
      _mm256_store_ps(fraction, crossing.fraction);
      const float* row = image + r * row_stride * kLanes;
#pragma GCC unroll 8
      for (int j = 0; j < kLanes; ++j) {
        const __m256 left = _mm256_loadu_ps(row + index[j]), right = _mm256_loadu_ps(row + index[j] + kLanes);
        tile[j] = _mm256_add_ps(tile[j], _mm256_fmadd_ps(_mm256_broadcast_ss(fraction + j), _mm256_sub_ps(right, left), left));
      }
    }
    float* sum = sums + static_cast<std::ptrdiff_t>(block) * kLanes * kLanes;
#pragma GCC unroll 8
    for (int j = 0; j < kLanes; ++j) _mm256_storeu_ps(sum + j * kLanes, _mm256_add_ps(_mm256_loadu_ps(sum + j * kLanes), tile[j]));
  }
}

/// How far apart the first candidate rays of eight neighbouring columns can be, and so how to load what belongs to them.
enum class Spread { kNear, kNarrow, kWide };

/// The candidate rays of eight neighbouring columns.
template <Spread spread>
class Candidates {
 public:
  explicit Candidates(__m256 first_ray) : index_(_mm256_cvttps_epi32(first_ray)), window_(index_) {}

  __m256 load(const float* base) const {
    if (spread == Spread::kNear) return window_.load_near(base);
    return spread == Spread::kNarrow ? window_.load(base) : _mm256_i32gather_ps(base, index_, 4);
  }
  __m256i index() const { return index_; }

 private:
  __m256i index_;
  Window window_;
};

__m256 column_numbers(int c) { return _mm256_add_ps(_mm256_set1_ps(static_cast<float>(c)), lane_numbers()); }

/// Into the bundle's rays; the last stands for all beyond, whose values are zero. Not a number becomes 0.
__m256 clamp_ray(const RayBundle& bundle, __m256 ray) {
  return _mm256_min_ps(_mm256_max_ps(ray, _mm256_setzero_ps()), _mm256_set1_ps(static_cast<float>(bundle.n_rays)));
}

/// Parallel beam: the first candidate by one multiplication, the positions by the formula that made the tables.
class ParallelRow {
 public:
  ParallelRow(const RayBundle& bundle, int row) : bundle_(bundle), row_(_mm256_set1_ps(static_cast<float>(row))) {
    const float base = __builtin_fmaf(static_cast<float>(row), bundle.affine_slope, bundle.affine_start);
    shift_ = _mm256_set1_ps(1.0f - bundle.tap_margin - (base + 1.0f) * bundle.affine_inverse_step);
  }

  int n_taps() const { return bundle_.n_taps; }
  float gap() const { return bundle_.affine_step; }

  __m256 first_rays(__m256 column) const {
    return clamp_ray(bundle_, _mm256_floor_ps(_mm256_fmadd_ps(column, _mm256_set1_ps(bundle_.affine_inverse_step), shift_)));
  }

  template <Spread spread>
  __m256 position(const Candidates<spread>&, __m256 first_ray, int tap) const {
    const __m256 ray = _mm256_add_ps(first_ray, _mm256_set1_ps(static_cast<float>(tap)));
    const __m256 start = _mm256_fmadd_ps(ray, _mm256_set1_ps(bundle_.affine_step), _mm256_set1_ps(bundle_.affine_start));
    return _mm256_fmadd_ps(row_, _mm256_set1_ps(bundle_.affine_slope), start);
  }

 private:
  const RayBundle& bundle_;
  __m256 row_, shift_;
};

/// To 2e-8 [M. Abramowitz, I. A. Stegun, Handbook of Mathematical Functions, 4.4.49].
__m256 arc_tangent(__m256 x) {
  const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f), magnitude = _mm256_andnot_ps(sign, x);
  const __m256 is_large = _mm256_cmp_ps(magnitude, one, _CMP_GT_OQ);
  const __m256 y = _mm256_blendv_ps(magnitude, _mm256_div_ps(one, magnitude), is_large), square = _mm256_mul_ps(y, y);
  __m256 sum = _mm256_set1_ps(0.0028662257f);
  constexpr float kCoefficients[] = {-0.0161657367f, 0.0429096138f,  -0.0752896400f, 0.1065626393f,
                                     -0.1420889944f, 0.1999355085f, -0.3333314528f, 1.0f};
  for (const float coefficient : kCoefficients) {
    sum = _mm256_fmadd_ps(sum, square, _mm256_set1_ps(coefficient));
  }
  const __m256 angle = _mm256_mul_ps(sum, y);
  return _mm256_or_ps(_mm256_blendv_ps(angle, _mm256_sub_ps(_mm256_set1_ps(1.57079633f), angle), is_large), _mm256_and_ps(sign, x));
}

/// Fan beam: the first candidate from where the pixel's neighbour is seen on the detector, the positions from the tables.
class FanRow {
 public:
  FanRow(const RayBundle& bundle, int row) : bundle_(bundle), row_(_mm256_set1_ps(static_cast<float>(row))) {
    const int n_rows = larger(1, bundle.last_row - 1 - bundle.first_row);
    gap_ = bundle.first_gap + (bundle.last_gap - bundle.first_gap) * static_cast<float>(row - bundle.first_row) / static_cast<float>(n_rows);
    n_taps_ = smaller(bundle.n_taps, static_cast<int>(2.0f / gap_ + 2.0f * bundle.tap_margin) + 1);
    across_ = one_column_before(bundle.across, row);
    depth_ = one_column_before(bundle.depth, row);
  }

  int n_taps() const { return n_taps_; }
  float gap() const { return gap_; }

  __m256 first_rays(__m256 column) const {
    const __m256 across = _mm256_fmadd_ps(column, _mm256_set1_ps(bundle_.across.column), across_);
    const __m256 depth = _mm256_fmadd_ps(column, _mm256_set1_ps(bundle_.depth.column), depth_);
    const __m256 ratio = _mm256_div_ps(across, depth), seen = bundle_.curved ? arc_tangent(ratio) : ratio;
    const __m256 start = _mm256_set1_ps(bundle_.index_start + 1.0f - bundle_.tap_margin);
    return clamp_ray(bundle_, _mm256_floor_ps(_mm256_fmadd_ps(seen, _mm256_set1_ps(bundle_.index_scale), start)));
  }

  template <Spread spread>
  __m256 position(const Candidates<spread>& candidates, __m256 /*first_ray*/, int tap) const {
    return _mm256_fmadd_ps(row_, candidates.load(bundle_.slope + tap), candidates.load(bundle_.start + tap));
  }

 private:
  static __m256 one_column_before(const RayBundle::Plane& plane, int row) {
    return _mm256_set1_ps(plane.start + plane.row * static_cast<float>(row) - plane.column);
  }

  const RayBundle& bundle_;
  __m256 row_, across_, depth_;
  float gap_;
  int n_taps_;
};

/// max(0, 1 - |position - column|).
__m256 hat(__m256 position, __m256 column) {
  const __m256 distance = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(position, column));
  return _mm256_max_ps(_mm256_setzero_ps(), _mm256_sub_ps(_mm256_set1_ps(1.0f), distance));
}

/// fixed_taps 0: as many as the row has.
template <Spread spread, int fixed_taps>
struct SingleImage {
  template <class Row>
  static void add(const Row& row, int column_begin, int column_end, const float* values, float* pixels) {
    const int n_taps = fixed_taps ? fixed_taps : row.n_taps();
    for (int c = column_begin; c < column_end; c += kLanes) {
      const __m256 column = column_numbers(c), ray = row.first_rays(column);
      const Candidates<spread> candidates(ray);
      __m256 sum = _mm256_loadu_ps(pixels + c);
#pragma GCC unroll 4
      for (int t = 0; t < n_taps; ++t) sum = _mm256_fmadd_ps(hat(row.position(candidates, ray, t), column), candidates.load(values + t), sum);
      _mm256_storeu_ps(pixels + c, sum);
    }
  }
};

template <Spread spread, int fixed_taps>
struct BatchOfImages {
  template <class Row>
  static void add(const Row& row, int column_begin, int column_end, const float* values, float* pixels) {
    const int n_taps = fixed_taps ? fixed_taps : row.n_taps();
    for (int c = column_begin; c < column_end; c += kLanes) {
      const __m256 column = column_numbers(c), ray = row.first_rays(column);
      const Candidates<spread> candidates(ray);
      alignas(32) int index[kLanes];
      _mm256_store_si256(reinterpret_cast<__m256i*>(index), _mm256_slli_epi32(candidates.index(), 3));
      constexpr int kTapsAtOnce = fixed_taps ? fixed_taps : 4;
      for (int first_tap = 0; first_tap < n_taps; first_tap += kTapsAtOnce) {
        const int n = fixed_taps ? fixed_taps : smaller(kTapsAtOnce, n_taps - first_tap);
        alignas(32) float weights[kTapsAtOnce * kLanes];
#pragma GCC unroll 4
        for (int t = 0; t < n; ++t) _mm256_store_ps(weights + t * kLanes, hat(row.position(candidates, ray, first_tap + t), column));
#pragma GCC unroll 8
        for (int j = 0; j < kLanes; ++j) {
          float* pixel = pixels + (c + j) * kLanes;
          const float* value = values + index[j] + first_tap * kLanes;
          __m256 sum = _mm256_loadu_ps(pixel);
#pragma GCC unroll 4
          for (int t = 0; t < n; ++t) sum = _mm256_fmadd_ps(_mm256_broadcast_ss(weights + t * kLanes + j), _mm256_loadu_ps(value + t * kLanes), sum);
          _mm256_storeu_ps(pixel, sum);
        }
      }
    }
  }
};

/// The columns of begin..end, in whole vectors, that rays of the bundle can meet on the row.
void narrow_to_columns_met(const RayBundle& bundle, int row, int& begin, int& end) {
  const auto position = [&](int k) { return __builtin_fmaf(static_cast<float>(row), bundle.slope[k], bundle.start[k]); };
  const float lowest = position(0), highest = position(bundle.n_rays - 1) + 2.0f, width = static_cast<float>(bundle.width);
  if (lowest > 0.0f) begin = larger(begin, static_cast<int>(lowest < width ? lowest : width) / kLanes * kLanes);
  if (highest < width) end = smaller(end, round_up_to_lanes(static_cast<int>(highest > 0.0f ? highest : 0.0f)));
}

/// With the fastest code for the row's rays. Seven columns span 7 / gap rays; up to two taps tell that the gap is more than one column.
template <template <Spread, int> class Images, class Row>
void add_row(const Row& row, int begin, int end, const float* values, float* pixels) {
  if (7.0f / row.gap() > 14.0f) return Images<Spread::kWide, 0>::add(row, begin, end, values, pixels);
  switch (row.n_taps()) {
    case 1: return Images<Spread::kNear, 1>::add(row, begin, end, values, pixels);
    case 2: return Images<Spread::kNear, 2>::add(row, begin, end, values, pixels);
    case 3: return Images<Spread::kNarrow, 3>::add(row, begin, end, values, pixels);
    default: return Images<Spread::kNarrow, 0>::add(row, begin, end, values, pixels);
  }
}

template <template <Spread, int> class Images>
void adjoint(const RayBundle& bundle, int row, int column_begin, int column_end, const float* values, float* pixels) {
  narrow_to_columns_met(bundle, row, column_begin, column_end);
  if (bundle.affine) {
    add_row<Images>(ParallelRow(bundle, row), column_begin, column_end, values, pixels);
  } else {
    add_row<Images>(FanRow(bundle, row), column_begin, column_end, values, pixels);
  }
}

}  // namespace

const Kernels& avx2_kernels() {
  static const Kernels kernels = {"avx2", forward_single, forward_batch, adjoint<SingleImage>, adjoint<BatchOfImages>};
  return kernels;
}

}  // namespace postrec::ct
