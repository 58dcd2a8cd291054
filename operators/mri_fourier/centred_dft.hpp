#pragma once

#include <ATen/core/Tensor.h>

namespace postrec {

/// The centred orthonormal DFT is the plain one between two phase ramps, exactly and for odd sizes too. With c = n/2 (rounded down)
///
///   y[p] = n^-1/2 sum_j x[j] exp(-2 pi i (p - c)(j - c) / n) = r_k[p] DFT(r_x x)[p],
///   r_x[j] = exp(2 pi i c j / n),  r_k[p] = exp(2 pi i c (p - c) / n),
///
/// a chequerboard of +-1 where n is even. So no shift ever copies an image.

/// r_x along rows times r_x along columns, complex64 [height, width].
at::Tensor image_ramp(std::int64_t height, std::int64_t width);

/// r_k along rows times r_k along columns, complex64 [height, width].
at::Tensor kspace_ramp(std::int64_t height, std::int64_t width);

/// F or F^H, orthonormal and not centred, of a complex [rows, columns] over `axes`.
at::Tensor plain_dft(const at::Tensor& image, at::IntArrayRef axes, bool forward);

/// The same times n^1/2, n the product of the sizes along `axes`: for who folds the factor into what comes next.
at::Tensor unscaled_dft(const at::Tensor& image, at::IntArrayRef axes, bool forward);

}  // namespace postrec
