#include "jacobian_gain.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "../batched_vectors.hpp"

namespace postrec {
namespace {

// What the step may be longer than the one that leaves the least, of which gain it then keeps 1 - (kLonger - 1)^2 = .84; at 2 nothing is gained.
constexpr double kLonger = 1.4;

/// v^H S' v and its like, double [B] where the data are: S' by the Jacobian, S by the table.
struct Curvatures {
  at::Tensor of_table;                         ///< v^H S v
  at::Tensor of_jacobian;                      ///< v^H S' v
  at::Tensor of_image;                         ///< (S' v)^H S^-1 S' v
};

// Conjugate gradients for S', preconditioned by S, would take of_table / of_jacobian, for which S' must be symmetric. Of whatever a network's Jacobian makes, a step of
// of_jacobian / of_image leaves the least in the norm of S^-1. None without positive curvature.
at::Tensor step_length(const Curvatures& along) {
  const at::Tensor conjugate = along.of_table / along.of_jacobian, least = along.of_jacobian / along.of_image;
  return at::minimum(conjugate, kLonger * least).clamp_max(1.0).where(along.of_jacobian.gt(0.0), at::zeros_like(conjugate));
}

at::Tensor scaled(const at::Tensor& factors, const at::Tensor& x) {
  at::Tensor result = at::zeros_like(x, at::MemoryFormat::Contiguous);
  add_scaled(result, factors, x);
  return result;
}

void keep_the_worse(SolveReport& report, const SolveReport& other) {
  report.iterations = std::max(report.iterations, other.iterations);
  report.converged = report.converged && other.converged;
  report.worst_residual = std::max(report.worst_residual, other.worst_residual);
}

}  // namespace

bool jacobian_says_more(const Prior& prior, const std::vector<std::int64_t>& image_shape, double sigma, const std::map<std::string, double>& settings) {
  const double from = settings.at("jacobian-from"), to = settings.at("jacobian-to");
  if (!prior.error_covariance_is_measured() || from >= to) return false;
  const double share = std::sqrt(prior.error_covariance(sigma, image_shape).eigenvalues().mean().item<double>()) / sigma;
  return from <= share && share < to;
}

std::vector<SamplerSetting> jacobian_settings() {
  return {{"jacobian-from", 0.09, 0.0, 1.0, "the denoiser's Jacobian shapes the draw at levels where the RMS error of the denoised image is at least so many times sigma"},
          {"jacobian-to", 0.3, 0.0, 1.0, "and less than so many times; 0: never"}};
}

at::Tensor with_gain_of_jacobian(const at::Tensor& x0, const DenoisedWithJacobian& denoised, double sigma, const GaussianLikelihood& likelihood,
                                 const SpectralCovariance& covariance, const at::Tensor& white_data, const SolveOptions& options, SolveReport& report) {
  const Operator& op = likelihood.op();
  const double variance = likelihood.sigma_y() * likelihood.sigma_y();
  const at::Tensor left_over = linear_combination(1.0, likelihood.y() - op.forward(x0), likelihood.sigma_y(), white_data);
  const at::Tensor pull = op.adjoint(left_over), by_table = covariance.apply_factor_adjoint(pull), product = denoised.jacobian_product(pull);
  const at::Tensor change = linear_combination(sigma * sigma / variance, product, 0.0, product);
  SolveReport solve;
  at::Tensor u;
  const GaussianLikelihood::Explanation of_change = likelihood.explain(left_over + op.forward(change), covariance, u, options, solve);
  keep_the_worse(report, solve);
  const at::Tensor noise = batched_dot(left_over, left_over) / variance;
  const at::Tensor step = step_length({noise + batched_dot(by_table, by_table) / (variance * variance), noise + batched_dot(pull, change) / variance,
                                       at::tensor(of_change.distance, noise.options())});
  return x0 + scaled(step, change - of_change.gain);
}

}  // namespace postrec
