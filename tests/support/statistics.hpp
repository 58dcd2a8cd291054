#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "exact_posterior.hpp"
#include "postrec/random.hpp"

namespace postrec::test {

/// Sliced Wasserstein distance of two sets of equal size [N, n]: the 2-Wasserstein distance along random directions, root mean square.
/// The directions are the same for every pair. [Bonneel 2015]
inline double sliced_wasserstein(const at::Tensor& a, const at::Tensor& b, std::int64_t n_directions = 256) {
  at::Tensor directions = RandomStreams(0x5357, 0, n_directions).normal(0, {a.size(1)}, at::kFloat).to(at::kDouble);
  directions = directions / directions.square().sum(1, true).sqrt();
  const at::Tensor sorted_a = std::get<0>(a.matmul(directions.t()).sort(0)), sorted_b = std::get<0>(b.matmul(directions.t()).sort(0));
  return std::sqrt((sorted_a - sorted_b).square().mean().item<double>());
}

/// What samples look like beside an exact posterior. Right: 1, 1 and, for N samples, (0.9 (N - 1))/(N + 1) by interpolated order statistics.
struct Agreement {
  double distance = 0.0;                       ///< sliced Wasserstein to exact sets of the same size, over what such sets have to each other
  double spread = 0.0;                         ///< standard deviation over the exact one, mean over components
  double coverage = 0.0;                       ///< of the exact posterior by the samples' 90 % intervals, mean over components
};

/// Compares samples [N, n] with a posterior through exact sets that are drawn with fixed seeds.
class Comparison {
 public:
  Comparison(const ExactPosterior& posterior, std::int64_t n_samples) : deviation_(posterior.standard_deviation()) {
    constexpr int kSets = 6;
    for (int i = 0; i < kSets; ++i) sets_.push_back(posterior.sample(n_samples, 1000 + i));
    double sum = 0.0;
    int n_pairs = 0;
    for (int i = 0; i < kSets; ++i)
      for (int j = i + 1; j < kSets; ++j, ++n_pairs) sum += sliced_wasserstein(sets_[i], sets_[j]);
    floor_ = sum / n_pairs;
    truth_ = posterior.sample(4096, 2000);
  }

  double floor() const { return floor_; }

  Agreement operator()(const at::Tensor& x) const {
    Agreement agreement;
    for (const at::Tensor& set : sets_) agreement.distance += sliced_wasserstein(x, set) / (floor_ * static_cast<double>(sets_.size()));
    agreement.spread = (x.std(0, true) / deviation_).mean().item<double>();
    const at::Tensor bounds = at::quantile(x, at::tensor({0.05, 0.95}, at::kDouble), 0);
    agreement.coverage = truth_.ge(bounds[0]).logical_and(truth_.le(bounds[1])).to(at::kDouble).mean().item<double>();
    return agreement;
  }

 private:
  at::Tensor deviation_;
  std::vector<at::Tensor> sets_;
  at::Tensor truth_;
  double floor_ = 0.0;
};

/// How far the mean and the covariance of samples lie from those of a Gaussian: z-scores, without their sign.
struct MomentScores {
  double mean = 0.0;
  double covariance = 0.0;
};

/// Chi-squares of the mean and the covariance of samples [N, n], double, against the closed form m [n] and C [n, n]. N (mean - m)^T C^-1 (mean - m) is chi-square with n degrees; the
/// whitened samples W give tr((W^T W/N - I)^2), n (n + 1)/N on average. Of a correct sampler each score exceeds 4.5 with probability 1e-5 (7e-6, and a little for the skew of the latter).
inline MomentScores moment_scores(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& covariance) {
  const double n_samples = static_cast<double>(x.size(0)), n = static_cast<double>(x.size(1));
  const at::Tensor root = at::linalg_cholesky(covariance);
  const at::Tensor white = at::linalg_solve_triangular(root, (x - mean).t(), /*upper=*/false).t();
  const double chi2 = white.mean(0).square().sum().item<double>() * n_samples;
  const at::Tensor gram = white.t().matmul(white) / n_samples;
  const double scatter = (gram - at::eye(x.size(1), at::kDouble)).square().sum().item<double>();
  // A chi-square is skewed, its cube root is not. [Wilson 1931] The standard deviation of the scatter is 2 y (1 + 2 y)^(1/2) with y = n/N: 1.76 times 2 y seen for y = 1, 1.19 for 1/4.
  const double thin = 2.0 / (9.0 * n), y = n / n_samples;
  return {std::abs(std::cbrt(chi2 / n) - (1.0 - thin)) / std::sqrt(thin), std::abs(scatter - n * (n + 1) / n_samples) / (2.0 * y * std::sqrt(1.0 + 2.0 * y))};
}

}  // namespace postrec::test
