#include "spectral_transform.hpp"

#include <ATen/ATen.h>

#include "cosine_transform.hpp"

namespace postrec {
namespace {

// The real form of the DFT, symmetric and its own inverse. It diagonalises every stationary covariance of real images. [Bracewell 1983]
at::Tensor hartley(const at::Tensor& x) {
  const at::Tensor k = at::fft_fft2(x, {}, {-2, -1}, "ortho");
  return at::real(k) - at::imag(k);
}

}  // namespace

at::Tensor to_natural_basis(SpectralBasis basis, const at::Tensor& x) {
  if (basis == SpectralBasis::kDct) return cosine_transform(x);
  return x.is_complex() ? at::fft_fft2(x, {}, {-2, -1}, "ortho") : hartley(x);
}

at::Tensor from_natural_basis(SpectralBasis basis, const at::Tensor& k) {
  if (basis == SpectralBasis::kDct) return inverse_cosine_transform(k);
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
