#include "calibration/calibration_run.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "case/seeds.hpp"
#include "case/simulation.hpp"
#include "postrec/error.hpp"
#include "postrec/likelihood.hpp"
#include "postrec/random.hpp"
#include "postrec/summary.hpp"

namespace postrec {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kEach = 3;              // functions of each kind
constexpr std::int64_t kQuarters = 2;          // along an axis
constexpr double kSmooth = 0.1, kRough = 0.3;  // cycles per pixel
constexpr double kNoDirection = 0.05;          // an image keeps less than this share of its norm: the operator has no such directions
constexpr std::int64_t kBootstraps = 999;
constexpr std::int64_t kScoreBatch = 8;

/// Real components as rows on the host, [B, ...] -> double [B, n].
at::Tensor rows_of(const at::Tensor& x) { return (x.is_complex() ? at::view_as_real(x.resolve_conj()) : x).flatten(1).cpu().to(at::kDouble); }

/// Distance from frequency 0 in cycles per pixel, [H, W], in the order of the basis.
at::Tensor frequencies(SpectralBasis basis, std::int64_t height, std::int64_t width) {
  const auto axis = [&](std::int64_t n) {
    const at::Tensor k = at::arange(n, at::kDouble);
    return basis == SpectralBasis::kDft ? (k - static_cast<double>(n / 2)) / static_cast<double>(n) : k / (2.0 * static_cast<double>(n));
  };
  return (axis(height).square().unsqueeze(1) + axis(width).square().unsqueeze(0)).sqrt();
}

/// Variance of the prior's coefficients, float32 [C, H, W]: the denoiser's error where nothing is left of the image.
SpectralCovariance prior_covariance(const Prior& prior, const std::vector<std::int64_t>& image_shape) {
  return prior.error_covariance(prior.range().maximum, image_shape);
}

/// How strongly a direction must be measured to count as such: (sigma_y over the standard deviation of the prior's pixels)^2.
double regularisation(const CalibrationProblem& problem) {
  const double variance = prior_covariance(*problem.prior, problem.op->domain().shape).eigenvalues().mean().item<double>();
  return problem.sigma_y * problem.sigma_y / variance;
}

/// Images as rows of norm 1; NaN where there is hardly anything.
at::Tensor unit_rows(const at::Tensor& x, double smallest_norm = 0.0) {
  const at::Tensor rows = rows_of(x), norms = rows.square().sum(1, true).sqrt();
  return at::where(norms.gt(smallest_norm), rows / norms, at::full({1}, std::numeric_limits<double>::quiet_NaN(), at::kDouble));
}

at::Tensor functions_of(const CalibrationProblem& problem, std::uint64_t seed) {
  const Operator& op = *problem.op;
  const TensorSpec domain = op.domain(), codomain = op.codomain();
  const at::Device device = problem.y.device();
  const RandomStreams streams(seed, 0, kEach);
  const SpectralBasis basis = prior_covariance(*problem.prior, domain.shape).basis();
  const at::Tensor frequency = frequencies(basis, domain.shape[1], domain.shape[2]).unsqueeze(0).expand(domain.shape);
  const auto white = [&](std::uint64_t draw) { return streams.normal(draw, domain.shape, domain.dtype); };
  const auto filtered = [&](const at::Tensor& keep, std::uint64_t draw) { return SpectralCovariance(basis, keep.to(at::kFloat)).apply(white(draw)); };
  const at::Tensor hidden = white(3);
  const double hidden_norm = std::sqrt(static_cast<double>(rows_of(hidden).size(1)));
  return at::cat({unit_rows(white(0)), unit_rows(filtered(frequency.le(kSmooth), 1)), unit_rows(filtered(frequency.ge(kRough), 2)),
                  unit_rows(op.adjoint(streams.normal(4, codomain.shape, codomain.dtype, device))),
                  unit_rows(unmeasured_part(op, regularisation(problem), hidden.to(device)), kNoDirection * hidden_norm)});
}

at::Tensor object_columns(const at::Tensor& x, const at::Tensor& pixels) { return x.flatten(1).index_select(1, pixels.flatten().nonzero().flatten()); }

/// Means of x [B, C, H, W] over what of the quarters of the image counts, double [B, quarters]; NaN where nothing does.
at::Tensor quarter_means(const at::Tensor& x, const at::Tensor& pixels) {
  const at::Tensor quarters = block_regions(x.size(2), x.size(3), kQuarters, kQuarters).logical_and(pixels.any(0)), is_empty = quarters.flatten(1).any(1).logical_not();
  const at::Tensor means = means_over_regions(x, quarters.logical_or(is_empty.view({-1, 1, 1})));
  return means.masked_fill(is_empty, std::numeric_limits<double>::quiet_NaN());
}

std::vector<std::int64_t> ranks_with_gaps(const at::Tensor& truth, const at::Tensor& samples, std::uint64_t seed) {
  const at::Tensor uniform = RandomStreams(seed, 0, 1).uniform(0, truth.sizes().vec()).squeeze(0);
  const at::Tensor ranks = at::where(truth.isnan(), at::full({1}, -1, at::kLong), ranks_of(truth, samples, uniform)).contiguous();
  return {ranks.data_ptr<std::int64_t>(), ranks.data_ptr<std::int64_t>() + ranks.numel()};
}

ordered_json coverage_json(const std::vector<Coverage>& all) {
  ordered_json result = ordered_json::array();
  for (const Coverage& one : all) result.push_back({one.level, one.expected, one.covered});
  return result;
}

std::vector<Coverage> coverage_from(const ordered_json& json) {
  std::vector<Coverage> all;
  for (const auto& one : json) all.push_back({one.at(0), one.at(1), one.at(2)});
  return all;
}

ordered_json sums_json(const ErrorAndSpread& sums) { return {sums.squared_error, sums.expected}; }
ErrorAndSpread sums_from(const ordered_json& json) { return {json.at(0), json.at(1)}; }

}  // namespace

ordered_json CalibrationRecord::json() const {
  return {{"name", name},
          {"ranks", ranks},
          {"pixels", coverage_json(pixels)},
          {"regions", coverage_json(regions)},
          {"data_chi2", data_chi2},
          {"image", sums_json(image)},
          {"measured", sums_json(measured)},
          {"unmeasured", sums_json(unmeasured)},
          {"samples", n_samples},
          {"nfe", nfe},
          {"seconds", seconds},
          {"subject", subject}};
}

CalibrationRecord CalibrationRecord::from_json(const ordered_json& json) {
  try {
    return {json.at("name"),
            json.at("ranks"),
            coverage_from(json.at("pixels")),
            coverage_from(json.at("regions")),
            json.at("data_chi2"),
            sums_from(json.at("image")),
            sums_from(json.at("measured")),
            sums_from(json.at("unmeasured")),
            json.at("samples"),
            json.at("nfe"),
            json.at("seconds"),
            json.value("subject", std::int64_t{-1})};
  } catch (const ordered_json::exception& failure) {
    throw Error(ErrorKind::kBadData, std::string("a record of the journal cannot be read: ") + failure.what(), "remove the journal to begin again");
  }
}

std::vector<std::string> ranked_quantities() {
  std::vector<std::string> names;
  for (const char* kind : {"random", "smooth", "rough", "row space", "null space"})
    for (std::int64_t i = 1; i <= kEach; ++i) names.push_back(std::string(kind) + " " + std::to_string(i));
  for (std::int64_t i = 1; i <= kQuarters * kQuarters; ++i) names.push_back("quarter mean " + std::to_string(i));
  names.emplace_back("misfit");
  return names;
}

at::Tensor TestFunctions::values(const CalibrationProblem& problem, const at::Tensor& x) {
  if (problem.op != op_) {
    functions_ = functions_of(problem, seed_);
    op_ = problem.op;
  }
  const GaussianLikelihood likelihood(problem.op, problem.y, problem.sigma_y);
  return at::cat({rows_of(x).matmul(functions_.t()), quarter_means(displayed(x.cpu()), problem.pixels), likelihood.reduced_chi2(x).to(at::kDouble).unsqueeze(1)}, 1);
}

std::optional<CalibrationRecord> calibrate_problem(const CalibrationProblem& problem, TestFunctions& functions, SamplerOptions options, Observer& observer) {
  const Operator& op = *problem.op;
  const GaussianLikelihood told(problem.op, problem.y, problem.told_sigma_y), actual(problem.op, problem.y, problem.sigma_y);
  options.seed = problem.seed;
  const Samples samples = sample(*problem.prior, &told, op.domain().shape, options, observer);
  if (samples.report.interrupted) return std::nullopt;
  // The operator works where the measurement is, the figures are made on the host.
  const at::Tensor &x = samples.x, truth = problem.truth.unsqueeze(0), host_x = x.cpu(), host_truth = truth.cpu();

  CalibrationRecord record;
  record.name = problem.name;
  record.subject = problem.subject;
  record.n_samples = x.size(0);
  record.nfe = samples.report.nfe;
  record.seconds = samples.report.seconds;
  record.ranks = ranks_with_gaps(functions.values(problem, truth)[0], functions.values(problem, x), derive_seed(problem.seed, 0, SeedPurpose::kNoise));
  record.pixels = coverage_of(object_columns(host_x, problem.pixels), object_columns(host_truth, problem.pixels)[0], kCoverageLevels);
  record.regions = coverage_of(means_over_regions(displayed(host_x), problem.regions), means_over_regions(displayed(host_truth), problem.regions)[0], kCoverageLevels);
  // An operator that sees nothing has no data to fit: the misfit of the noise alone is 1 by definition.
  if (actual.n_measured() > 0) record.data_chi2 = actual.reduced_chi2(x).mean().item<double>();
  record.image = error_and_spread(object_columns(host_x, problem.pixels), object_columns(host_truth, problem.pixels)[0]);
  record.measured = error_and_spread(op.forward(x).cpu(), op.forward(truth)[0].cpu());
  const double lambda = regularisation(problem);
  record.unmeasured = error_and_spread(unmeasured_part(op, lambda, x).cpu(), unmeasured_part(op, lambda, truth)[0].cpu());
  return record;
}

SteinDiscrepancy score_discrepancy(const Prior& prior, const at::Tensor& points, double sigma, std::uint64_t seed) {
  const std::int64_t n = points.size(0);
  const at::Tensor x_t = points + sigma * RandomStreams(seed, 0, n).normal(0, points[0].sizes().vec(), points.scalar_type(), points.device());
  std::vector<at::Tensor> scores;
  for (std::int64_t first = 0; first < n; first += kScoreBatch) scores.push_back(prior.score(x_t.narrow(0, first, std::min(kScoreBatch, n - first)), sigma).cpu());
  const SpectralCovariance covariance = prior_covariance(prior, points[0].sizes().vec());
  const at::Tensor deviation = (covariance.eigenvalues() + sigma * sigma).sqrt();
  return stein_discrepancy(rows_of(covariance.to_basis(x_t.cpu()) / deviation), rows_of(covariance.to_basis(at::cat(scores)) * deviation), kBootstraps, seed);
}

}  // namespace postrec
