#include "mri_fourier/spectral_filter.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "mri_fourier/centred_dft.hpp"
#include "mri_fourier/complex_kernels.hpp"

namespace postrec {
namespace {

bool varies_along(const at::Tensor& mask, std::int64_t axis) { return !mask.eq(mask.narrow(axis, 0, 1)).all().item<bool>(); }

// FFTs of MKL have loops for these, and take three to four times as long where another factor is left.
bool is_smooth(std::int64_t n) {
  for (const std::int64_t factor : {2, 3, 5, 7, 11, 13})
    while (n % factor == 0) n /= factor;
  return n == 1;
}

/// Columns of the orthonormal DFT of length n, complex64 [n, frequency].
at::Tensor dft_columns(std::int64_t n, const at::Tensor& frequencies) {
  at::Tensor columns = at::empty({n, frequencies.numel()}, at::kComplexFloat);
  auto* out = columns.data_ptr<c10::complex<float>>();
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t k = 0; k < frequencies.numel(); ++k) {
      const std::int64_t turn = i * frequencies[k].item<std::int64_t>() % n;  // reduced in integers, where it is exact
      const double angle = -2.0 * M_PI * static_cast<double>(turn) / static_cast<double>(n), size = 1.0 / std::sqrt(static_cast<double>(n));
      *out++ = c10::complex<float>(static_cast<float>(size * std::cos(angle)), static_cast<float>(size * std::sin(angle)));
    }
  return columns;
}

}  // namespace

SpectralFilter::SpectralFilter(const at::Tensor& mask, bool many) {
  const bool along_rows = varies_along(mask, 0), along_columns = varies_along(mask, 1);
  transposed_ = along_rows && !along_columns;
  if (along_rows && along_columns) {
    axes_ = {0, 1};
  } else if (along_rows || along_columns) {
    axes_ = {1};
  }
  // DC goes from n/2 to 0, that is up by n - n/2.
  const at::Tensor rolled = at::roll(mask, {mask.size(0) - mask.size(0) / 2, mask.size(1) - mask.size(1) / 2}, {0, 1});
  mask_ = to_working(rolled);
  ones_and_zeros_ = weights(1.0, 0.0);
  if (!many || axes_.size() != 1 || is_smooth(mask_.size(1))) return;
  // Of the cost of transforms at such a length, a product with L lines takes L/60 on processors where it was measured (README.md).
  constexpr std::int64_t kMostLines = 60;
  const at::Tensor acquired = mask_[0].nonzero().squeeze(1);
  if (acquired.numel() > kMostLines) return;
  to_lines_ = dft_columns(mask_.size(1), acquired);
  from_lines_ = to_lines_.t().conj().resolve_conj().contiguous();
}

double SpectralFilter::n_frequencies() const {
  double n = 1.0;
  for (const std::int64_t axis : axes_) n *= static_cast<double>(mask_.size(axis));
  return n;
}

at::Tensor SpectralFilter::weights(double acquired, double missing) const {
  const double n = n_frequencies();
  return at::full(mask_.sizes(), missing / n, at::kFloat).masked_fill_(mask_, acquired / n);
}

at::Tensor SpectralFilter::to_working(const at::Tensor& image) const {
  return (transposed_ ? image.transpose(-2, -1) : image).clone(at::MemoryFormat::Contiguous);
}

at::Tensor SpectralFilter::from_working(const at::Tensor& image) const { return transposed_ ? image.transpose(-2, -1) : image; }

at::Tensor SpectralFilter::project(const at::Tensor& image) const {
  if (to_lines_.defined()) return at::matmul(at::matmul(image, to_lines_), from_lines_);
  return apply(image, ones_and_zeros_);
}

at::Tensor SpectralFilter::apply(const at::Tensor& image, const at::Tensor& weights) const {
  at::Tensor spectrum = axes_.empty() ? image.clone() : unscaled_dft(image, axes_, true);
  scale(spectrum, weights);
  return axes_.empty() ? spectrum : unscaled_dft(spectrum, axes_, false);
}

}  // namespace postrec
