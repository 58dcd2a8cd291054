#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace postrec {

/// What samples [n, C, H, W] say, pixel by pixel. For complex images: `mean` is |E x|; the rest is of the magnitude |x|.
struct Summary {
  at::Tensor mean;                             ///< float32 [C, H, W]
  at::Tensor standard_deviation;               ///< of the samples, n - 1 in the denominator; 0 for one sample
  at::Tensor lower;                            ///< interval bounds: a further sample lies inside with probability `level`, or up to .01 more where level (n + 1) is not whole
  at::Tensor upper;
  double level = 0.9;                          ///< as asked for, or interval_level_of(n) where n samples cannot bound more
};

/// Throws Error(kUsage) when there is no sample or level is not in (0, 1).
Summary summarize(const at::Tensor& samples, double level = 0.9);

/// The largest probability that the interval from the least to the greatest of n samples holds: (n - 1)/(n + 1).
double interval_level_of(std::int64_t n_samples);

/// x itself when real, its magnitude when complex: what is shown, stored and compared.
at::Tensor displayed(const at::Tensor& x);

}  // namespace postrec
