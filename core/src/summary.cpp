#include "postrec/summary.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "postrec/error.hpp"

namespace postrec {
namespace {

// The p-quantile by linear interpolation between order statistics, of which the k-th of n stands for p = k/(n + 1): a further sample falls below it with
// probability p, whatever the distribution. Between them intervals hold a little more (31 samples, level .9: .908 of a normal distribution). Other definitions make
// intervals of few samples too short. `sorted` is [n, ...].
at::Tensor order_statistic(const at::Tensor& sorted, double p) {
  const auto n = static_cast<double>(sorted.size(0));
  const double position = std::clamp(p * (n + 1) - 1, 0.0, n - 1);
  const auto below = static_cast<std::int64_t>(std::floor(position));
  const std::int64_t above = std::min(below + 1, sorted.size(0) - 1);
  const double weight = position - static_cast<double>(below);
  return sorted[below] * (1.0 - weight) + sorted[above] * weight;
}

// Sums along the first axis one by one, in double, so that the order is fixed.
at::Tensor sum_of(const at::Tensor& samples) {
  at::Tensor sum = samples[0].clone();
  for (std::int64_t i = 1; i < samples.size(0); ++i) sum.add_(samples[i]);
  return sum;
}

}  // namespace

at::Tensor displayed(const at::Tensor& x) { return x.is_complex() ? at::abs(x) : x; }

double interval_level_of(std::int64_t n_samples) { return static_cast<double>(n_samples - 1) / static_cast<double>(n_samples + 1); }

Summary summarize(const at::Tensor& samples, double level) {
  if (samples.dim() < 2 || samples.size(0) < 1) throw Error(ErrorKind::kUsage, "there is no sample to summarize", "at least one sample is needed");
  if (!(level > 0.0 && level < 1.0))
    throw Error(ErrorKind::kUsage, "interval level " + std::to_string(level), "it must lie between 0 and 1, e.g. 0.9");
  const std::int64_t n = samples.size(0);
  const at::Tensor values = displayed(samples);
  const at::Tensor wide = values.to(at::kDouble);
  const at::Tensor deviation = wide - sum_of(wide) / n;
  const at::Tensor variance = sum_of(deviation * deviation) / std::max<std::int64_t>(n - 1, 1);
  const at::Tensor sorted = std::get<0>(wide.sort(0));

  Summary summary;
  const at::Tensor mean = sum_of(samples.to(samples.is_complex() ? at::kComplexDouble : at::kDouble)) / n;
  summary.mean = displayed(mean).to(at::kFloat);
  summary.standard_deviation = variance.sqrt().to(at::kFloat);
  summary.lower = order_statistic(sorted, 0.5 * (1.0 - level)).to(at::kFloat);
  summary.upper = order_statistic(sorted, 0.5 * (1.0 + level)).to(at::kFloat);
  summary.level = std::min(level, interval_level_of(n));
  return summary;
}

}  // namespace postrec
