#include "data_consistency.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "../batched_vectors.hpp"
#include "postrec/linear_solve.hpp"

namespace postrec {

at::Tensor data_residual(const SamplingTask& task, const at::Tensor& x0, LevelRecord& record) {
  const GaussianLikelihood& likelihood = *task.likelihood;
  const at::Tensor residual = likelihood.y() - likelihood.op().forward(x0);
  if (record.misfit.empty()) {
    record.misfit = dots(residual, residual);
    for (double& value : record.misfit) value /= static_cast<double>(std::max<std::int64_t>(likelihood.n_measured(), 1)) * likelihood.sigma_y() * likelihood.sigma_y();
  }
  return residual;
}

at::Tensor regularised_back_projection(const SamplingTask& task, double lambda, const at::Tensor& v, LevelRecord& record) {
  const Operator& op = task.likelihood->op();
  const at::Tensor b = op.adjoint(v);
  if (op.traits().has_normal_solve) return op.normal_solve(lambda, b);
  at::Tensor x = at::zeros_like(b);
  const auto system = [&](const at::Tensor& u) { return linear_combination(1.0, op.normal(u), lambda, u); };
  keep_the_worse(record.solve, conjugate_gradients(system, {}, b, x, task.solve));
  return x;
}

double ancestral_share(const SamplingTask& task, const GuidanceCall& call) {
  const auto eta = task.settings.find("eta");
  const double ratio = call.next_sigma / call.sigma;
  const double fresh = eta == task.settings.end() ? 1.0 : eta->second;
  return 1.0 - ratio * std::sqrt(1.0 - fresh * fresh * (1.0 - ratio * ratio));
}

}  // namespace postrec
