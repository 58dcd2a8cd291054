#include "jacobian_gain.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "../batched_vectors.hpp"

namespace postrec {
namespace {

// Root mean square errors of the denoised image. The data can take away no more than one of these; what moves a draw much farther is the network's J being wrong, mostly
// where nothing was measured. Right ones were seen to go to 1.9, wrong ones from 2.2 to 6 (core/README.md).
constexpr double kFarthest = 2.0;

/// What the step depends on, double [B] where the data are; v is the direction, S' has V where S has C.
struct Along {
  at::Tensor of_table;                         ///< v^H S v
  at::Tensor of_jacobian;                      ///< v^H S' v
  at::Tensor move, error;                      ///< squared: how far the whole step leads; how far, by C, the denoised image errs
};

// The first step of conjugate gradients for S', preconditioned by S: none without positive curvature. Beyond kFarthest the move gets shorter again, and less of it the wronger it is.
at::Tensor step_length(const Along& along) {
  const at::Tensor conjugate = (along.of_table / along.of_jacobian).where(along.of_jacobian.gt(0.0), at::zeros_like(along.of_table));
  const at::Tensor farthest = kFarthest * kFarthest * along.error / along.move.clamp_min(std::numeric_limits<double>::min());
  return at::minimum(conjugate, farthest).clamp_max(1.0);
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
  const at::Tensor move = change - likelihood.gain(left_over + op.forward(change), covariance, options, solve);
  keep_the_worse(report, solve);
  const at::Tensor noise = batched_dot(left_over, left_over) / variance;
  const double n_components = static_cast<double>(x0[0].numel()) * (x0.is_complex() ? 2.0 : 1.0);
  const at::Tensor step = step_length({noise + batched_dot(by_table, by_table) / (variance * variance), noise + batched_dot(pull, change) / variance,
                                       batched_dot(move, move), n_components * covariance.mean_variance()});
  return x0 + scaled(step, move);
}

}  // namespace postrec
