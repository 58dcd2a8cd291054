#pragma once

#include <ATen/core/Tensor.h>

namespace postrec {

/// The orthonormal DCT-II over the last two axes of x, float [..., rows, columns], and its inverse, the DCT-III. [Ahmed 1974]
/// On the CPU by an FFT of the same size [Makhoul 1980]; small images, on other devices, and where a graph is asked for, by two matrix products.
/// Law: reproducible. An image's coefficients are the same bits whatever the batch and the threads.
at::Tensor cosine_transform(const at::Tensor& x);
at::Tensor inverse_cosine_transform(const at::Tensor& k);

}  // namespace postrec
