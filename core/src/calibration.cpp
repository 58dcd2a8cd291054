#include "postrec/calibration.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "postrec/diagnostics.hpp"
#include "postrec/linear_solve.hpp"
#include "postrec/random.hpp"
#include "postrec/summary.hpp"

namespace postrec {
namespace {

void require(bool good, const std::string& message, const std::string& hint) {
  if (!good) throw Error(ErrorKind::kUsage, message, hint);
}

/// Binomial probabilities by logarithms of factorials.
class Binomial {
 public:
  explicit Binomial(std::int64_t largest) : log_factorial_(static_cast<std::size_t>(largest) + 1, 0.0) {
    for (std::size_t i = 1; i < log_factorial_.size(); ++i) log_factorial_[i] = log_factorial_[i - 1] + std::log(static_cast<double>(i));
  }

  /// P(k of n) when each happens with probability p.
  double operator()(std::int64_t k, std::int64_t n, double p) const {
    if (k < 0 || k > n) return 0.0;
    if (p <= 0.0) return k == 0 ? 1.0 : 0.0;
    if (p >= 1.0) return k == n ? 1.0 : 0.0;
    const double ways = log_factorial_[n] - log_factorial_[k] - log_factorial_[n - k];
    return std::exp(ways + static_cast<double>(k) * std::log(p) + static_cast<double>(n - k) * std::log1p(-p));
  }

 private:
  std::vector<double> log_factorial_;
};

/// The central 1 - g of the binomial distribution of the count below each k.
void set_pointwise(RankBand& band, double g, const Binomial& binomial) {
  band.lower.clear();
  band.upper.clear();
  for (std::int64_t k = 1; k <= band.n_samples; ++k) {
    const double p = static_cast<double>(k) / static_cast<double>(band.n_samples + 1);
    double below = 0.0, above = 0.0;
    std::int64_t lower = 0, upper = band.n_replicates;
    while (below + binomial(lower, band.n_replicates, p) <= 0.5 * g) below += binomial(lower++, band.n_replicates, p);
    while (above + binomial(upper, band.n_replicates, p) <= 0.5 * g) above += binomial(upper--, band.n_replicates, p);
    band.lower.push_back(lower);
    band.upper.push_back(upper);
  }
}

double normal_probability_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

double sum_of_squares(const at::Tensor& x) {
  const at::Tensor wide = x.is_complex() ? at::view_as_real(x.resolve_conj()).to(at::kDouble) : x.to(at::kDouble);
  return wide.square().sum().item<double>();
}

/// |x_i - x_j|^2 from the products x_i.x_j.
at::Tensor square_distances(const at::Tensor& products) {
  const at::Tensor squares = products.diagonal();
  return (squares.unsqueeze(0) + squares.unsqueeze(1) - 2.0 * products).clamp_min(0.0);
}

double median_above_diagonal(const at::Tensor& matrix) {
  const std::int64_t n = matrix.size(0);
  const at::Tensor index = at::triu_indices(n, n, 1);
  return matrix.index({index[0], index[1]}).median().item<double>();
}

/// u(x, z) of the Stein operator applied to both arguments of the kernel, double [n, n]; its mean is the squared discrepancy.
at::Tensor stein_kernel(const at::Tensor& x, const at::Tensor& s) {
  constexpr double kBeta = -0.5;
  const double d = static_cast<double>(x.size(1));
  const at::Tensor distances = square_distances(x.matmul(x.t()));
  const double median = median_above_diagonal(distances);
  const at::Tensor base = distances + (median > 0.0 ? median : 1.0);
  const at::Tensor k = base.pow(kBeta), slope = 2.0 * kBeta * base.pow(kBeta - 1.0);
  // s(x).grad_z k + s(z).grad_x k = slope (s(x) - s(z)).(z - x)
  const at::Tensor sx = s.matmul(x.t()), own = sx.diagonal();
  const at::Tensor drift = sx + sx.t() - own.unsqueeze(0) - own.unsqueeze(1);
  const at::Tensor trace = -d * slope - 4.0 * kBeta * (kBeta - 1.0) * base.pow(kBeta - 2.0) * distances;
  return s.matmul(s.t()) * k + slope * drift + trace;
}

}  // namespace

const char* verdict_name(CalibrationVerdict verdict) {
  switch (verdict) {
    case CalibrationVerdict::kCalibrated: return "calibrated";
    case CalibrationVerdict::kOverConfident: return "over-confident";
    case CalibrationVerdict::kUnderConfident: return "under-confident";
    case CalibrationVerdict::kBiased: return "biased";
    case CalibrationVerdict::kNotEnough: break;
  }
  return "not enough replicates";
}

at::Tensor ranks_of(const at::Tensor& truth, const at::Tensor& samples, const at::Tensor& uniform) {
  const at::Tensor below = samples.lt(truth).sum(0), ties = samples.eq(truth).sum(0);
  const at::Tensor share = (uniform.to(at::kDouble) * (ties + 1).to(at::kDouble)).floor().to(at::kLong);
  return below + at::minimum(share, ties);
}

double probability_inside(const RankBand& band, const std::vector<double>& rank_probabilities) {
  const std::int64_t n = band.n_replicates;
  const Binomial binomial(n);
  // at[c]: the probability that the counts so far stayed inside and the last one is c. Given c below k, those of rank k are binomial among the rest.
  std::vector<double> at_count(static_cast<std::size_t>(n) + 1, 0.0);
  at_count[0] = 1.0;
  std::int64_t first = 0, last = 0;
  double left = 1.0;
  for (std::size_t k = 0; k < band.lower.size(); ++k) {
    const double share = left > 0.0 ? std::min(1.0, rank_probabilities[k] / left) : 0.0;
    std::vector<double> next(at_count.size(), 0.0);
    for (std::int64_t c = first; c <= last; ++c) {
      if (at_count[c] == 0.0) continue;
      for (std::int64_t to = std::max(c, band.lower[k]); to <= band.upper[k]; ++to) next[to] += at_count[c] * binomial(to - c, n - c, share);
    }
    at_count = std::move(next);
    first = band.lower[k];
    last = band.upper[k];
    left -= rank_probabilities[k];
  }
  return std::min(1.0, std::accumulate(at_count.begin(), at_count.end(), 0.0));
}

std::vector<double> rank_probabilities(std::int64_t n_samples, double spread) {
  constexpr double kEnd = 8.0, kStep = 0.005;
  const Binomial binomial(n_samples);
  std::vector<double> result(static_cast<std::size_t>(n_samples) + 1, 0.0);
  double total = 0.0;
  for (double x = -kEnd; x <= kEnd; x += kStep) {
    const double density = std::exp(-0.5 * x * x), p = normal_probability_below(x / spread);
    total += density;
    for (std::int64_t k = 0; k <= n_samples; ++k) result[k] += density * binomial(k, n_samples, p);
  }
  for (double& value : result) value /= total;
  return result;
}

RankBand rank_band(std::int64_t n_replicates, std::int64_t n_samples, double false_alarm) {
  require(n_replicates >= 1, "there are " + std::to_string(n_replicates) + " replicates", "at least 1 is needed");
  require(n_samples >= 1, "there are " + std::to_string(n_samples) + " samples", "at least 1 is needed");
  require(false_alarm > 0.0 && false_alarm < 1.0, "the false alarm rate is " + std::to_string(false_alarm), "it must lie between 0 and 1");
  RankBand band;
  band.n_replicates = n_replicates;
  band.n_samples = n_samples;
  const Binomial binomial(n_replicates);
  const std::vector<double> even(static_cast<std::size_t>(n_samples) + 1, 1.0 / static_cast<double>(n_samples + 1));
  // At false_alarm/N the union bound holds; from there on up by bisection.
  double narrow = false_alarm / static_cast<double>(n_samples), wide = 1.0;
  for (int i = 0; i < 30; ++i) {
    const double middle = std::sqrt(narrow * wide);
    set_pointwise(band, middle, binomial);
    (1.0 - probability_inside(band, even) <= false_alarm ? narrow : wide) = middle;
  }
  set_pointwise(band, narrow, binomial);
  band.false_alarm = 1.0 - probability_inside(band, even);
  band.power = 1.0 - probability_inside(band, rank_probabilities(n_samples, kNoticedSpread));
  return band;
}

RankJudgement judge_ranks(const std::vector<std::int64_t>& ranks, const RankBand& band) {
  require(static_cast<std::int64_t>(ranks.size()) == band.n_replicates, "there are " + std::to_string(ranks.size()) + " ranks",
          "the band is for " + std::to_string(band.n_replicates));
  const double n = static_cast<double>(ranks.size()), places = static_cast<double>(band.n_samples + 1);
  RankJudgement judgement;
  judgement.inside = true;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(band.n_samples) + 1, 0);
  for (const std::int64_t rank : ranks) ++counts.at(rank);
  std::int64_t below = 0;
  for (std::size_t k = 0; k < band.lower.size(); ++k) {
    below += counts[k];
    if (below < band.lower[k] || below > band.upper[k]) judgement.inside = false;
    judgement.excess = std::max(judgement.excess, std::abs(static_cast<double>(below) / n - static_cast<double>(k + 1) / places));
  }
  // Position in (-1, 1), and its distance from 0, against their exact moments under even ranks.
  double shift = 0.0, distance = 0.0, expected_distance = 0.0, square = 0.0;
  for (std::int64_t k = 0; k <= band.n_samples; ++k) {
    const double position = (2.0 * static_cast<double>(k) + 1.0) / places - 1.0;
    shift += static_cast<double>(counts[k]) * position;
    distance += static_cast<double>(counts[k]) * std::abs(position);
    expected_distance += std::abs(position) / places;
    square += position * position / places;
  }
  judgement.shift = shift / n / std::sqrt(square / n);
  // With one sample every rank is an end.
  const double variance = square - expected_distance * expected_distance;
  judgement.extremes = variance > 1e-12 ? (distance / n - expected_distance) / std::sqrt(variance / n) : 0.0;
  if (judgement.inside)
    judgement.verdict = band.power >= kEnoughPower ? CalibrationVerdict::kCalibrated : CalibrationVerdict::kNotEnough;
  else if (std::abs(judgement.shift) > std::abs(judgement.extremes))
    judgement.verdict = CalibrationVerdict::kBiased;
  else
    judgement.verdict = judgement.extremes > 0.0 ? CalibrationVerdict::kOverConfident : CalibrationVerdict::kUnderConfident;
  return judgement;
}

std::vector<Coverage> coverage_of(const at::Tensor& samples, const at::Tensor& truth, const std::vector<double>& levels) {
  const std::int64_t n = samples.size(0);
  const auto places = static_cast<double>(n + 1);
  const at::Tensor sorted = std::get<0>(displayed(samples).to(at::kDouble).sort(0)), values = displayed(truth).to(at::kDouble);
  // From the k-th sample to the k-th last: holds (n + 1 - 2 k)/(n + 1).
  const auto covered_from = [&](std::int64_t k) { return 2 * k > n + 1 ? 0.0 : interval_coverage(sorted[k - 1], sorted[n - k], values); };
  std::vector<Coverage> result;
  for (const double level : levels) {
    const double place = std::max(0.5 * (1.0 - level) * places, 1.0);
    const auto k = static_cast<std::int64_t>(std::floor(place));
    const double inner = place - static_cast<double>(k);
    const double covered = (1.0 - inner) * covered_from(k) + (inner > 0.0 ? inner * covered_from(k + 1) : 0.0);
    result.push_back({level, 1.0 - 2.0 * place / places, covered});
  }
  return result;
}

double ErrorAndSpread::spread_over_rmse() const { return std::sqrt(expected / squared_error); }

ErrorAndSpread& ErrorAndSpread::operator+=(const ErrorAndSpread& other) {
  squared_error += other.squared_error;
  expected += other.expected;
  return *this;
}

ErrorAndSpread error_and_spread(const at::Tensor& samples, const at::Tensor& truth) {
  const std::int64_t n = samples.size(0);
  require(n >= 2, "there are " + std::to_string(n) + " samples", "a spread needs at least 2");
  const at::Tensor wide = samples.to(samples.is_complex() ? at::kComplexDouble : at::kDouble);
  const at::Tensor mean = wide.mean(0);
  const double variance = sum_of_squares(wide - mean) / static_cast<double>(n - 1);
  return {sum_of_squares(mean - truth), (1.0 + 1.0 / static_cast<double>(n)) * variance};
}

at::Tensor unmeasured_part(const Operator& op, double lambda, const at::Tensor& x) {
  require(lambda > 0.0, "lambda is " + std::to_string(lambda), "it must be positive");
  const at::Tensor b = x * lambda;
  if (op.traits().has_normal_solve) return op.normal_solve(lambda, b);
  constexpr SolveOptions kSolve{.tolerance = 1e-4, .max_iterations = 500};
  at::Tensor solution = x.clone();  // right where the operator sees nothing
  conjugate_gradients([&](const at::Tensor& v) { return op.normal(v) + v * lambda; }, {}, b, solution, kSolve);
  return solution;
}

at::Tensor block_regions(std::int64_t height, std::int64_t width, std::int64_t rows, std::int64_t columns) {
  require(rows >= 1 && columns >= 1 && rows <= height && columns <= width, std::to_string(rows) + "x" + std::to_string(columns) + " regions are asked for",
          "the image has " + std::to_string(height) + "x" + std::to_string(width) + " pixels");
  const at::Tensor row = at::arange(height, at::kLong).mul(rows).floor_divide(height), column = at::arange(width, at::kLong).mul(columns).floor_divide(width);
  const at::Tensor number = row.unsqueeze(1) * columns + column.unsqueeze(0);
  return number.unsqueeze(0).eq(at::arange(rows * columns, at::kLong).view({-1, 1, 1}));
}

at::Tensor disc_regions(std::int64_t height, std::int64_t width, std::int64_t rows, std::int64_t columns) {
  const at::Tensor blocks = block_regions(height, width, rows, columns);
  const double block_height = static_cast<double>(height) / static_cast<double>(rows), block_width = static_cast<double>(width) / static_cast<double>(columns);
  const double radius = 0.5 * std::min(block_height, block_width);
  const auto offset_in_block = [](std::int64_t n, double size) {
    const at::Tensor centre = at::arange(n, at::kDouble) + 0.5;
    return centre - ((centre / size).floor() + 0.5) * size;
  };
  const at::Tensor distance = offset_in_block(height, block_height).square().unsqueeze(1) + offset_in_block(width, block_width).square().unsqueeze(0);
  return blocks.logical_and(distance.le(radius * radius));
}

at::Tensor regions_inside(const at::Tensor& regions, const at::Tensor& object) {
  const at::Tensor share = means_over_regions(object.to(at::kFloat).view({1, 1, object.size(0), object.size(1)}), regions)[0], half = share.ge(0.5);
  return half.any().item<bool>() ? regions.index_select(0, half.nonzero().flatten()).logical_and(object) : regions;
}

at::Tensor means_over_regions(const at::Tensor& x, const at::Tensor& regions) {
  const at::Tensor weights = regions.to(at::kDouble).flatten(1), sizes = weights.sum(1);
  require(sizes.gt(0).all().item<bool>(), "a region has no pixel", "give regions that lie in the image");
  return x.to(at::kDouble).mean(1).flatten(1).matmul(weights.t()) / sizes;
}

SteinDiscrepancy stein_discrepancy(const at::Tensor& points, const at::Tensor& scores, std::int64_t n_bootstrap, std::uint64_t seed) {
  require(points.dim() == 2 && points.size(0) >= 2 && points.sizes() == scores.sizes(), "points and scores do not fit together", "both are [n, d], n at least 2");
  const at::Tensor u = stein_kernel(points.to(at::kDouble), scores.to(at::kDouble));
  const double n2 = static_cast<double>(u.numel());
  const double square = u.sum().item<double>() / n2;
  const at::Tensor signs = RandomStreams(seed, 0, n_bootstrap).signs(0, {points.size(0)}).to(at::kDouble);
  const at::Tensor bootstrap = signs.matmul(u).mul(signs).sum(1) / n2;
  const double larger = bootstrap.ge(square).sum().item<double>();
  return {std::sqrt(std::max(square, 0.0)), (larger + 1.0) / static_cast<double>(n_bootstrap + 1)};
}

}  // namespace postrec
