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
  // Not _mm_load_sd: it reads a double, which must not lie at the address of any float.
  const __m128 low = _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(base + a)));
  return _mm_loadh_pi(low, reinterpret_cast<const __m64*>(base + b));
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

/// Into the bundle's rays; ray n_rays stands for all beyond, whose values are zero. Not a number becomes 0.
__m256 clamp_ray(__m256 ray, __m256 last_ray) { return _mm256_min_ps(_mm256_max_ps(ray, _mm256_setzero_ps()), last_ray); }

/// Parallel beam: the first candidate by one multiplication, the positions by the formula that made the tables.
/// (All in vectors of its own: the compiler must take it that a store of pixels changes the floats of a bundle.)
class ParallelRow {
 public:
  ParallelRow(const RayBundle& bundle, int row)
      : n_taps_(bundle.n_taps),
        gap_(bundle.affine_step),
        row_(_mm256_set1_ps(static_cast<float>(row))),
        slope_(_mm256_set1_ps(bundle.affine_slope)),
        start_(_mm256_set1_ps(bundle.affine_start)),
        step_(_mm256_set1_ps(bundle.affine_step)),
        inverse_step_(_mm256_set1_ps(bundle.affine_inverse_step)),
        last_ray_(_mm256_set1_ps(static_cast<float>(bundle.n_rays))) {
    const float base = __builtin_fmaf(static_cast<float>(row), bundle.affine_slope, bundle.affine_start);
    shift_ = _mm256_set1_ps(1.0f - bundle.tap_margin - (base + 1.0f) * bundle.affine_inverse_step);
  }

  int n_taps() const { return n_taps_; }
  float gap() const { return gap_; }

  __m256 first_rays(__m256 column) const { return clamp_ray(_mm256_floor_ps(_mm256_fmadd_ps(column, inverse_step_, shift_)), last_ray_); }

  template <Spread spread>
  __m256 position(const Candidates<spread>&, __m256 first_ray, int tap) const {
    const __m256 ray = _mm256_add_ps(first_ray, _mm256_set1_ps(static_cast<float>(tap)));
    return _mm256_fmadd_ps(row_, slope_, _mm256_fmadd_ps(ray, step_, start_));
  }

 private:
  int n_taps_;
  float gap_;
  __m256 row_, slope_, start_, step_, inverse_step_, last_ray_, shift_;
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

/// Fan beam: the first candidate from where the pixel's left neighbour is seen on the detector, the positions from the tables.
class FanRow {
 public:
  FanRow(const RayBundle& bundle, int row)
      : slopes_(bundle.slope),
        starts_(bundle.start),
        curved_(bundle.curved),
        row_(_mm256_set1_ps(static_cast<float>(row))),
        across_(one_column_before(bundle.across, row)),
        across_step_(_mm256_set1_ps(bundle.across.column)),
        depth_(one_column_before(bundle.depth, row)),
        depth_step_(_mm256_set1_ps(bundle.depth.column)),
        shift_(_mm256_set1_ps(bundle.index_start + 1.0f - bundle.tap_margin)),
        scale_(_mm256_set1_ps(bundle.index_scale)),
        last_ray_(_mm256_set1_ps(static_cast<float>(bundle.n_rays))) {
    const int n_steps = larger(1, bundle.last_row - 1 - bundle.first_row);
    gap_ = bundle.first_gap + (bundle.last_gap - bundle.first_gap) * static_cast<float>(row - bundle.first_row) / static_cast<float>(n_steps);
    n_taps_ = smaller(bundle.n_taps, static_cast<int>(2.0f / gap_ + 2.0f * bundle.tap_margin) + 1);
  }

  int n_taps() const { return n_taps_; }
  float gap() const { return gap_; }

  __m256 first_rays(__m256 column) const {
    const __m256 ratio = _mm256_div_ps(_mm256_fmadd_ps(column, across_step_, across_), _mm256_fmadd_ps(column, depth_step_, depth_));
    return clamp_ray(_mm256_floor_ps(_mm256_fmadd_ps(curved_ ? arc_tangent(ratio) : ratio, scale_, shift_)), last_ray_);
  }

  template <Spread spread>
  __m256 position(const Candidates<spread>& candidates, __m256 /*first_ray*/, int tap) const {
    return _mm256_fmadd_ps(row_, candidates.load(slopes_ + tap), candidates.load(starts_ + tap));
  }

 private:
  static __m256 one_column_before(const RayBundle::Plane& plane, int row) {
    return _mm256_set1_ps(plane.start + plane.row * static_cast<float>(row) - plane.column);
  }

  const float* slopes_;
  const float* starts_;
  bool curved_;
  int n_taps_;
  float gap_;
  __m256 row_, across_, across_step_, depth_, depth_step_, shift_, scale_, last_ray_;
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
#pragma GCC unroll 2
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

/// First the rays and weights of a few vectors of columns, then what they add: the second part then waits for no address.
template <Spread spread, int fixed_taps>
struct BatchOfImages {
  static constexpr int kColumnsAtOnce = 8 * kLanes;
  static constexpr int kTapsAtOnce = fixed_taps ? fixed_taps : 4;

  template <class Row>
  static void add(const Row& row, int column_begin, int column_end, const float* values, float* pixels) {
    const int n_taps = fixed_taps ? fixed_taps : row.n_taps();
    for (int begin = column_begin; begin < column_end; begin += kColumnsAtOnce) {
      const int end = smaller(column_end, begin + kColumnsAtOnce);
      for (int first_tap = 0; first_tap < n_taps; first_tap += kTapsAtOnce) {
        const int n = fixed_taps ? fixed_taps : smaller(kTapsAtOnce, n_taps - first_tap);
        add_taps(row, begin, end, first_tap, n, values + first_tap * kLanes, pixels);
      }
    }
  }

  template <class Row>
  static void add_taps(const Row& row, int begin, int end, int first_tap, int n_taps, const float* values, float* pixels) {
    const int n = fixed_taps ? fixed_taps : n_taps;
    alignas(32) int index[kColumnsAtOnce];
    alignas(32) float weights[kTapsAtOnce][kColumnsAtOnce];
    for (int c = begin; c < end; c += kLanes) {
      const __m256 column = column_numbers(c), ray = row.first_rays(column);
      const Candidates<spread> candidates(ray);
      _mm256_store_si256(reinterpret_cast<__m256i*>(index + (c - begin)), _mm256_slli_epi32(candidates.index(), 3));
#pragma GCC unroll 4
      for (int t = 0; t < n; ++t) _mm256_store_ps(weights[t] + (c - begin), hat(row.position(candidates, ray, first_tap + t), column));
    }
#pragma GCC unroll 2
    for (int j = 0; j < end - begin; ++j) {
      float* pixel = pixels + (begin + j) * kLanes;
      const float* value = values + index[j];
      __m256 sum = _mm256_loadu_ps(pixel);
#pragma GCC unroll 4
      for (int t = 0; t < n; ++t) sum = _mm256_fmadd_ps(_mm256_broadcast_ss(weights[t] + j), _mm256_loadu_ps(value + t * kLanes), sum);
      _mm256_storeu_ps(pixel, sum);
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
