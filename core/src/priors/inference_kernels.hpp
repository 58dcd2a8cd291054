#pragma once

#include <cstdint>

// Loops over channels-last images of 8 k channels, for processors with AVX2 and FMA. Nothing here has inline code: a copy of an inline
// function that was compiled for AVX2 must never be the one the linker keeps.
namespace postrec::inference {

constexpr std::int64_t kVector = 8;           ///< the number of input channels is a multiple of it
constexpr std::int64_t kPanel = 16;           ///< the number of output channels is a multiple of it
constexpr std::int64_t kTiles = 24;           ///< tiles of 2x2 pixels that are transformed at a time
constexpr std::int64_t kMostChannels = 4096;

/// One image through a 3x3 convolution with zeros around it: v = silu'(slope_at) (scale (kernel * x) + shift) + residual, scale and shift with one number a channel.
struct Convolution {
  const float* x;         ///< [height, width, in_channels]
  const float* kernel;    ///< [16, out_channels / kPanel, in_channels, kPanel], Winograd's transform of it
  const float* scale;     ///< [out_channels]
  const float* shift;     ///< [out_channels]
  const float* slope_at;  ///< as `out`: where the derivative of silu is taken; null: 1 in its place
  const float* residual;  ///< as `out`, which it may be; null: none
  float* out;             ///< v, [height, width, out_channels]; null: not wanted
  float* activated;       ///< silu(v); null: not wanted
  std::int64_t height, width, in_channels, out_channels;
};

std::int64_t tiles(const Convolution& convolution);
/// Numbers of scratch that one call of convolve_tiles needs, a multiple of 16. Fastest on a cache line's boundary.
std::int64_t scratch_size(const Convolution& convolution);
/// The pixels of tiles [first, first + kTiles). The answer at a pixel does not depend on how the tiles are shared out. Winograd's F(2x2, 3x3).
/// [Lavin 2016]
void convolve_tiles(const Convolution& convolution, std::int64_t first, float* scratch);

/// activated = silu(x), `count` a multiple of kVector.
void silu(const float* x, float* activated, std::int64_t count);
/// One row of an image: x += low, each pixel of `low` twice; activated = silu(x). `width` is that of x.
void add_doubled_row(const float* low, float* x, float* activated, std::int64_t width, std::int64_t channels);

}  // namespace postrec::inference
