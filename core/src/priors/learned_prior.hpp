#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "postrec/error_table.hpp"
#include "postrec/prior.hpp"

namespace postrec {

// What learned priors of every kind share.

/// Throws Error(kBadData) unless the table is of this basis and number of channels, and 0 < minimum < maximum.
void check_learned_prior(const std::string& name, const ErrorTable& errors, SpectralBasis basis, std::int64_t channels, SigmaRange range);

/// denoise(x_t) image by image on the CPU, without a graph unless x_t asks for one. The kernels of a convolution, and with them the order of
/// its sums, depend on the batch: alone, an image has the same bits in every batch. On other devices all images together: they would wait for work one by one.
at::Tensor denoise_one_by_one(const at::Tensor& x_t, const std::function<at::Tensor(const at::Tensor&)>& denoise);

/// A network sees a complex image as two real channels: [B, C, H, W] complex -> [B, 2C, H, W], a real image as it is; and back.
at::Tensor to_channels(const at::Tensor& x);
at::Tensor from_channels(const at::Tensor& x, bool is_complex);

}  // namespace postrec
