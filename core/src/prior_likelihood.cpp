#include "postrec/prior_likelihood.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "batched_vectors.hpp"
#include "mean.hpp"
#include "postrec/error.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kMostExactDimensions = 4096;
constexpr double kLargestShare = 0.999;        // of x_T - m that a denoiser can keep where noise drowns the image

/// Vectors [n, domain] of random signs, one stream each.
at::Tensor random_signs(std::int64_t n, const TensorSpec& spec, std::uint64_t seed) {
  const at::Tensor normal = real_view(RandomStreams(seed, 0, n).normal(0, spec.shape, spec.dtype));
  const at::Tensor signs = at::where(normal.lt(0.0), -1.0, 1.0).to(at::kFloat);
  return spec.dtype == at::kComplexFloat ? at::view_as_complex(signs) : signs;
}

/// The unit vectors times the square root of their number [n, domain]: the mean over them of v^T J v is the trace.
at::Tensor scaled_unit_vectors(const TensorSpec& spec, std::int64_t n) {
  const at::Tensor rows = std::sqrt(static_cast<double>(n)) * at::eye(n, at::kFloat);
  std::vector<std::int64_t> sizes = {n};
  sizes.insert(sizes.end(), spec.shape.begin(), spec.shape.end());
  if (spec.dtype != at::kComplexFloat) return rows.view(sizes);
  sizes.push_back(2);
  return at::view_as_complex(rows.view(sizes));
}

at::Tensor probes_for(const SpectralCovariance& covariance, const TensorSpec& spec, std::int64_t dimensions, const PriorLikelihoodOptions& options) {
  if (options.exact_trace) {
    if (dimensions > kMostExactDimensions)
      throw Error(ErrorKind::kUsage, "the exact trace of an image of " + std::to_string(dimensions) + " components",
                  "at most " + std::to_string(kMostExactDimensions) + "; use probes");
    return scaled_unit_vectors(spec, dimensions);
  }
  const at::Tensor signs = random_signs(options.n_probes, spec, options.seed);
  return options.probe_basis == ProbeBasis::kSpectral ? covariance.from_basis(signs) : signs;
}

double sum_of(const at::Tensor& x) {
  const at::Tensor values = x.to(at::kCPU, at::kDouble).contiguous();
  double sum = 0.0;
  for (std::int64_t i = 0; i < values.numel(); ++i) sum += values.const_data_ptr<double>()[i];
  return sum;
}

/// log p_T(x_T) over the number of components, in nats.
double terminal_density(const SpectralCovariance& covariance, const at::Tensor& x, const at::Tensor& denoised, double sigma) {
  const double parts = x.is_complex() ? 2.0 : 1.0;
  const at::Tensor keep = 1.0 - (covariance.eigenvalues().to(at::kDouble) / (sigma * sigma)).clamp(0.0, kLargestShare);
  const at::Tensor residual = covariance.to_basis(linear_combination(1.0, x, -1.0, denoised)).cpu();
  const at::Tensor whitened = times_table(residual, (keep.rsqrt() / sigma).to(at::kFloat));
  const double log_determinant = parts * (static_cast<double>(keep.numel()) * 2.0 * std::log(sigma) - sum_of(keep.log()));
  const double n = parts * static_cast<double>(keep.numel());
  return -0.5 * ((dots(whitened, whitened)[0] + log_determinant) / n + std::log(2.0 * std::numbers::pi));
}

double standard_error_of(const std::vector<double>& values) {
  if (values.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  const double mean = mean_of(values), n = static_cast<double>(values.size());
  double sum = 0.0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / (n - 1.0) / n);
}

}  // namespace

void PriorLikelihoodOptions::validate() const {
  for (const auto& [name, level] : {std::pair{"sigma", sigma}, {"sigma_max", sigma_max}})
    if (!(level >= 0.0 && std::isfinite(level)))
      throw Error(ErrorKind::kUsage, std::string("likelihood option ") + name + " is " + std::to_string(level), "it must be positive, or 0 for the prior's");
  if (n_probes < 1 || n_probes > 100000) throw Error(ErrorKind::kUsage, "likelihood option n_probes is " + std::to_string(n_probes), "it must be 1 to 100000");
  flow.validate();
}

PriorLikelihood prior_likelihood(const Prior& prior, const at::Tensor& x, const PriorLikelihoodOptions& options, Observer& observer) {
  options.validate();
  const SigmaRange range = prior.range();
  const double top = options.sigma_max > 0.0 ? options.sigma_max : range.maximum;
  PriorLikelihood result;
  result.sigma = options.sigma > 0.0 ? options.sigma : range.minimum;
  if (!(result.sigma < top))
    throw Error(ErrorKind::kUsage, "likelihood option sigma is " + std::to_string(result.sigma), "it must lie below where the flow ends, " + std::to_string(top));
  result.dimensions = real_components(x);
  const TensorSpec spec{x.sizes().slice(1).vec(), x.scalar_type()};
  const SpectralCovariance covariance = prior.error_covariance(top, spec.shape);
  const at::Tensor probes = probes_for(covariance, spec, result.dimensions, options).to(x.device());

  const FlowResult end = follow_flow(prior, x, result.sigma, top, probes, options.flow, observer);
  result.nfe = end.nfe;
  result.n_products = end.nfe * probes.size(0);
  result.interrupted = end.interrupted;
  if (end.interrupted) return result;

  const at::Tensor denoised = prior.denoise(end.x, top);
  ++result.nfe;
  const double log_density = terminal_density(covariance, end.x, denoised, top) + mean_of(end.divergence);
  result.bits_per_dimension = -log_density / std::numbers::ln2;
  result.standard_error = options.exact_trace ? 0.0 : standard_error_of(end.divergence) / std::numbers::ln2;
  return result;
}

}  // namespace postrec
