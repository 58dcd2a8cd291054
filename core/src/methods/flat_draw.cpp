#include "flat_draw.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace postrec {

namespace {

// As the bridge's `anneal`: the data have at least so many times the noise that follows. Without it c A^H A/sigma_y^2 is so large at high levels that
// 200 iterations do not arrive, and single precision holds nothing of what is not measured.
constexpr double kAnneal = 0.05;

}  // namespace

at::Tensor draw_about(const SamplingTask& task, const at::Tensor& mean, double variance, const at::Tensor& white_image,
                      const at::Tensor& white_data, double forgotten, LevelRecord& record) {
  // A white covariance is the same in every basis. The solver knows A^H A best in the prior's.
  const SpectralBasis basis = task.prior.error_covariance(std::sqrt(variance), task.image.shape).basis();
  const at::TensorOptions where = at::TensorOptions().dtype(at::kFloat).device(task.device);
  const SpectralCovariance covariance(basis, at::full(task.image.shape, variance, where));
  const double sigma_y = task.likelihood->annealed_sigma_y(basis, kAnneal * forgotten);
  SolveOptions options = task.solve;
  options.tolerance *= std::max(1.0, task.likelihood->op().norm_bound() * forgotten / sigma_y);
  SolveReport report;
  const GaussianLikelihood likelihood = task.likelihood->with_sigma_y(sigma_y);
  const at::Tensor x0 = likelihood.draw_posterior(mean, covariance, white_image, white_data, options, report, &record.misfit);
  const double ratio = sigma_y / task.likelihood->sigma_y();
  for (double& chi2 : record.misfit) chi2 *= ratio * ratio;
  record.solve.iterations = std::max(record.solve.iterations, report.iterations);
  record.solve.converged = record.solve.converged && report.converged;
  record.solve.worst_residual = std::max(record.solve.worst_residual, report.worst_residual);
  return x0;
}

std::vector<double> misfit_of(const GaussianLikelihood& likelihood, const at::Tensor& x) {
  const at::Tensor chi2 = likelihood.reduced_chi2(x).to(at::kCPU, at::kDouble).contiguous();
  return {chi2.const_data_ptr<double>(), chi2.const_data_ptr<double>() + chi2.numel()};
}

}  // namespace postrec
