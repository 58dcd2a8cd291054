#include "postrec/mixture_prior.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"
#include "postrec/random.hpp"
#include "spectral_transform.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kErrorSamples = 512;    // per component and noise level
constexpr std::uint64_t kErrorSeed = 0x6d6978;

void check(const std::vector<MixturePrior::Component>& components, SpectralBasis basis) {
  if (components.empty()) throw Error(ErrorKind::kBadData, "a mixture without a component", "give at least one");
  for (const MixturePrior::Component& component : components) {
    const bool same = component.mean.sizes() == components[0].mean.sizes() && component.mean.scalar_type() == components[0].mean.scalar_type();
    if (!same || component.mean.dim() != 3 || component.spectrum.sizes() != component.mean.sizes())
      throw Error(ErrorKind::kBadData, "the means and spectra of a mixture differ in shape or type", "all must be [C, H, W]");
    if (basis == SpectralBasis::kDct && component.mean.is_complex())
      throw Error(ErrorKind::kBadData, "a mixture of complex images in the DCT basis", "use the DFT");
    if (!(component.weight > 0.0) || component.spectrum.scalar_type() != at::kFloat || !component.spectrum.gt(0.0).all().item<bool>())
      throw Error(ErrorKind::kBadData, "a weight or spectrum of a mixture is not positive", "leave empty components out");
  }
}

// One number per sample, [B], as a column that multiplies [B, C, H, W].
at::Tensor column(const at::Tensor& values) { return values.view({-1, 1, 1, 1}); }

at::Tensor times_column(const at::Tensor& x, const at::Tensor& column) {
  return x.is_complex() ? at::view_as_complex(real_view(x) * column.unsqueeze(-1)) : x * column;
}

// Squared norm of each sample, double [B]: in an order that no other sample changes, or through ATen where a graph is wanted.
at::Tensor squared_norms(const at::Tensor& x) {
  if (x.requires_grad() && at::GradMode::is_enabled()) return real_view(x).to(at::kDouble).square().flatten(1).sum(1);
  return at::tensor(dots(x, x), at::kDouble).to(x.device());
}

at::Tensor white(double sigma, const at::Device& device) {
  return at::full({1, 1, 1}, sigma * sigma, at::TensorOptions().dtype(at::kFloat).device(device));
}

}  // namespace

MixturePrior::MixturePrior(SpectralBasis basis, std::vector<Component> components, PriorInfo info)
    : basis_(basis), components_(std::move(components)), info_(std::move(info)) {
  check(components_, basis_);
  double total = 0.0;
  for (const Component& component : components_) total += component.weight;
  for (Component& component : components_) {
    component.weight /= total;
    means_in_basis_.push_back(to_natural_basis(basis_, component.mean));
    spectra_.push_back(to_natural_order(basis_, component.spectrum));
  }
}

const ErrorTable& MixturePrior::error_table() const {
  std::call_once(table_->once, [&] {
    const std::vector<double> sigmas = ErrorTable::standard_sigmas();
    std::vector<at::Tensor> errors;
    for (const double sigma : sigmas) errors.push_back(measure_error(sigma));
    table_->table.emplace(basis_, sigmas, at::stack(errors));
  });
  return *table_->table;
}

TensorSpec MixturePrior::domain() const { return {components_[0].mean.sizes().vec(), components_[0].mean.scalar_type()}; }

SigmaRange MixturePrior::range() const {
  double largest = 0.0, mean = 0.0;
  for (std::size_t k = 0; k < components_.size(); ++k) {
    largest = std::max(largest, spectra_[k].max().item<double>() + at::abs(means_in_basis_[k]).square().max().item<double>());
    mean += components_[k].weight * spectra_[k].mean().item<double>();
  }
  return {0.01 * std::sqrt(mean), 10.0 * std::sqrt(largest)};
}

at::Tensor MixturePrior::responsibilities(const at::Tensor& x_in_basis, const at::Tensor& noise) const {
  std::vector<at::Tensor> log_weights;
  for (std::size_t k = 0; k < components_.size(); ++k) {
    const at::Tensor variance = spectra_[k].to(x_in_basis.device()) + noise;
    const at::Tensor whitened = times_table(x_in_basis - means_in_basis_[k].to(x_in_basis.device()), variance.rsqrt());
    const double log_determinant = variance.to(at::kDouble).log().sum().item<double>() * (x_in_basis.is_complex() ? 2.0 : 1.0);
    log_weights.push_back(-0.5 * squared_norms(whitened) + (std::log(components_[k].weight) - 0.5 * log_determinant));
  }
  return at::softmax(at::stack(log_weights, 1), 1);
}

at::Tensor MixturePrior::denoise_in_basis(const at::Tensor& x, const at::Tensor& noise, const at::Tensor& weights) const {
  at::Tensor result = at::zeros_like(x);
  for (std::size_t k = 0; k < components_.size(); ++k) {
    const at::Tensor mean = means_in_basis_[k].to(x.device()), s = spectra_[k].to(x.device());
    const at::Tensor denoised = mean + times_table(x - mean, s / (s + noise));
    result = result + times_column(denoised, column(weights.select(1, static_cast<std::int64_t>(k)).to(at::kFloat)));
  }
  return result;
}

at::Tensor MixturePrior::denoise(const at::Tensor& x_t, double sigma) const {
  const at::Tensor x = to_natural_basis(basis_, x_t), variance = white(sigma, x_t.device());
  return from_natural_basis(basis_, denoise_in_basis(x, variance, responsibilities(x, variance)));
}

at::Tensor MixturePrior::denoise_under(const at::Tensor& z, const SpectralNoise& noise) const {
  const at::Tensor x = to_natural_basis(basis_, z), variance = noise.natural_variance().squeeze(0);
  return from_natural_basis(basis_, denoise_in_basis(x, variance, responsibilities(x, variance)));
}

SpectralCovariance MixturePrior::error_covariance(double sigma, const std::vector<std::int64_t>& image_shape) const {
  if (image_shape != components_[0].mean.sizes().vec())
    throw Error(ErrorKind::kBadData, "mixture prior '" + info_.name + "' is for images of one size", "reconstruct images of that size");
  return error_table().at_sigma(sigma, image_shape);
}

// E Cov(x0 | x_t) = E sum_k r_k (V_k + |D_k - D|^2) on the diagonal, V_k = s_k sigma^2/(s_k + sigma^2): the Monte Carlo error is in the
// second term alone. The first has E r_k = w_k. Samples are drawn component by component, with weights w_k.
at::Tensor MixturePrior::measure_error(double sigma) const {
  at::Tensor error = at::zeros_like(spectra_[0], at::kDouble);
  for (std::size_t k = 0; k < components_.size(); ++k)
    error += components_[k].weight * (spectra_[k] * (sigma * sigma) / (spectra_[k] + sigma * sigma)).to(at::kDouble);
  if (components_.size() > 1) {
    const TensorSpec spec = domain();
    const RandomStreams streams(kErrorSeed, 0, kErrorSamples);
    const double parts = spec.dtype == at::kComplexFloat ? 2.0 : 1.0;
    const at::Tensor variance = white(sigma, at::kCPU);
    for (std::size_t from = 0; from < components_.size(); ++from) {
      const at::Tensor noise = streams.normal(from, spec.shape, spec.dtype);
      const at::Tensor x = means_in_basis_[from] + times_table(noise, (spectra_[from] + sigma * sigma).sqrt());
      const at::Tensor weights = responsibilities(x, variance);
      const at::Tensor denoised = denoise_in_basis(x, variance, weights);
      for (std::size_t k = 0; k < components_.size(); ++k) {
        const at::Tensor shrink = spectra_[k] / (spectra_[k] + sigma * sigma);
        const at::Tensor gap = means_in_basis_[k] + times_table(x - means_in_basis_[k], shrink) - denoised;
        const at::Tensor spread = at::abs(gap).to(at::kDouble).square() * column(weights.select(1, static_cast<std::int64_t>(k)));
        error += components_[from].weight / parts * spread.mean(0);
      }
    }
  }
  return from_natural_order(basis_, error.to(at::kFloat));
}

}  // namespace postrec
