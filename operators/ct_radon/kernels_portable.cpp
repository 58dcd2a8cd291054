#include <algorithm>
#include <cmath>

#include "ct_radon/kernels.hpp"

// Every fused multiply-add is written out, as in kernels_avx2.cpp: the results are the same bits.
namespace postrec::ct {
namespace {

template <int lanes>
void forward(const RayBundle& bundle, const float* image, std::ptrdiff_t row_stride, int row_begin, int row_end, float* sums) {
  const float left = -1.0f, right = static_cast<float>(bundle.width);
  for (int k = 0; k < bundle.n_rays; ++k) {
    const int first = std::max(row_begin, bundle.block_first_row[k / kLanes]);
    const int last = std::min(row_end, bundle.block_last_row[k / kLanes]);
    float tile[lanes] = {};
    for (int r = first; r < last; ++r) {
      const float column = std::min(right, std::max(left, std::fma(static_cast<float>(r), bundle.slope[k], bundle.start[k])));
      const float whole = std::floor(column), fraction = column - whole;
      const float* pixel = image + (r * row_stride + static_cast<std::ptrdiff_t>(whole)) * lanes;
      for (int b = 0; b < lanes; ++b) tile[b] += std::fma(fraction, pixel[lanes + b] - pixel[b], pixel[b]);
    }
    for (int b = 0; b < lanes; ++b) sums[static_cast<std::ptrdiff_t>(k) * lanes + b] += tile[b];
  }
}

template <int lanes>
void adjoint(const RayBundle& bundle, int row, int column_begin, int column_end, const float* values, float* pixels) {
  const auto position = [&](int k) { return std::fma(static_cast<float>(row), bundle.slope[k], bundle.start[k]); };
  int first = 0;
  for (int c = column_begin; c < std::min(column_end, bundle.width); ++c) {
    const float column = static_cast<float>(c);
    while (first < bundle.n_rays && position(first) <= column - 1.0f) ++first;
    for (int k = first; k < bundle.n_rays && position(k) < column + 1.0f; ++k) {
      const float weight = 1.0f - std::abs(position(k) - column);
      for (int b = 0; b < lanes; ++b) {
        float& pixel = pixels[c * lanes + b];
        pixel = std::fma(weight, values[static_cast<std::ptrdiff_t>(k) * lanes + b], pixel);
      }
    }
  }
}

}  // namespace

const Kernels& portable_kernels() {
  static const Kernels kernels = {"portable", forward<1>, forward<kLanes>, adjoint<1>, adjoint<kLanes>};
  return kernels;
}

}  // namespace postrec::ct
