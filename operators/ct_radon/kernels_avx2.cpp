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

  __m256 load(const float* base) const {
    const __m256 near = _mm256_permutevar8x32_ps(_mm256_loadu_ps(base + first_), offset_);
    const __m256 far = _mm256_permutevar8x32_ps(_mm256_loadu_ps(base + first_ + kLanes), offset_);
    return _mm256_blendv_ps(near, far, is_far_);
  }

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

/// max(0, 1 - |position - column|).
__m256 hat(__m256 position, __m256 column) {
  const __m256 distance = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(position, column));
  return _mm256_max_ps(_mm256_setzero_ps(), _mm256_sub_ps(_mm256_set1_ps(1.0f), distance));
}

/// Parallel beam: rays and weights of eight neighbouring columns, the first candidate ray by one multiplication.
class EightColumns {
 public:
  EightColumns(const RayBundle& bundle, int row)
      : row_(_mm256_set1_ps(static_cast<float>(row))),
        slope_(_mm256_set1_ps(bundle.affine_slope)),
        start_(_mm256_set1_ps(bundle.affine_start)),
        step_(_mm256_set1_ps(bundle.affine_step)),
        inverse_step_(_mm256_set1_ps(bundle.affine_inverse_step)),
        last_ray_(_mm256_set1_ps(static_cast<float>(bundle.n_rays))) {
    const float base = __builtin_fmaf(static_cast<float>(row), bundle.affine_slope, bundle.affine_start);
    shift_ = _mm256_set1_ps(1.0f - bundle.tap_margin - (base + 1.0f) * bundle.affine_inverse_step);
  }

  static __m256 columns(int c) { return _mm256_add_ps(_mm256_set1_ps(static_cast<float>(c)), lane_numbers()); }

  /// Values beyond the bundle's rays are zero, so that rays -1 and n_rays may stand for all others.
  __m256 first_rays(__m256 column) const {
    const __m256 candidate = _mm256_floor_ps(_mm256_fmadd_ps(column, inverse_step_, shift_));
    return _mm256_min_ps(last_ray_, _mm256_max_ps(_mm256_set1_ps(-1.0f), candidate));
  }

  __m256 weights(__m256 ray, __m256 column) const { return hat(_mm256_fmadd_ps(row_, slope_, _mm256_fmadd_ps(ray, step_, start_)), column); }

 private:
  __m256 row_, slope_, start_, step_, inverse_step_, last_ray_, shift_;
};

/// With two taps a step is more than one column, so that eight columns meet at most eight first rays and a permutation reaches them all.
void adjoint_single_affine2(const RayBundle& bundle, int row, int column_begin, int column_end, const float* values, float* pixels) {
  const EightColumns eight(bundle, row);
  for (int c = column_begin; c < column_end; c += kLanes) {
    const __m256 column = EightColumns::columns(c), ray = eight.first_rays(column);
    const Window window(_mm256_cvttps_epi32(ray));
    const __m256 first = eight.weights(ray, column), second = eight.weights(_mm256_add_ps(ray, _mm256_set1_ps(1.0f)), column);
    const __m256 sum = _mm256_fmadd_ps(first, window.load_near(values), _mm256_loadu_ps(pixels + c));
    _mm256_storeu_ps(pixels + c, _mm256_fmadd_ps(second, window.load_near(values + 1), sum));
  }
}

void adjoint_batch_affine2(const RayBundle& bundle, int row, int column_begin, int column_end, const float* values, float* pixels) {
  const EightColumns eight(bundle, row);
  for (int c = column_begin; c < column_end; c += kLanes) {
    const __m256 column = EightColumns::columns(c), ray = eight.first_rays(column);
    alignas(32) int index[kLanes];
    alignas(32) float first[kLanes], second[kLanes];
    _mm256_store_si256(reinterpret_cast<__m256i*>(index), _mm256_slli_epi32(_mm256_cvttps_epi32(ray), 3));
    _mm256_store_ps(first, eight.weights(ray, column));
    _mm256_store_ps(second, eight.weights(_mm256_add_ps(ray, _mm256_set1_ps(1.0f)), column));
#pragma GCC unroll 8
    for (int j = 0; j < kLanes; ++j) {
      float* pixel = pixels + (c + j) * kLanes;
      const float* value = values + index[j];
      const __m256 sum = _mm256_fmadd_ps(_mm256_broadcast_ss(first + j), _mm256_loadu_ps(value), _mm256_loadu_ps(pixel));
      _mm256_storeu_ps(pixel, _mm256_fmadd_ps(_mm256_broadcast_ss(second + j), _mm256_loadu_ps(value + kLanes), sum));
    }
  }
}

/// Columns in whole vectors.
struct Columns {
  int begin, end;
};

/// Those of columns.begin .. columns.end that rays between the positions `lowest` and `highest` can meet.
Columns columns_met(const RayBundle& bundle, float lowest, float highest, Columns columns) {
  const float width = static_cast<float>(bundle.width);
  const float begin = lowest > 0.0f ? (lowest < width ? lowest : width) : 0.0f;
  const float end = highest + 2.0f < width ? (highest + 2.0f > 0.0f ? highest + 2.0f : 0.0f) : width;
  return {larger(columns.begin, static_cast<int>(begin) / kLanes * kLanes), smaller(columns.end, round_up_to_lanes(static_cast<int>(end)))};
}

/// Parallel beam with any number of taps.
Columns find_taps_affine(const RayBundle& bundle, int row, Columns columns, Taps& taps) {
  const EightColumns eight(bundle, row);
  taps.n_taps = bundle.n_taps;
  for (int c = columns.begin; c < columns.end; c += kLanes) {
    const __m256 column = EightColumns::columns(c);
    __m256 ray = eight.first_rays(column);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(taps.first + c), _mm256_cvttps_epi32(ray));
    for (int t = 0; t < taps.n_taps; ++t) {
      _mm256_storeu_ps(taps.weights + static_cast<std::ptrdiff_t>(t) * taps.stride + c, eight.weights(ray, column));
      ray = _mm256_add_ps(ray, _mm256_set1_ps(1.0f));
    }
  }
  return columns;
}

/// The positions of all rays on the row, and the smallest distance between two neighbours, or 2 if all are farther apart.
float fill_positions(const RayBundle& bundle, int row, float* positions) {
  const __m256 row_number = _mm256_set1_ps(static_cast<float>(row));
  for (int k = 0; k < bundle.n_padded; k += kLanes) {
    _mm256_storeu_ps(positions + k, _mm256_fmadd_ps(row_number, _mm256_loadu_ps(bundle.slope + k), _mm256_loadu_ps(bundle.start + k)));
  }
  __m256 smallest = _mm256_set1_ps(2.0f);
  int k = 0;
  for (; k + kLanes < bundle.n_rays; k += kLanes) {
    smallest = _mm256_min_ps(smallest, _mm256_sub_ps(_mm256_loadu_ps(positions + k + 1), _mm256_loadu_ps(positions + k)));
  }
  alignas(32) float lanes[kLanes];
  _mm256_store_ps(lanes, smallest);
  float result = 2.0f;
  for (int j = 0; j < kLanes; ++j) result = lanes[j] < result ? lanes[j] : result;
  for (; k + 1 < bundle.n_rays; ++k) result = positions[k + 1] - positions[k] < result ? positions[k + 1] - positions[k] : result;
  return result;
}

void store_everywhere(int* first, int value) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(first), _mm256_set1_epi32(value)); }

/// first[c] = the first ray beyond column c - 1: each ray claims eight columns from where it begins to be that, or as many as there are,
/// and the next one overwrites what is its own.
void claim_columns(const RayBundle& bundle, Taps& taps) {
  const int width = round_up_to_lanes(bundle.width);
  const __m256 end = _mm256_set1_ps(static_cast<float>(width));
  int claimed = 0;
  for (int k = 0; k < bundle.n_rays; k += kLanes) {
    // Ray k is the first of a column up to one beyond the whole part of its position.
    const __m256 beyond = _mm256_add_ps(_mm256_floor_ps(_mm256_loadu_ps(taps.positions + k)), _mm256_set1_ps(2.0f));
    alignas(32) int column[kLanes];
    _mm256_store_si256(reinterpret_cast<__m256i*>(column), _mm256_cvttps_epi32(_mm256_min_ps(end, _mm256_max_ps(_mm256_setzero_ps(), beyond))));
    const int n = smaller(kLanes, bundle.n_rays - k);
    for (int j = 0; j < n; ++j) {
      do {
        store_everywhere(taps.first + claimed, k + j);
        claimed += kLanes;
      } while (claimed < column[j]);
      claimed = column[j];
    }
  }
  for (; claimed < width; claimed += kLanes) store_everywhere(taps.first + claimed, bundle.n_rays);
}

/// base[first[c + j] + t] for the eight columns from c and each tap in turn.
template <class Use>
void for_each_tap(const Taps& taps, int c, const float* base, Use use) {
  const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(taps.first + c));
  if (taps.first[c + kLanes - 1] - taps.first[c] < 2 * kLanes) {
    const Window window(first);
    for (int t = 0; t < taps.n_taps; ++t) use(t, window.load(base + t));
  } else {
    for (int t = 0; t < taps.n_taps; ++t) use(t, _mm256_i32gather_ps(base + t, first, 4));
  }
}

/// Any beam: from the positions of all rays on the row.
Columns find_taps_general(const RayBundle& bundle, int row, Columns columns, Taps& taps) {
  const float gap = fill_positions(bundle, row, taps.positions);
  claim_columns(bundle, taps);
  const float needed = gap * static_cast<float>(bundle.n_taps) > 2.0f ? 2.0f / gap : static_cast<float>(bundle.n_taps);
  taps.n_taps = smaller(bundle.n_taps, static_cast<int>(needed + 1e-3f) + 1);
  const Columns met = columns_met(bundle, taps.positions[0], taps.positions[bundle.n_rays - 1], columns);
  for (int c = met.begin; c < met.end; c += kLanes) {
    const __m256 column = EightColumns::columns(c);
    for_each_tap(taps, c, taps.positions,
                 [&](int t, __m256 position) { _mm256_storeu_ps(taps.weights + static_cast<std::ptrdiff_t>(t) * taps.stride + c, hat(position, column)); });
  }
  return met;
}

Columns find_taps(const RayBundle& bundle, int row, Columns columns, Taps& taps) {
  return bundle.affine ? find_taps_affine(bundle, row, columns, taps) : find_taps_general(bundle, row, columns, taps);
}

void adjoint_single(const RayBundle& bundle, int row, int column_begin, int column_end, Taps& taps, const float* values, float* pixels) {
  if (bundle.affine && bundle.n_taps == 2) return adjoint_single_affine2(bundle, row, column_begin, column_end, values, pixels);
  const Columns columns = find_taps(bundle, row, {column_begin, column_end}, taps);
  for (int c = columns.begin; c < columns.end; c += kLanes) {
    __m256 sum = _mm256_loadu_ps(pixels + c);
    for_each_tap(taps, c, values, [&](int t, __m256 value) {
      sum = _mm256_fmadd_ps(_mm256_loadu_ps(taps.weights + static_cast<std::ptrdiff_t>(t) * taps.stride + c), value, sum);
    });
    _mm256_storeu_ps(pixels + c, sum);
  }
}

/// n_taps 0: as many as there are.
template <int n_taps>
void accumulate(const Taps& taps, Columns columns, const float* values, float* pixels) {
  const int count = n_taps ? n_taps : taps.n_taps;
  for (int c = columns.begin; c < columns.end; ++c) {
    const float* value = values + static_cast<std::ptrdiff_t>(taps.first[c]) * kLanes;
    __m256 sum = _mm256_loadu_ps(pixels + c * kLanes);
#pragma GCC unroll 4
    for (int t = 0; t < count; ++t) {
      const __m256 weight = _mm256_broadcast_ss(taps.weights + static_cast<std::ptrdiff_t>(t) * taps.stride + c);
      sum = _mm256_fmadd_ps(weight, _mm256_loadu_ps(value + t * kLanes), sum);
    }
    _mm256_storeu_ps(pixels + c * kLanes, sum);
  }
}

void adjoint_batch(const RayBundle& bundle, int row, int column_begin, int column_end, Taps& taps, const float* values, float* pixels) {
  if (bundle.affine && bundle.n_taps == 2) return adjoint_batch_affine2(bundle, row, column_begin, column_end, values, pixels);
  const Columns columns = find_taps(bundle, row, {column_begin, column_end}, taps);
  switch (taps.n_taps) {
    case 1: return accumulate<1>(taps, columns, values, pixels);
    case 2: return accumulate<2>(taps, columns, values, pixels);
    case 3: return accumulate<3>(taps, columns, values, pixels);
    default: return accumulate<0>(taps, columns, values, pixels);
  }
}

}  // namespace

const Kernels& avx2_kernels() {
  static const Kernels kernels = {"avx2", forward_single, forward_batch, adjoint_single, adjoint_batch};
  return kernels;
}

}  // namespace postrec::ct
