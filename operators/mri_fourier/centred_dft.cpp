#include "mri_fourier/centred_dft.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <complex>
#include <vector>

namespace postrec {
namespace {

/// exp(2 pi i c (j - origin) / n) for j = 0 ... n - 1, the angle reduced in integers so that even sizes give exactly +-1.
std::vector<std::complex<double>> ramp(std::int64_t n, std::int64_t origin) {
  const std::int64_t c = n / 2;
  std::vector<std::complex<double>> values(n);
  for (std::int64_t j = 0; j < n; ++j) {
    const std::int64_t turn = ((c * (j - origin)) % n + n) % n;
    values[j] = 2 * turn == n ? -1.0 : std::polar(1.0, 2.0 * M_PI * static_cast<double>(turn) / static_cast<double>(n));
  }
  return values;
}

at::Tensor outer(const std::vector<std::complex<double>>& rows, const std::vector<std::complex<double>>& columns) {
  at::Tensor product = at::empty({static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(columns.size())}, at::kComplexFloat);
  auto* out = product.data_ptr<c10::complex<float>>();
  for (const auto& r : rows) {
    for (const auto& c : columns) *out++ = c10::complex<float>(std::complex<float>(r * c));
  }
  return product;
}

}  // namespace

at::Tensor image_ramp(std::int64_t height, std::int64_t width) { return outer(ramp(height, 0), ramp(width, 0)); }

at::Tensor kspace_ramp(std::int64_t height, std::int64_t width) { return outer(ramp(height, height / 2), ramp(width, width / 2)); }

// LibTorch's fft_norm_mode. MKL scales in a pass of its own.
at::Tensor plain_dft(const at::Tensor& image, at::IntArrayRef axes, bool forward) {
  constexpr std::int64_t kByRootN = 1;
  return at::_fft_c2c(image, axes, kByRootN, forward);
}

at::Tensor unscaled_dft(const at::Tensor& image, at::IntArrayRef axes, bool forward) {
  constexpr std::int64_t kNone = 0;
  return at::_fft_c2c(image, axes, kNone, forward);
}

}  // namespace postrec
