#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace postrec {

/// F^H diag(g(mask)) F for functions g of a k-space mask, the middle of A^H A.
///
/// The ramps of the centred DFT cancel there but for a roll of the mask, done once. And because F_x^H F_x = I, only the axes along
/// which the mask varies are transformed: half of the work for whole lines, none for a full mask. Lines along ky are worked on
/// transposed, so that the transforms run along contiguous memory.
class SpectralFilter {
 public:
  /// mask: boolean [H, W], DC at (H/2, W/2). `many`: whether project() is called on several images side by side, by one thread each. Then it may be a matrix product,
  /// which MKL may round differently on another number of threads.
  SpectralFilter(const at::Tensor& mask, bool many);

  /// Boolean [rows, columns] in the working layout, rolled so that DC is at (0, 0).
  const at::Tensor& mask() const { return mask_; }

  /// The axes of [rows, columns] that are transformed, how many frequencies they have, and whether rows are the image's columns.
  const std::vector<std::int64_t>& axes() const { return axes_; }
  double n_frequencies() const;
  bool is_transposed() const { return transposed_; }

  /// diag(g) for apply(), real float32 [rows, columns] in the working layout: `acquired` where the mask is 1, `missing` where it is 0, over the number of frequencies, so
  /// that no transform needs to be scaled.
  at::Tensor weights(double acquired, double missing) const;

  /// [..., H, W] to the working layout, always a copy so that a transform sees the same alignment whatever the batch, and back, a view.
  at::Tensor to_working(const at::Tensor& image) const;
  at::Tensor from_working(const at::Tensor& image) const;

  /// F^H diag(g) F image, complex64 [rows, columns], both in the working layout.
  at::Tensor apply(const at::Tensor& image, const at::Tensor& weights) const;

  /// F^H M F image, the same with weights 1 and 0.
  at::Tensor project(const at::Tensor& image) const;

 private:
  at::Tensor mask_;
  std::vector<std::int64_t> axes_;  ///< of the working layout; along the others the mask is constant
  bool transposed_ = false;
  at::Tensor ones_and_zeros_;       ///< weights(1, 0)
  at::Tensor to_lines_, from_lines_;  ///< complex64 [columns, acquired lines] and its adjoint: the rows of the DFT that are acquired; undefined where FFTs are as fast
};

}  // namespace postrec
