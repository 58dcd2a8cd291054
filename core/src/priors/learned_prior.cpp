#include "learned_prior.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <vector>

#include "postrec/error.hpp"

namespace postrec {

void check_learned_prior(const std::string& name, const ErrorTable& errors, SpectralBasis basis, std::int64_t channels, SigmaRange range) {
  if (errors.basis() != basis || errors.eigenvalues().size(1) != channels)
    throw Error(ErrorKind::kBadData, "prior '" + name + "': its error table is of another basis or number of channels than its denoiser", "measure the table again");
  if (!(range.minimum > 0.0) || !(range.maximum > range.minimum) || !std::isfinite(range.maximum))
    throw Error(ErrorKind::kBadData, "prior '" + name + "': noise range " + std::to_string(range.minimum) + " to " + std::to_string(range.maximum),
                "it must rise from above 0");
}

at::Tensor denoise_one_by_one(const at::Tensor& x_t, const std::function<at::Tensor(const at::Tensor&)>& denoise) {
  const at::AutoGradMode graph(at::GradMode::is_enabled() && x_t.requires_grad());
  if (!x_t.is_cpu() || x_t.size(0) < 2) return denoise(x_t);
  std::vector<at::Tensor> images;
  for (std::int64_t b = 0; b < x_t.size(0); ++b) images.push_back(denoise(x_t.narrow(0, b, 1)));
  return at::cat(images);
}

at::Tensor to_channels(const at::Tensor& x) { return x.is_complex() ? at::view_as_real(x).permute({0, 1, 4, 2, 3}).flatten(1, 2) : x; }

at::Tensor from_channels(const at::Tensor& x, bool is_complex) {
  return is_complex ? at::view_as_complex(x.unflatten(1, {-1, 2}).permute({0, 1, 3, 4, 2}).contiguous()) : x;
}

}  // namespace postrec
