#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "exact_posterior.hpp"

namespace postrec::test {

/// How much of the samples [N, n] each component of a mixture holds: the mean of the probabilities that a sample belongs to it.
inline std::vector<double> mode_weights(const ExactPosterior& posterior, const at::Tensor& x) {
  std::vector<at::Tensor> log_densities;
  for (std::size_t k = 0; k < posterior.means.size(); ++k) {
    const at::Tensor jitter = 1e-12 * at::eye(x.size(1), at::kDouble);
    const at::Tensor root = at::linalg_cholesky(posterior.covariances[k] + jitter);
    const at::Tensor white = at::linalg_solve_triangular(root, (x - posterior.means[k]).t(), /*upper=*/false);
    log_densities.push_back(std::log(posterior.weights[k]) - root.diagonal().log().sum() - 0.5 * white.square().sum(0));
  }
  const at::Tensor shares = at::softmax(at::stack(log_densities), 0).mean(1).contiguous();
  return {shares.const_data_ptr<double>(), shares.const_data_ptr<double>() + shares.numel()};
}

/// The largest error of the samples' mode weights.
inline double weight_error(const ExactPosterior& posterior, const at::Tensor& x) {
  const std::vector<double> weights = mode_weights(posterior, x);
  double largest = 0.0;
  for (std::size_t k = 0; k < weights.size(); ++k) largest = std::max(largest, std::abs(weights[k] - posterior.weights[k]));
  return largest;
}

}  // namespace postrec::test
