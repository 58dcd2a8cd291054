#include "white_preconditioner.hpp"

#include <ATen/ATen.h>

#include <limits>

#include "batched_vectors.hpp"
#include "spectral_transform.hpp"

namespace postrec {
namespace {

at::Tensor inverse_of_one_and(const at::Tensor& x) { return x.add(1.0).reciprocal(); }

/// S [B, 1, H, W] for an envelope between `least` and `most`, [B, 1, 1, 1]. No logarithm: ATen rounds those by where in the batch they stand.
at::Tensor share_of_least(const at::Tensor& envelope, const at::Tensor& least, const at::Tensor& most) {
  const at::Tensor middle = (least * most).sqrt(), range = (most - least).clamp_min(std::numeric_limits<float>::epsilon());
  return (most - envelope) * (middle + least) / (range * (middle + envelope));
}

}  // namespace

LinearMap white_preconditioner(const SpectralCovariance& covariance, const at::Tensor& diagonal) {
  const at::Tensor gain = covariance.factor_eigenvalues() * diagonal;
  if (!covariance.has_envelope())
    return [inverse = inverse_of_one_and(gain)](const at::Tensor& r) { return times_table(r, inverse); };
  const at::Tensor& envelope = covariance.envelope();
  const at::Tensor least = envelope.amin({-2, -1}, /*keepdim=*/true), most = envelope.amax({-2, -1}, /*keepdim=*/true);
  const at::Tensor everywhere = inverse_of_one_and(gain * most.square());
  const at::Tensor root = (inverse_of_one_and(gain * least.square()) - everywhere).clamp_min(0.0).sqrt(), share = share_of_least(envelope, least, most);
  return [basis = covariance.basis(), everywhere, root, share](const at::Tensor& r) {
    const at::Tensor by_place = times_table(from_natural_basis(basis, times_table(r, root)), share);
    return linear_combination(1.0, times_table(r, everywhere), 1.0, times_table(to_natural_basis(basis, by_place), root));
  };
}

}  // namespace postrec
