#include "jacobian_gain.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "../batched_vectors.hpp"

namespace postrec {
namespace {

// Root mean square errors of the denoised image. The data can take away no more than one of these; what moves a draw much farther is the network's J being wrong, mostly
// where nothing was measured. Right ones were seen to go to 1.9, wrong ones from 2.2 to 6 (core/README.md).
constexpr double kFarthest = 2.0;

/// The first step of conjugate gradients for S', preconditioned by S, but at most 1; none without positive curvature. v^H S v and v^H S' v, double [B] where the data are.
at::Tensor conjugate_step(const at::Tensor& along_table, const at::Tensor& along_jacobian) {
  return (along_table / along_jacobian).where(along_jacobian.gt(0.0), at::zeros_like(along_table)).clamp_max(1.0);
}

/// What to take of a move of that step, whose square is `move`, the denoised image's error having the square `error`: all, but where a whole step leads beyond kFarthest, the less the
/// farther.
at::Tensor held_back(const at::Tensor& step, const at::Tensor& move, const at::Tensor& error) {
  const at::Tensor farthest = kFarthest * kFarthest * step * error / move.clamp_min(std::numeric_limits<double>::min());
  return farthest.clamp_max(1.0);
}

at::Tensor scaled(const at::Tensor& factors, const at::Tensor& x) {
  at::Tensor result = at::zeros_like(x, at::MemoryFormat::Contiguous);
  add_scaled(result, factors, x);
  return result;
}

}  // namespace

bool jacobian_says_more(const Prior& prior, const std::vector<std::int64_t>& image_shape, double sigma, std::size_t n_levels, const std::map<std::string, double>& settings) {
  const double from = settings.at("jacobian-from"), to = settings.at("jacobian-to");
  if (!prior.error_covariance_is_measured() || from >= to || static_cast<double>(n_levels) < settings.at("jacobian-levels")) return false;
  const double share = std::sqrt(prior.error_covariance(sigma, image_shape).eigenvalues().mean().item<double>()) / sigma;
  return from <= share && share < to;
}

std::vector<SamplerSetting> jacobian_settings() {
  return {{"jacobian-from", 0.09, 0.0, 1.0, "the denoiser's Jacobian shapes the draw at levels where the RMS error of the denoised image is at least so many times sigma"},
          {"jacobian-to", 0.3, 0.0, 1.0, "and less than so many times; 0: never"},
          {"jacobian-levels", 8.0, 1.0, 1e6, "in runs of at least so many levels"}};
}

at::Tensor with_gain_of_jacobian(const at::Tensor& x0, const DenoisedWithJacobian& denoised, double sigma, const GaussianLikelihood& likelihood,
                                 const SpectralCovariance& covariance, const at::Tensor& white_data, const SolveOptions& options, SolveReport& report) {
  const Operator& op = likelihood.op();
  const double variance = likelihood.sigma_y() * likelihood.sigma_y();
  const at::Tensor left_over = linear_combination(1.0, likelihood.y() - op.forward(x0), likelihood.sigma_y(), white_data);
  const at::Tensor pull = op.adjoint(left_over), by_table = covariance.apply_factor_adjoint(pull);
  const at::Tensor difference = linear_combination(sigma * sigma / variance, denoised.jacobian_product(pull), -1.0 / variance, covariance.apply_factor(by_table));
  const at::Tensor along_table = batched_dot(left_over, left_over) / variance + batched_dot(by_table, by_table) / (variance * variance);
  const at::Tensor step = conjugate_step(along_table, along_table + batched_dot(pull, difference) / variance), change = scaled(step, difference);
  SolveReport solve;
  const at::Tensor move = change - likelihood.gain(op.forward(change), covariance, options, solve);
  keep_the_worse(report, solve);
  return x0 + scaled(held_back(step, batched_dot(move, move), static_cast<double>(real_components(x0)) * covariance.mean_variance()), move);
}

}  // namespace postrec
