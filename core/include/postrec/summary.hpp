#pragma once

#include <ATen/core/Tensor.h>

namespace postrec {

/// What samples [n, C, H, W] say, pixel by pixel. For complex images: `mean` is |E x|; the rest is of the magnitude |x|.
struct Summary {
  at::Tensor mean;                             ///< float32 [C, H, W]
  at::Tensor standard_deviation;               ///< of the samples, n - 1 in the denominator; 0 for one sample
  at::Tensor lower;                            ///< interval bounds, by linear interpolation of the order statistics
  at::Tensor upper;
  double level = 0.9;                          ///< probability inside [lower, upper]
};

/// Throws Error(kUsage) when there is no sample or level is not in (0, 1).
Summary summarize(const at::Tensor& samples, double level = 0.9);

/// x itself when real, its magnitude when complex: what is shown, stored and compared.
at::Tensor displayed(const at::Tensor& x);

}  // namespace postrec
