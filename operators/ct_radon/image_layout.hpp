#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "ct_radon/kernels.hpp"

namespace postrec::ct {

/// Up to `lanes` images as the kernels read them: innermost by image, each row between zero borders.
template <int lanes>
class BorderedImages {
 public:
  BorderedImages(std::int64_t height, std::int64_t width)
      : height_(height), width_(width), stride_(kLeftBorder + width + kRightBorder), memory_(at::zeros({height * stride_ * lanes + kOverRead}, at::kFloat)) {}

  float* row(std::int64_t r) { return memory_.mutable_data_ptr<float>() + (r * stride_ + kLeftBorder) * lanes; }
  const float* row(std::int64_t r) const { return memory_.const_data_ptr<float>() + (r * stride_ + kLeftBorder) * lanes; }
  std::int64_t stride() const { return stride_; }

  /// From n <= lanes images [n, height, width].
  void fill(const float* images, std::int64_t n) {
    at::parallel_for(0, height_, kFillGrain / width_ + 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        for (std::int64_t b = 0; b < n; ++b) {
          const float* from = images + (b * height_ + r) * width_;
          float* to = row(r) + b;
          for (std::int64_t c = 0; c < width_; ++c) to[c * lanes] = from[c];
        }
      }
    });
  }

  /// The transpose of `other`, in squares that stay in the cache.
  void fill_transposed(const BorderedImages& other) {
    constexpr std::int64_t kSide = 32;
    at::parallel_for(0, (height_ + kSide - 1) / kSide, kFillGrain / (kSide * width_) + 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r0 = begin * kSide; r0 < std::min(height_, end * kSide); r0 += kSide) {
        for (std::int64_t c0 = 0; c0 < width_; c0 += kSide) {
          for (std::int64_t r = r0; r < std::min(height_, r0 + kSide); ++r) {
            for (std::int64_t c = c0; c < std::min(width_, c0 + kSide); ++c) {
              std::copy_n(other.row(c) + r * lanes, lanes, row(r) + c * lanes);
            }
          }
        }
      }
    });
  }

 private:
  static constexpr std::int64_t kFillGrain = 100'000;  ///< pixels for which another thread is worth waking

  std::int64_t height_, width_, stride_;
  at::Tensor memory_;
};

}  // namespace postrec::ct
