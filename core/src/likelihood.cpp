#include "postrec/likelihood.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "batched_vectors.hpp"
#include "spectral_transform.hpp"

namespace postrec {

/// d = diag(Q^H A^H A Q), for the preconditioner 1/(1 + c d/sigma_y^2): estimated by random signs e, E[e Q^H A^H A Q e] = d,
/// and exact where A^H A is diagonal in the basis, as for one coil and the DFT. [Bekas 2007]
class GaussianLikelihood::Spectrum {
 public:
  at::Tensor diagonal(const Operator& op, SpectralBasis basis, const at::Device& device) {
    const std::lock_guard lock(mutex_);
    at::Tensor& diagonal = diagonals_[basis];
    if (!diagonal.defined()) diagonal = estimate(op, basis, device);
    return diagonal;
  }

 private:
  static at::Tensor estimate(const Operator& op, SpectralBasis basis, const at::Device& device) {
    constexpr int kProbes = 8;
    constexpr std::uint64_t kSeed = 0x64696167;  // any: the estimate only steers the speed
    const TensorSpec domain = op.domain();
    const double bound = op.norm_bound();
    at::Tensor sum;
    for (int probe = 0; probe < kProbes; ++probe) {
      const at::Tensor uniform = RandomStreams(kSeed, probe, 1).uniform(0, domain.shape).to(device);
      const at::Tensor signs = uniform.lt(0.5f).to(at::kFloat).mul(2.0f).sub(1.0f);
      const at::Tensor image = from_natural_basis(basis, signs.to(domain.dtype));
      at::Tensor product = to_natural_basis(basis, op.normal(image));
      if (product.is_complex()) product = at::real(product);
      product = product * signs;
      sum = sum.defined() ? sum + product : product;
    }
    return (sum / kProbes).clamp(0.0, bound * bound).squeeze(0);
  }

  std::mutex mutex_;
  std::map<SpectralBasis, at::Tensor> diagonals_;
};

namespace {

std::string shape_text(const at::Tensor& x) {
  std::string text = "[";
  for (std::int64_t i = 0; i < x.dim(); ++i) text += (i ? ", " : "") + std::to_string(x.size(i));
  return text + "] of " + c10::toString(x.scalar_type());
}

std::string shape_text(const TensorSpec& spec) {
  std::string text = "[";
  for (std::size_t i = 0; i < spec.shape.size(); ++i) text += (i ? ", " : "") + std::to_string(spec.shape[i]);
  return text + "] of " + c10::toString(spec.dtype);
}

}  // namespace

GaussianLikelihood::GaussianLikelihood(std::shared_ptr<const Operator> op, at::Tensor y, double sigma_y)
    : op_(std::move(op)), y_(std::move(y)), sigma_y_(sigma_y), spectrum_(std::make_shared<Spectrum>()) {
  if (!op_->traits().linear) throw Error(ErrorKind::kUsage, "the operator is not linear", "the samplers need a linear operator");
  const TensorSpec expected = op_->codomain();
  if (y_.scalar_type() != expected.dtype || y_.sizes() != at::IntArrayRef(expected.shape))
    throw Error(ErrorKind::kBadData, "the measurement is " + shape_text(y_), "the operator measures " + shape_text(expected));
  if (!at::isfinite(y_).all().item<bool>())
    throw Error(ErrorKind::kBadData, "the measurement holds NaN or infinity", "every number of it must be finite");
  if (!(sigma_y_ > 0.0) || !std::isfinite(sigma_y_))
    throw Error(ErrorKind::kBadData, "sigma_y is " + std::to_string(sigma_y_), "the noise standard deviation must be positive");
}

std::vector<double> GaussianLikelihood::chi2_of_residual(const at::Tensor& residual) const {
  std::vector<double> chi2 = dots(residual, residual);
  for (double& value : chi2) value /= static_cast<double>(real_components(residual)) * sigma_y_ * sigma_y_;
  return chi2;
}

at::Tensor GaussianLikelihood::reduced_chi2(const at::Tensor& x) const {
  return at::tensor(chi2_of_residual(y_ - op_->forward(x)), at::kFloat);
}

at::Tensor GaussianLikelihood::draw_posterior(const at::Tensor& mean, const SpectralCovariance& covariance, const at::Tensor& white_image,
                                              const at::Tensor& white_data, const SolveOptions& options, SolveReport& report,
                                              std::vector<double>* mean_chi2) const {
  const double precision = 1.0 / (sigma_y_ * sigma_y_);
  const at::Tensor residual = y_ - op_->forward(mean);
  if (mean_chi2) *mean_chi2 = chi2_of_residual(residual);
  const at::Tensor perturbed = op_->adjoint(linear_combination(1.0, residual, sigma_y_, white_data));

  // (I + F^H A^H A F/sigma_y^2) u = F^H A^H (y - A mean + sigma_y n2)/sigma_y^2 + n1
  const at::Tensor right_side = linear_combination(precision, covariance.apply_factor_adjoint(perturbed), 1.0, white_image);
  const at::Tensor gain = covariance.factor_eigenvalues() * spectrum_->diagonal(*op_, covariance.basis(), mean.device()) * precision;
  const at::Tensor inverse = gain.add(1.0).reciprocal();
  const auto system = [&](const at::Tensor& u) {
    return linear_combination(1.0, u, precision, covariance.apply_factor_adjoint(op_->normal(covariance.apply_factor(u))));
  };
  const auto precondition = [&](const at::Tensor& r) { return times_table(r, inverse); };
  at::Tensor u = white_image;
  report = conjugate_gradients(system, precondition, right_side, u, options);
  return mean + covariance.apply_factor(u);
}

}  // namespace postrec
