#include "postrec/mixture_prior.hpp"

#include <ATen/ATen.h>

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

// One number per sample as a column that multiplies [B, C, H, W].
at::Tensor column(const std::vector<double>& values, const at::Tensor& like) {
  return at::tensor(values, at::kDouble).to(like.device(), at::kFloat).view({-1, 1, 1, 1});
}

at::Tensor times_column(const at::Tensor& x, const at::Tensor& column) {
  return x.is_complex() ? at::view_as_complex(real_view(x) * column.unsqueeze(-1)) : x * column;
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

std::vector<std::vector<double>> MixturePrior::responsibilities(const at::Tensor& x_in_basis, double sigma) const {
  const std::int64_t n_samples = x_in_basis.size(0);
  const std::size_t n_components = components_.size();
  std::vector<std::vector<double>> weights(n_samples, std::vector<double>(n_components, 1.0));
  if (n_components == 1) return weights;
  for (std::size_t k = 0; k < n_components; ++k) {
    const at::Tensor variance = spectra_[k].to(x_in_basis.device()) + sigma * sigma;
    const at::Tensor whitened = times_table(x_in_basis - means_in_basis_[k].to(x_in_basis.device()), variance.rsqrt());
    const std::vector<double> distances = dots(whitened, whitened);
    const double log_determinant = variance.to(at::kDouble).log().sum().item<double>() * (x_in_basis.is_complex() ? 2.0 : 1.0);
    for (std::int64_t b = 0; b < n_samples; ++b) weights[b][k] = std::log(components_[k].weight) - 0.5 * (distances[b] + log_determinant);
  }
  for (std::vector<double>& row : weights) {
    const double largest = *std::max_element(row.begin(), row.end());
    double total = 0.0;
    for (double& w : row) total += w = std::exp(w - largest);
    for (double& w : row) w /= total;
  }
  return weights;
}

at::Tensor MixturePrior::denoise_in_basis(const at::Tensor& x, double sigma, const std::vector<std::vector<double>>& weights) const {
  at::Tensor result = at::zeros_like(x);
  std::vector<double> of_component(weights.size());
  for (std::size_t k = 0; k < components_.size(); ++k) {
    const at::Tensor mean = means_in_basis_[k].to(x.device()), s = spectra_[k].to(x.device());
    const at::Tensor denoised = mean + times_table(x - mean, s / (s + sigma * sigma));
    std::transform(weights.begin(), weights.end(), of_component.begin(), [k](const std::vector<double>& row) { return row[k]; });
    result = result + times_column(denoised, column(of_component, x));
  }
  return result;
}

at::Tensor MixturePrior::denoise(const at::Tensor& x_t, double sigma) const {
  const at::Tensor x = to_natural_basis(basis_, x_t);
  return from_natural_basis(basis_, denoise_in_basis(x, sigma, responsibilities(x, sigma)));
}

SpectralCovariance MixturePrior::error_covariance(double sigma, const std::vector<std::int64_t>& image_shape) const {
  if (image_shape != components_[0].mean.sizes().vec())
    throw Error(ErrorKind::kBadData, "mixture prior '" + info_.name + "' is for images of one size", "reconstruct images of that size");
  return error_table().at_sigma(sigma);
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
    for (std::size_t from = 0; from < components_.size(); ++from) {
      const at::Tensor noise = streams.normal(from, spec.shape, spec.dtype);
      const at::Tensor x = means_in_basis_[from] + times_table(noise, (spectra_[from] + sigma * sigma).sqrt());
      const std::vector<std::vector<double>> weights = responsibilities(x, sigma);
      const at::Tensor denoised = denoise_in_basis(x, sigma, weights);
      std::vector<double> of_component(weights.size());
      for (std::size_t k = 0; k < components_.size(); ++k) {
        const at::Tensor shrink = spectra_[k] / (spectra_[k] + sigma * sigma);
        const at::Tensor gap = means_in_basis_[k] + times_table(x - means_in_basis_[k], shrink) - denoised;
        std::transform(weights.begin(), weights.end(), of_component.begin(), [k](const std::vector<double>& row) { return row[k]; });
        const at::Tensor spread = at::abs(gap).to(at::kDouble).square() * column(of_component, x).to(at::kDouble);
        error += components_[from].weight / parts * spread.mean(0);
      }
    }
  }
  return from_natural_order(basis_, error.to(at::kFloat));
}

}  // namespace postrec
