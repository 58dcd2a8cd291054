#include "mri_fourier/spectral_filter.hpp"

#include <ATen/ATen.h>

#include "mri_fourier/centred_dft.hpp"
#include "mri_fourier/complex_kernels.hpp"

namespace postrec {
namespace {

bool varies_along(const at::Tensor& mask, std::int64_t axis) { return !mask.eq(mask.narrow(axis, 0, 1)).all().item<bool>(); }

}  // namespace

SpectralFilter::SpectralFilter(const at::Tensor& mask) {
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
}

at::Tensor SpectralFilter::weights(double acquired, double missing) const {
  at::Tensor weights = at::full(mask_.sizes(), missing, at::kFloat);
  return weights.masked_fill_(mask_, acquired);
}

at::Tensor SpectralFilter::to_working(const at::Tensor& image) const {
  return (transposed_ ? image.transpose(-2, -1) : image).clone(at::MemoryFormat::Contiguous);
}

at::Tensor SpectralFilter::from_working(const at::Tensor& image) const { return transposed_ ? image.transpose(-2, -1) : image; }

at::Tensor SpectralFilter::apply(const at::Tensor& image, const at::Tensor& weights) const {
  at::Tensor spectrum = axes_.empty() ? image.clone() : plain_dft(image, axes_, true);
  scale(spectrum, weights);
  return axes_.empty() ? spectrum : plain_dft(spectrum, axes_, false);
}

}  // namespace postrec
