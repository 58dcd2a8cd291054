#include "particles.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "postrec/error.hpp"

namespace postrec {
namespace {

// (sum w^alpha)^2/sum w^(2 alpha) over n, w = exp(log_weights) with a largest weight of 1.
double share_of(const float* log_weights, std::int64_t n, double alpha) {
  double sum = 0.0, squares = 0.0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double weight = std::exp(alpha * log_weights[i]);
    sum += weight;
    squares += weight * weight;
  }
  return sum * sum / (squares * static_cast<double>(n));
}

// The share falls as alpha grows, so bisection finds where it is `share`. 40 halvings are more than single precision shows.
double largest_exponent(const float* log_weights, std::int64_t n, double share) {
  double low = 0.0, high = 1.0;
  for (int i = 0; i < 40; ++i) {
    const double middle = 0.5 * (low + high);
    (share_of(log_weights, n, middle) >= share ? low : high) = middle;
  }
  return low;
}

// How many copies of each particle: as many of the points (i + uniform)/n as fall into its part of [0, 1).
std::vector<int> copies(const float* log_weights, std::int64_t n, double uniform) {
  std::vector<double> upper(n);
  double total = 0.0;
  for (std::int64_t i = 0; i < n; ++i) upper[i] = total += std::exp(static_cast<double>(log_weights[i]));
  std::vector<int> result(n, 0);
  std::int64_t particle = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double point = (static_cast<double>(i) + uniform) / static_cast<double>(n) * total;
    while (particle + 1 < n && upper[particle] <= point) ++particle;
    ++result[particle];
  }
  return result;
}

// Ancestors of places first ... first + n - 1: survivors stay, the other copies fill the gaps in order.
void place(std::vector<int> left, std::int64_t first, std::vector<std::int64_t>& ancestors) {
  const std::int64_t n = static_cast<std::int64_t>(left.size());
  std::vector<std::int64_t> gaps;
  for (std::int64_t i = 0; i < n; ++i) {
    if (left[i] == 0) gaps.push_back(i);
    else --left[i];
  }
  std::int64_t source = 0;
  for (const std::int64_t gap : gaps) {
    while (left[source] == 0) ++source;
    ancestors[first + gap] = first + source;
    --left[source];
  }
}

}  // namespace

ParticleWeights::ParticleWeights(std::int64_t n_particles, std::int64_t group) : group_(group), log_weights_(n_particles, 0.0f) {
  if (group < 1 || n_particles % group != 0)
    throw Error(ErrorKind::kInternal, std::to_string(n_particles) + " particles are no whole number of groups of " + std::to_string(group),
                "the sampler rounds up");
}

void ParticleWeights::multiply(const std::vector<double>& log_factors) {
  for (std::size_t first = 0; first < log_weights_.size(); first += group_) {
    std::vector<double> sums(group_);
    for (std::int64_t i = 0; i < group_; ++i) sums[i] = log_weights_[first + i] + log_factors[first + i];
    const double largest = *std::max_element(sums.begin(), sums.end());
    if (!std::isfinite(largest))
      throw Error(ErrorKind::kNumerical, "a particle weight is not finite",
                  "the walk may have overshot: take more levels (twisted-smc: or a larger image-variance); else check the prior, the measurement and sigma_y");
    for (std::int64_t i = 0; i < group_; ++i) log_weights_[first + i] = static_cast<float>(sums[i] - largest);
  }
}

double ParticleWeights::effective_share() const {
  double smallest = 1.0;
  for (std::size_t first = 0; first < log_weights_.size(); first += group_)
    smallest = std::min(smallest, share_of(&log_weights_[first], group_, 1.0));
  return smallest;
}

void ParticleWeights::temper(double share) {
  for (std::size_t first = 0; first < log_weights_.size(); first += group_) {
    float* weights = &log_weights_[first];
    if (share_of(weights, group_, 1.0) >= share) continue;
    const double alpha = largest_exponent(weights, group_, share);
    for (std::int64_t i = 0; i < group_; ++i) weights[i] = static_cast<float>(alpha * weights[i]);
  }
}

std::vector<std::int64_t> ParticleWeights::resample(double threshold, const std::vector<double>& uniform) {
  std::vector<std::int64_t> ancestors(log_weights_.size());
  for (std::size_t i = 0; i < ancestors.size(); ++i) ancestors[i] = static_cast<std::int64_t>(i);
  for (std::size_t first = 0; first < log_weights_.size(); first += group_) {
    float* weights = &log_weights_[first];
    if (share_of(weights, group_, 1.0) >= threshold) continue;
    place(copies(weights, group_, uniform[first]), static_cast<std::int64_t>(first), ancestors);
    std::fill_n(weights, group_, 0.0f);
  }
  return ancestors;
}

at::Tensor ParticleWeights::state() const { return at::tensor(at::ArrayRef<float>(log_weights_), at::kFloat); }

void ParticleWeights::restore(const at::Tensor& state) {
  const at::Tensor values = state.to(at::kFloat).contiguous();
  if (values.numel() != static_cast<std::int64_t>(log_weights_.size()))
    throw Error(ErrorKind::kBadData, "a stopped run holds " + std::to_string(values.numel()) + " particle weights",
                "it must hold " + std::to_string(log_weights_.size()));
  std::copy_n(values.const_data_ptr<float>(), values.numel(), log_weights_.begin());
}

at::Tensor take_ancestors(const at::Tensor& x, const std::vector<std::int64_t>& ancestors) {
  return x.index_select(0, at::tensor(ancestors, at::kLong).to(x.device()));
}

}  // namespace postrec
