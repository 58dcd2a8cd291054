#pragma once

#include <cstddef>

// Plain data and function pointers only: the AVX2 file includes this, see CMakeLists.txt.
namespace postrec::ct {

inline constexpr int kLanes = 8;               ///< images that one batch kernel handles, and rays or pixels of one vector
inline constexpr int kTileRows = 16;           ///< a forward sum is a sum of sums over tiles of so many march steps
inline constexpr int kLeftBorder = 1;          ///< zero pixels before each row, where clamped rays go
inline constexpr int kRightBorder = 2;
inline constexpr int kOverRead = 2 * kLanes;   ///< elements past the last that a vector may read, and then ignores

/// Rays of one view that march along rows (or, on the transposed image, columns).
///
/// Ray k crosses row r at column c(r, k) = fma(r, slope[k], start[k]), which grows with k. Both directions use this one rounding, so that the
/// adjoint is the exact transpose. The arrays hold n_padded elements; those past n_rays lie beyond the image.
struct RayBundle {
  const float* start;
  const float* slope;
  const int* block_first_row;                  ///< rows that any of the rays 8 i .. 8 i + 7 meets: first, and one past the last
  const int* block_last_row;
  int n_rays;
  int n_padded;                                ///< a multiple of kLanes, kOverRead + n_taps or more past n_rays
  int n_blocks;                                ///< of kLanes rays that hold all n_rays
  int height, width;                           ///< of the image as it is marched
  int first_row, last_row;                     ///< rows that any ray meets
  int n_taps;                                  ///< candidates that hold all rays that meet one pixel, at most
  float tap_margin;                            ///< by how many rays the candidates start before the first possible one
  float first_gap, last_gap;                   ///< least distance between rays on first_row and last_row - 1: not less in between than linear

  /// Which ray, as a fraction, crosses column c of row r.
  /// Parallel: start[k] = fma(k, affine_step, affine_start), and one slope.
  bool affine;
  float affine_start, affine_step, affine_inverse_step, affine_slope;
  /// Fan: index_start + index_scale * f(across / depth), f the identity or, for a curved detector, the arc tangent.
  struct Plane {
    float start, row, column;                  ///< start + row * r + column * c, pixels
  };
  Plane across, depth;                         ///< from the central ray, and from the source along it
  bool curved;
  float index_start, index_scale;
};

/// One instruction set. `lanes` images lie innermost: pixel (r, c) of image b at [(r * row_stride + c) * lanes + b]; likewise rays.
/// Single and batch do the same arithmetic on each image in the same order.
struct Kernels {
  /// sums[k] += the interpolated image summed over the rows row_begin..row_end of one tile, for each ray k.
  using Forward = void (*)(const RayBundle&, const float* image, std::ptrdiff_t row_stride, int row_begin, int row_end, float* sums);
  /// pixels[c] += the sum over rays of weight * values[ray], for the columns column_begin..column_end (multiples of kLanes) of one row.
  using Adjoint = void (*)(const RayBundle&, int row, int column_begin, int column_end, const float* values, float* pixels);

  const char* name;
  Forward forward_single, forward_batch;
  Adjoint adjoint_single, adjoint_batch;
};

const Kernels& portable_kernels();
const Kernels& avx2_kernels();                 ///< only where the processor has AVX2 and FMA

/// The fastest that runs here; the portable ones when the environment variable POSTREC_CT_PORTABLE is 1.
const Kernels& best_kernels();

constexpr int round_up_to_lanes(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

}  // namespace postrec::ct
