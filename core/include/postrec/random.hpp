#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace postrec {

/// Counter-based normal numbers (Philox4x32-10, Box-Muller): sample k of a seed sees the same stream whatever the batch size,
/// thread count or order. [Salmon 2011]
///
/// A stream is named by (seed, sample index); `draw` is the position within it, so that no generator carries hidden state.
/// All random numbers of samplers, training and simulation are from here; operators draw masks from a counter of their own, and names and waiting times need no seed.
class RandomStreams {
 public:
  /// Streams of samples first_sample ... first_sample + n_samples - 1. Throws Error(kUsage) when they are not in [0, 2^32).
  RandomStreams(std::uint64_t seed, std::int64_t first_sample, std::int64_t n_samples);

  /// Independent standard normal numbers [n_samples, shape], float32 or complex64 (then N(0,1) in each real component).
  /// Throws Error: kInternal (another type), kUsage (more than 2^34 numbers a sample).
  /// The same bits on every device; a CUDA device makes them itself, on its current stream, where CUDA was compiled in.
  /// Law: streams. Element b depends on (seed, first_sample + b, draw, shape, dtype) alone.
  at::Tensor normal(std::uint64_t draw, const std::vector<std::int64_t>& shape, at::ScalarType dtype, at::Device device = at::kCPU) const;

  /// Uniform numbers in [0, 1), float32, [n_samples, shape]; in a domain of their own, independent of normal().
  at::Tensor uniform(std::uint64_t draw, const std::vector<std::int64_t>& shape, at::Device device = at::kCPU) const;

  /// Random signs, float32, [n_samples, shape]: 1 where uniform() of the same draw is below 1/2, else -1; so not independent of it.
  at::Tensor signs(std::uint64_t draw, const std::vector<std::int64_t>& shape, at::Device device = at::kCPU) const;

 private:
  std::uint64_t seed_;
  std::int64_t first_sample_;
  std::int64_t n_samples_;
};

}  // namespace postrec
