#include "spectral_transform.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <map>
#include <mutex>
#include <numbers>
#include <string>
#include <utility>

namespace postrec {
namespace {

// Sizes that matrix products compute in whole tiles. At a ragged edge they round by where in the batch an image lies (seen below 14 rows).
constexpr std::int64_t kTile = 16;

// Row k, column i: sqrt(2/n) cos(pi (2 i + 1) k / 2 n), the first row divided by sqrt(2). [Ahmed 1974] Zeros up to whole tiles.
at::Tensor make_dct_matrix(std::int64_t n) {
  const std::int64_t size = (n + kTile - 1) / kTile * kTile;
  at::Tensor matrix = at::zeros({size, size}, at::kDouble);
  double* data = matrix.data_ptr<double>();
  for (std::int64_t k = 0; k < n; ++k)
    for (std::int64_t i = 0; i < n; ++i) {
      // The angle is reduced in integers, where it is exact.
      const std::int64_t phase = (2 * i + 1) * k % (4 * n);
      data[k * size + i] = std::sqrt((k == 0 ? 1.0 : 2.0) / n) * std::cos(std::numbers::pi * phase / (2.0 * n));
    }
  return matrix.to(at::kFloat);
}

at::Tensor dct_matrix(std::int64_t n, const at::Device& device) {
  static std::mutex mutex;
  static std::map<std::pair<std::int64_t, std::string>, at::Tensor> cache;
  const std::lock_guard lock(mutex);
  at::Tensor& matrix = cache[{n, device.str()}];
  const c10::InferenceMode with_graphs(false);  // whoever asks first, others may differentiate through it
  if (!matrix.defined()) matrix = make_dct_matrix(n).to(device);
  return matrix;
}

// left x right, the images padded with zeros to the size of the matrices.
at::Tensor between(const at::Tensor& left, const at::Tensor& x, const at::Tensor& right) {
  const std::int64_t height = x.size(-2), width = x.size(-1), rows = left.size(0) - height, columns = right.size(0) - width;
  if (rows == 0 && columns == 0) return at::matmul(at::matmul(left, x), right);
  const at::Tensor padded = at::constant_pad_nd(x, {0, columns, 0, rows});
  return at::matmul(at::matmul(left, padded), right).narrow(-2, 0, height).narrow(-1, 0, width).contiguous();
}

at::Tensor dct(const at::Tensor& x) {
  return between(dct_matrix(x.size(-2), x.device()), x, dct_matrix(x.size(-1), x.device()).t());
}

at::Tensor inverse_dct(const at::Tensor& k) {
  return between(dct_matrix(k.size(-2), k.device()).t(), k, dct_matrix(k.size(-1), k.device()));
}

// The real form of the DFT, symmetric and its own inverse. It diagonalises every stationary covariance of real images. [Bracewell 1983]
at::Tensor hartley(const at::Tensor& x) {
  const at::Tensor k = at::fft_fft2(x, {}, {-2, -1}, "ortho");
  return at::real(k) - at::imag(k);
}

}  // namespace

at::Tensor to_natural_basis(SpectralBasis basis, const at::Tensor& x) {
  if (basis == SpectralBasis::kDct) return dct(x);
  return x.is_complex() ? at::fft_fft2(x, {}, {-2, -1}, "ortho") : hartley(x);
}

at::Tensor from_natural_basis(SpectralBasis basis, const at::Tensor& k) {
  if (basis == SpectralBasis::kDct) return inverse_dct(k);
  return k.is_complex() ? at::fft_ifft2(k, {}, {-2, -1}, "ortho") : hartley(k);
}

at::Tensor to_natural_order(SpectralBasis basis, const at::Tensor& table) {
  return basis == SpectralBasis::kDct ? table : at::fft_ifftshift(table, at::IntArrayRef{-2, -1}).contiguous();
}

at::Tensor from_natural_order(SpectralBasis basis, const at::Tensor& table) {
  return basis == SpectralBasis::kDct ? table : at::fft_fftshift(table, at::IntArrayRef{-2, -1}).contiguous();
}

at::Tensor frequency_radius(SpectralBasis basis, std::int64_t rows, std::int64_t columns) {
  const auto axis = [&](std::int64_t n) {
    const at::Tensor index = at::arange(n, at::kDouble);
    if (basis == SpectralBasis::kDct) return index.div(2.0 * static_cast<double>(n));
    return at::minimum(index, index.neg().add(static_cast<double>(n))).div(static_cast<double>(n));
  };
  return at::hypot(axis(rows).unsqueeze(1), axis(columns).unsqueeze(0));
}

}  // namespace postrec
