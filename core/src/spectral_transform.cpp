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

// Row k, column i: sqrt(2/n) cos(pi (2 i + 1) k / 2 n), the first row divided by sqrt(2). [Ahmed 1974]
at::Tensor make_dct_matrix(std::int64_t n) {
  at::Tensor matrix = at::empty({n, n}, at::kDouble);
  double* data = matrix.data_ptr<double>();
  for (std::int64_t k = 0; k < n; ++k)
    for (std::int64_t i = 0; i < n; ++i) {
      // The angle is reduced in integers, where it is exact.
      const std::int64_t phase = (2 * i + 1) * k % (4 * n);
      data[k * n + i] = std::sqrt((k == 0 ? 1.0 : 2.0) / n) * std::cos(std::numbers::pi * phase / (2.0 * n));
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

at::Tensor dct(const at::Tensor& x) {
  return at::matmul(at::matmul(dct_matrix(x.size(-2), x.device()), x), dct_matrix(x.size(-1), x.device()).t());
}

at::Tensor inverse_dct(const at::Tensor& k) {
  return at::matmul(at::matmul(dct_matrix(k.size(-2), k.device()).t(), k), dct_matrix(k.size(-1), k.device()));
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

}  // namespace postrec
