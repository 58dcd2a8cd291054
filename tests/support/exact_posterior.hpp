#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "postrec/mixture_prior.hpp"
#include "postrec/operator.hpp"
#include "postrec/random.hpp"

namespace postrec::test {

/// Batches as rows of real numbers, [B, ...] -> double [B, n]: a complex number becomes two.
inline at::Tensor as_real_rows(const at::Tensor& x) {
  return (x.is_complex() ? at::view_as_real(x.resolve_conj()) : x).reshape({x.size(0), -1}).to(at::kDouble);
}
inline at::Tensor from_real_rows(const at::Tensor& rows, const TensorSpec& spec) {
  std::vector<std::int64_t> sizes = {rows.size(0)};
  sizes.insert(sizes.end(), spec.shape.begin(), spec.shape.end());
  if (spec.dtype != at::kComplexFloat) return rows.to(at::kFloat).view(sizes);
  sizes.push_back(2);
  return at::view_as_complex(rows.to(at::kFloat).view(sizes).contiguous());
}
inline std::int64_t real_size(const TensorSpec& spec) {
  std::int64_t n = spec.dtype == at::kComplexFloat ? 2 : 1;
  for (const std::int64_t size : spec.shape) n *= size;
  return n;
}

/// The matrix of a real-linear map, double [outputs, inputs], column by column.
inline at::Tensor dense_matrix(const std::function<at::Tensor(const at::Tensor&)>& map, const TensorSpec& input) {
  return as_real_rows(map(from_real_rows(at::eye(real_size(input), at::kDouble), input))).t().contiguous();
}

/// The posterior of a mixture prior (one component: a Gaussian) in closed form, by dense matrices over real components.
struct ExactPosterior {
  std::vector<double> weights;
  std::vector<at::Tensor> means;               ///< double [n]
  std::vector<at::Tensor> covariances;         ///< double [n, n]

  ExactPosterior(const MixturePrior& prior, const Operator& op, const at::Tensor& y, double sigma_y) {
    const TensorSpec domain = prior.domain();
    const at::Tensor a = dense_matrix([&](const at::Tensor& x) { return op.forward(x); }, op.domain());
    const at::Tensor data = as_real_rows(y.unsqueeze(0))[0];
    std::vector<double> log_weights;
    for (const MixturePrior::Component& component : prior.components()) {
      const SpectralCovariance factor(prior.basis(), component.spectrum);
      const at::Tensor f = dense_matrix([&](const at::Tensor& w) { return factor.apply_factor(w); }, domain);
      const at::Tensor c = f.matmul(f.t()), mean = as_real_rows(component.mean.unsqueeze(0))[0];
      const at::Tensor s = a.matmul(c).matmul(a.t()) + sigma_y * sigma_y * at::eye(a.size(0), at::kDouble);
      const at::Tensor root = at::linalg_cholesky(s), residual = data - a.mv(mean);
      const at::Tensor gain = at::cholesky_solve(a.matmul(c), root).t();
      const at::Tensor covariance = c - gain.matmul(a.matmul(c));
      means.push_back(mean + gain.mv(residual));
      covariances.push_back((covariance + covariance.t()) * 0.5);
      const double distance = residual.dot(at::cholesky_solve(residual.unsqueeze(1), root).squeeze(1)).item<double>();
      const double log_determinant = 2.0 * root.diagonal().log().sum().item<double>();
      log_weights.push_back(std::log(component.weight) - 0.5 * (distance + log_determinant));
    }
    const double largest = *std::max_element(log_weights.begin(), log_weights.end());
    double total = 0.0;
    for (const double w : log_weights) total += std::exp(w - largest);
    for (const double w : log_weights) weights.push_back(std::exp(w - largest) / total);
  }

  at::Tensor mean() const {
    at::Tensor sum = at::zeros_like(means[0]);
    for (std::size_t k = 0; k < means.size(); ++k) sum += weights[k] * means[k];
    return sum;
  }
  at::Tensor covariance() const {
    at::Tensor sum = at::zeros_like(covariances[0]);
    for (std::size_t k = 0; k < means.size(); ++k) {
      const at::Tensor offset = means[k] - mean();
      sum += weights[k] * (covariances[k] + at::outer(offset, offset));
    }
    return sum;
  }
  at::Tensor standard_deviation() const { return covariance().diagonal().sqrt(); }

  /// n exact samples, double [n, components], of streams of their own.
  at::Tensor sample(std::int64_t n, std::uint64_t seed) const {
    const RandomStreams streams(seed, 1 << 20, n);
    const at::Tensor white = streams.normal(0, {means[0].size(0)}, at::kFloat).to(at::kDouble);
    const at::Tensor choice = streams.uniform(0, {1}).to(at::kDouble).flatten();
    at::Tensor x = at::empty_like(white);
    double lower = 0.0;
    for (std::size_t k = 0; k < means.size(); ++k) {
      const double upper = k + 1 == means.size() ? 2.0 : lower + weights[k];
      const at::Tensor chosen = choice.ge(lower).logical_and(choice.lt(upper)).nonzero().flatten();
      const at::Tensor jitter = 1e-12 * at::eye(means[k].size(0), at::kDouble);
      const at::Tensor root = at::linalg_cholesky(covariances[k] + jitter);
      x.index_copy_(0, chosen, means[k] + white.index_select(0, chosen).matmul(root.t()));
      lower = upper;
    }
    return x;
  }
};

}  // namespace postrec::test
