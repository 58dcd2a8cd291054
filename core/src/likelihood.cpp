#include "postrec/likelihood.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "batched_vectors.hpp"
#include "postrec/shape_text.hpp"
#include "spectral_transform.hpp"
#include "white_preconditioner.hpp"

namespace postrec {

/// The diagonal of H = Q^H A^H A Q for the preconditioner 1/(1 + c d/sigma_y^2), estimated with random signs e: E[e H e] = d. [Bekas 2007]
/// Exact where H is diagonal, as for one coil and the DFT.
class GaussianLikelihood::Spectrum {
 public:
  /// d [C, H, W], frequency 0 first; undefined where A^H A is closer to diagonal in pixels than in the basis, as for masks of pixels:
  /// there d costs up to half as many iterations again, while it saves two thirds of them with several coils and 95 % of them in CT.
  at::Tensor diagonal(const Operator& op, SpectralBasis basis, const at::Device& device) {
    const std::lock_guard lock(mutex_);
    const auto found = diagonals_.find(basis);
    return found != diagonals_.end() ? found->second : diagonals_[basis] = choose(op, basis, device);
  }

  /// The root of a low quantile of d over what is seen; 0 without d.
  double least_gain(const Operator& op, SpectralBasis basis, const at::Device& device) {
    const at::Tensor d = diagonal(op, basis, device);
    const std::lock_guard lock(mutex_);
    const auto found = least_gains_.find(basis);
    return found != least_gains_.end() ? found->second : least_gains_[basis] = low_quantile(d);
  }

 private:
  static double low_quantile(const at::Tensor& diagonal) {
    constexpr double kSeen = 0.01, kQuantile = 0.1;
    if (!diagonal.defined()) return 0.0;
    const double largest = diagonal.max().item<double>();
    if (!(largest > 0.0)) return 0.0;
    const at::Tensor seen = std::get<0>(diagonal.masked_select(diagonal.gt(kSeen * largest)).sort());
    return std::sqrt(seen[static_cast<std::int64_t>(kQuantile * static_cast<double>(seen.numel()))].item<double>());
  }

  struct Estimate {
    at::Tensor diagonal;
    double share = 0.0;                        ///< of the energy of the matrix that lies on its diagonal
  };

  static at::Tensor choose(const Operator& op, SpectralBasis basis, const at::Device& device) {
    const Estimate in_pixels = estimate(op, device, [&](const at::Tensor& x) { return op.normal(x); });
    const Estimate in_basis = estimate(op, device, [&](const at::Tensor& k) {
      return to_natural_basis(basis, op.normal(from_natural_basis(basis, k)));
    });
    // Where A^H A is diagonal in both, as for one coil and all of k-space, rounding shall not decide: only the basis helps there.
    constexpr double kTie = 0.99;
    return in_basis.share >= kTie * in_pixels.share ? in_basis.diagonal : at::Tensor();
  }

  static Estimate estimate(const Operator& op, const at::Device& device, const LinearMap& matrix) {
    constexpr int kProbes = 8;
    constexpr std::uint64_t kSeed = 0x64696167;  // any: the estimate only steers the speed
    const TensorSpec domain = op.domain();
    const double bound = op.norm_bound();
    Estimate estimate{at::zeros(domain.shape, at::TensorOptions().device(device))};
    double energy = 0.0;
    for (int probe = 0; probe < kProbes; ++probe) {
      const at::Tensor signs = RandomStreams(kSeed, probe, 1).signs(0, domain.shape, device);
      const at::Tensor product = matrix(signs.to(domain.dtype));
      energy += dots(product, product).front() / kProbes;
      estimate.diagonal += (product.is_complex() ? at::real(product) : product).mul(signs).squeeze(0) / kProbes;
    }
    estimate.diagonal.clamp_(0.0, bound * bound);
    const at::Tensor row = estimate.diagonal.unsqueeze(0);
    estimate.share = energy > 0.0 ? dots(row, row).front() / energy : 0.0;
    return estimate;
  }

  std::mutex mutex_;
  std::map<SpectralBasis, at::Tensor> diagonals_;
  std::map<SpectralBasis, double> least_gains_;
};

namespace {

// The eigenvalue, when there is one alone; else 0.
double flat_eigenvalue(const SpectralCovariance& covariance) {
  const at::Tensor& eigenvalues = covariance.eigenvalues();
  if (covariance.has_envelope()) return 0.0;
  const double largest = eigenvalues.max().item<double>();
  return eigenvalues.min().item<double>() == largest ? largest : 0.0;
}

void check_sigma_y(double sigma_y) {
  if (!(sigma_y > 0.0) || !std::isfinite(sigma_y))
    throw Error(ErrorKind::kBadData, "sigma_y is " + std::to_string(sigma_y), "the noise standard deviation must be positive");
}

}  // namespace

at::Tensor measured_entries(const Operator& op, const at::Device& device) {
  const TensorSpec domain = op.domain();
  const at::Tensor probe = RandomStreams(0, 0, 1).normal(0, domain.shape, domain.dtype, device);
  return op.forward(probe).squeeze(0).abs().gt(0);
}

GaussianLikelihood::GaussianLikelihood(std::shared_ptr<const Operator> op, at::Tensor y, double sigma_y)
    : op_(std::move(op)), y_(std::move(y)), sigma_y_(sigma_y), spectrum_(std::make_shared<Spectrum>()) {
  if (!op_->traits().linear) throw Error(ErrorKind::kUsage, "the operator is not linear", "the samplers need a linear operator");
  const TensorSpec expected = op_->codomain();
  if (y_.scalar_type() != expected.dtype || y_.sizes() != at::IntArrayRef(expected.shape))
    throw Error(ErrorKind::kBadData, "the measurement is " + shape_text(y_.sizes()) + " of " + c10::toString(y_.scalar_type()),
                "the operator measures " + shape_text(expected.shape) + " of " + c10::toString(expected.dtype));
  if (!at::isfinite(y_).all().item<bool>())
    throw Error(ErrorKind::kBadData, "the measurement holds NaN or infinity", "every number of it must be finite");
  check_sigma_y(sigma_y_);
  const at::Tensor measured = measured_entries(*op_, y_.device());
  const std::int64_t n_entries = measured.sum().item<std::int64_t>();
  n_measured_ = n_entries * (y_.is_complex() ? 2 : 1);
  if (n_entries < y_.numel()) y_ = times_table(y_.unsqueeze(0), measured.to(at::kFloat)).squeeze(0);
}

double GaussianLikelihood::annealed_sigma_y(SpectralBasis basis, double covering) const {
  return covering > 0.0 ? std::max(sigma_y_, spectrum_->least_gain(*op_, basis, y_.device()) * covering) : sigma_y_;
}

GaussianLikelihood GaussianLikelihood::with_sigma_y(double sigma_y) const {
  check_sigma_y(sigma_y);
  GaussianLikelihood result = *this;
  result.sigma_y_ = sigma_y;
  return result;
}

std::vector<double> GaussianLikelihood::chi2_of_residual(const at::Tensor& residual) const {
  std::vector<double> chi2 = dots(residual, residual);
  for (double& value : chi2) value /= static_cast<double>(std::max<std::int64_t>(n_measured_, 1)) * sigma_y_ * sigma_y_;
  return chi2;
}

at::Tensor GaussianLikelihood::reduced_chi2(const at::Tensor& x) const {
  // One by one: all samples of a run come here together, and their measurements are many times as large.
  std::vector<double> all;
  for (std::int64_t b = 0; b < x.size(0); ++b) all.push_back(chi2_of_residual(y_ - op_->forward(x.narrow(0, b, 1))).front());
  return at::tensor(all, at::kFloat);
}

/// H = I + F^H A^H A F/sigma_y^2, and what is close to its inverse (empty: nothing is).
struct GaussianLikelihood::WhiteSystem {
  LinearMap apply, precondition;
};

GaussianLikelihood::WhiteSystem GaussianLikelihood::white_system(const SpectralCovariance& covariance, const at::Device& device) const {
  const double precision = 1.0 / (sigma_y_ * sigma_y_);
  WhiteSystem system;
  system.apply = [this, covariance, precision](const at::Tensor& u) {
    return linear_combination(1.0, u, precision, covariance.apply_factor_adjoint(op_->normal(covariance.apply_factor(u))));
  };
  if (const at::Tensor diagonal = spectrum_->diagonal(*op_, covariance.basis(), device); diagonal.defined())
    system.precondition = white_preconditioner(covariance, diagonal * precision);
  return system;
}

at::Tensor GaussianLikelihood::white_backprojection(const at::Tensor& r, const SpectralCovariance& covariance) const {
  const at::Tensor backprojected = covariance.apply_factor_adjoint(op_->adjoint(r));
  return linear_combination(1.0 / (sigma_y_ * sigma_y_), backprojected, 0.0, backprojected);
}

SolveReport GaussianLikelihood::solve(const at::Tensor& right_side, const SpectralCovariance& covariance, at::Tensor& u, const SolveOptions& options) const {
  const WhiteSystem system = white_system(covariance, right_side.device());
  // u ~ N(H^-1 b, H^-1): the draw is spread about its mean by sqrt(n) in the norm of H, n real components. The solver's error e has the norm
  // e^H H e = r^H H^-1 r, about r^H M r. So a tolerance relative to sqrt(n) bounds the error by what it must be small against, at every sigma.
  const double spread = std::sqrt(static_cast<double>(real_components(right_side)));
  return conjugate_gradients(system.apply, system.precondition, right_side, u, options, spread);
}

at::Tensor GaussianLikelihood::draw_posterior(const at::Tensor& mean, const SpectralCovariance& covariance, const at::Tensor& white_image,
                                              const at::Tensor& white_data, const SolveOptions& options, SolveReport& report,
                                              std::vector<double>* mean_chi2) const {
  const at::Tensor residual = y_ - op_->forward(mean), perturbed = linear_combination(1.0, residual, sigma_y_, white_data);
  if (mean_chi2) *mean_chi2 = chi2_of_residual(residual);

  const double flat = op_->traits().has_normal_solve ? flat_eigenvalue(covariance) : 0.0;
  if (flat > 0.0) {
    // C = c I: (A^H A + lambda I)(x0 - mean) = A^H (y - A mean + sigma_y n2) + lambda sqrt(c) n1, lambda = sigma_y^2/c
    const double lambda = sigma_y_ * sigma_y_ / flat;
    report = {};
    return mean + op_->normal_solve(lambda, linear_combination(1.0, op_->adjoint(perturbed), lambda, covariance.apply_factor(white_image)));
  }

  // x0 = mean + F u with (I + F^H A^H A F/sigma_y^2) u = F^H A^H (y - A mean + sigma_y n2)/sigma_y^2 + n1
  at::Tensor u = white_image;
  report = solve(linear_combination(1.0, white_backprojection(perturbed, covariance), 1.0, white_image), covariance, u, options);
  return mean + covariance.apply_factor(u);
}

at::Tensor GaussianLikelihood::gain(const at::Tensor& r, const SpectralCovariance& covariance, const SolveOptions& options, SolveReport& report) const {
  const at::Tensor right_side = white_backprojection(r, covariance);
  at::Tensor u = at::zeros_like(right_side);
  report = solve(right_side, covariance, u, options);
  return covariance.apply_factor(u);
}

std::vector<double> GaussianLikelihood::data_distance(const at::Tensor& mean, const SpectralCovariance& covariance, at::Tensor& u, const SolveOptions& options,
                                                      SolveReport& report) const {
  const at::Tensor residual = y_ - op_->forward(mean), right_side = white_backprojection(residual, covariance);
  if (!u.defined()) u = at::zeros_like(right_side);
  report = solve(right_side, covariance, u, options);
  const at::Tensor unexplained = residual - op_->forward(covariance.apply_factor(u));
  const std::vector<double> in_data = dots(unexplained, unexplained);
  std::vector<double> distance = dots(u, u);
  for (std::size_t i = 0; i < distance.size(); ++i) distance[i] += in_data[i] / (sigma_y_ * sigma_y_);
  return distance;
}

}  // namespace postrec
