#include "jacobian_gain.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "../batched_vectors.hpp"

namespace postrec {
namespace {

// The length of the step along v, double [B] where the data are: v^H S v over v^H (A V A^H + sigma_y^2 I) v, at most 1; 0 where the latter is not positive, which a
// network's Jacobian may bring about. `left_over` is sigma_y^2 v, `pull` A^H of it, `change` V A^H v.
at::Tensor step_length(const at::Tensor& left_over, const at::Tensor& pull, const at::Tensor& change, const SpectralCovariance& covariance, double sigma_y) {
  const at::Tensor by_table = covariance.apply_factor_adjoint(pull);
  const at::Tensor noise = batched_dot(left_over, left_over);
  const at::Tensor of_table = noise + batched_dot(by_table, by_table) / (sigma_y * sigma_y), of_jacobian = noise + batched_dot(pull, change);
  return (of_table / of_jacobian).clamp_max(1.0).where(of_jacobian.gt(0.0), at::zeros_like(noise));
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
  const double sigma_y = likelihood.sigma_y(), ratio = sigma / sigma_y;
  const at::Tensor left_over = linear_combination(1.0, likelihood.y() - op.forward(x0), sigma_y, white_data);
  const at::Tensor pull = op.adjoint(left_over), product = denoised.jacobian_product(pull);
  at::Tensor change = linear_combination(ratio * ratio, product, 0.0, product);
  const at::Tensor step = step_length(left_over, pull, change, covariance, sigma_y);
  change = scaled(step, change);
  const at::Tensor explained = scaled(step, left_over) + op.forward(change);
  SolveReport solve;
  const at::Tensor of_table = likelihood.gain(explained, covariance, options, solve);
  keep_the_worse(report, solve);
  return x0 + (change - of_table);
}

}  // namespace postrec
