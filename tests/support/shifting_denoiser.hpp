#pragma once

#include <ATen/ATen.h>

#include <utility>

#include "postrec/gaussian_prior.hpp"

namespace postrec::test {

/// Real images whose spectrum falls smoothly, .01 at high frequencies and 4 at 0.
inline GaussianPrior smooth_gaussian() {
  const at::Tensor f = at::arange(64, at::kDouble) / 128.0;
  const at::Tensor spectrum = 0.01 + 4.0 / (1.0 + (f.square().unsqueeze(1) + f.square().unsqueeze(0)) * 400.0);
  return GaussianPrior(SpectralBasis::kDct, spectrum.to(at::kFloat).unsqueeze(0), at::zeros({1}), 0.0, {"smooth", "CC0", "nothing", PriorIntensity::kUnit, ""});
}

/// The exact denoiser of a Gaussian prior but for the mean of an image, which it shifts by `shift` up or down, as it finds the image brighter above or below: for one image
/// the same at every noise level. So networks err.
struct ShiftingDenoiser {
  GaussianPrior prior;
  double shift;

  at::Tensor operator()(const at::Tensor& x_t, double sigma) const {
    const at::Tensor wave = at::cos(at::arange(x_t.size(2), at::kFloat) * (3.141592653589793 / static_cast<double>(x_t.size(2)))).view({1, 1, -1, 1});
    return prior.denoise(x_t, sigma) + (x_t * wave).mean(at::IntArrayRef{1, 2, 3}, true).sign() * shift;
  }
};

}  // namespace postrec::test
