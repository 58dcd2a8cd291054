#include "postrec/conditional_denoiser.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

#include "postrec/error.hpp"

namespace postrec {

ConditionalDenoiser::ConditionalDenoiser(DenoisingNetwork network, const GaussianLikelihood& likelihood)
    : network_(std::move(network)), measurement_(network_.gaussian().basis(), likelihood) {
  if (network_.network().config().conditions == 0)
    throw Error(ErrorKind::kConfiguration, "this prior knows white noise only", "train it with --conditional masked-fourier");
}

at::Tensor ConditionalDenoiser::denoise(const at::Tensor& x_t, double sigma) const {
  const at::AutoGradMode graph(at::GradMode::is_enabled() && x_t.requires_grad());
  const Pivot pivot = measurement_.pivot(x_t, sigma);
  return network_.denoise(pivot.z, pivot.noise);
}

}  // namespace postrec
