#include "postrec/network_prior.hpp"

#include <ATen/ATen.h>

#include <utility>

#include "learned_prior.hpp"

namespace postrec {

NetworkPrior::NetworkPrior(DenoisingNetwork network, ErrorTable errors, SigmaRange range, PriorInfo info)
    : network_(std::move(network)), errors_(std::move(errors)), range_(range), info_(std::move(info)) {
  check_learned_prior(info_.name, errors_, network_.gaussian().basis(), network_.gaussian().spectrum().size(0), range_);
}

at::Tensor NetworkPrior::denoise(const at::Tensor& x_t, double sigma) const {
  const at::Tensor level = at::full({1}, sigma, x_t.options().dtype(at::kFloat));
  return errors_.corrected(x_t, denoise_one_by_one(x_t, [&](const at::Tensor& image) { return network_.denoise(image, level); }), sigma);
}

at::Tensor NetworkPrior::denoise_under(const at::Tensor& z, const SpectralNoise& noise) const {
  if (network_.network().config().conditions == 0) return Prior::denoise_under(z, noise);
  return denoise_one_by_one(z, [&](const at::Tensor& image) { return network_.denoise(image, noise); });
}

}  // namespace postrec
