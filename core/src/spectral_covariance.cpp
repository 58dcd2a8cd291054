#include "postrec/spectral_covariance.hpp"

#include <ATen/ATen.h>

#include <utility>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"
#include "spectral_transform.hpp"

namespace postrec {

SpectralCovariance::SpectralCovariance(SpectralBasis basis, at::Tensor eigenvalues, Unchecked) : basis_(basis), eigenvalues_(std::move(eigenvalues)) {
  natural_ = to_natural_order(basis_, eigenvalues_);
  natural_sqrt_ = natural_.sqrt();
}

SpectralCovariance::SpectralCovariance(SpectralBasis basis, at::Tensor eigenvalues) : SpectralCovariance(basis, std::move(eigenvalues), Unchecked()) {
  if (eigenvalues_.scalar_type() != at::kFloat || (eigenvalues_.dim() != 3 && eigenvalues_.dim() != 4))
    throw Error(ErrorKind::kBadData, "the eigenvalues of a covariance are not float32 [C, H, W] or [B, C, H, W]", "give one table per channel");
  if (!(eigenvalues_.ge(0.0)).all().item<bool>())
    throw Error(ErrorKind::kBadData, "an eigenvalue of a covariance is negative or NaN", "variances are not negative");
}

SpectralCovariance SpectralCovariance::to(c10::Device device) const {
  if (eigenvalues_.device() == device) return *this;
  SpectralCovariance result = *this;
  for (at::Tensor* part : {&result.eigenvalues_, &result.natural_, &result.natural_sqrt_, &result.envelope_})
    if (part->defined()) *part = part->to(device);
  return result;
}

SpectralCovariance SpectralCovariance::scaled(const at::Tensor& factor) const {
  return SpectralCovariance(basis_, from_natural_order(basis_, natural_ * factor), Unchecked()).with_envelope(envelope_);
}

SpectralCovariance SpectralCovariance::with_envelope(const at::Tensor& envelope) const {
  SpectralCovariance result = *this;
  result.envelope_ = envelope;
  return result;
}

at::Tensor SpectralCovariance::mean_variance() const {
  const auto mean_square = [](const at::Tensor& x) {
    const at::Tensor batch = x.dim() == 3 ? x.unsqueeze(0) : x;
    return batched_dot(batch, batch) / static_cast<double>(batch[0].numel());
  };
  const at::Tensor of_spectrum = mean_square(natural_sqrt_);
  return envelope_.defined() ? of_spectrum * mean_square(envelope_) : of_spectrum;
}

at::Tensor SpectralCovariance::enveloped(const at::Tensor& x) const { return envelope_.defined() ? times_table(x, envelope_) : x; }

at::Tensor SpectralCovariance::apply(const at::Tensor& x) const {
  return enveloped(from_natural_basis(basis_, times_table(to_natural_basis(basis_, enveloped(x)), natural_)));
}

at::Tensor SpectralCovariance::apply_sqrt(const at::Tensor& x) const {
  if (has_envelope()) throw Error(ErrorKind::kInternal, "the square root of a covariance with an envelope is asked for", "use its factor");
  return from_natural_basis(basis_, times_table(to_natural_basis(basis_, x), natural_sqrt_));
}

at::Tensor SpectralCovariance::to_basis(const at::Tensor& x) const { return from_natural_order(basis_, to_natural_basis(basis_, x)); }

at::Tensor SpectralCovariance::from_basis(const at::Tensor& x) const { return from_natural_basis(basis_, to_natural_order(basis_, x)); }

at::Tensor SpectralCovariance::apply_factor(const at::Tensor& w) const { return enveloped(from_natural_basis(basis_, times_table(w, natural_sqrt_))); }

at::Tensor SpectralCovariance::apply_factor_adjoint(const at::Tensor& x) const {
  return times_table(to_natural_basis(basis_, enveloped(x)), natural_sqrt_);
}

}  // namespace postrec
