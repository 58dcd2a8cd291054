#include "postrec/prior_fit.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "batched_vectors.hpp"
#include "mean.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kExamined = 4;
constexpr std::uint64_t kDraw = 0xffffffff;    // the last: see draw_at() for those of samplers
constexpr double kShareOfDeviation = 0.3;
constexpr double kTolerance = 0.03;            // of the solves; enters squared, times the size of the image over that of the measurement

/// r^H S^-1 r/m, mean over the batch, r = y - A mean.
double distance_share(const GaussianLikelihood& likelihood, const at::Tensor& mean, const SpectralCovariance& covariance) {
  SolveOptions options;
  options.tolerance = kTolerance;
  SolveReport report;
  at::Tensor guess;
  return mean_of(likelihood.data_distance(mean, covariance, guess, options, report)) / static_cast<double>(likelihood.n_measured());
}

/// sigma_y^2 tr(S^-1)/m, estimated with noise for data. [Hutchinson's estimate, as in prior_likelihood.hpp]
double noise_share(const GaussianLikelihood& likelihood, const at::Tensor& image, const SpectralCovariance& covariance, std::uint64_t seed) {
  const TensorSpec codomain = likelihood.op().codomain();
  const at::Tensor noise = RandomStreams(seed, kExamined, 1).normal(kDraw, codomain.shape, codomain.dtype, image.device()).squeeze(0);
  const std::shared_ptr<const Operator> op(std::shared_ptr<void>(), &likelihood.op());  // lent for this call
  const GaussianLikelihood of_noise(op, noise * likelihood.sigma_y(), likelihood.sigma_y());
  return distance_share(of_noise, at::zeros_like(image), covariance);
}

std::string sentence(const char* format, double found, double limit) {
  char text[256];
  std::snprintf(text, sizeof text, format, found, limit);
  return text;
}

}  // namespace

PriorFit examine_prior_fit(const Prior& prior, const GaussianLikelihood& likelihood, const at::Tensor& samples, std::uint64_t seed) {
  const at::NoGradGuard no_graph;
  const TensorSpec domain = likelihood.op().domain();
  PriorFit fit;
  fit.n_measured = likelihood.n_measured();
  fit.reduced_chi2 = likelihood.reduced_chi2(samples).to(at::kDouble).mean().item<double>();

  fit.sigma = std::clamp(kShareOfDeviation * prior.image_deviation(domain.shape), prior.range().minimum, prior.range().maximum);
  const SpectralCovariance covariance = prior.error_covariance(fit.sigma, domain.shape).to(samples.device());
  const at::Tensor x = samples.narrow(0, 0, std::min(samples.size(0), kExamined));
  const at::Tensor noise = RandomStreams(seed, 0, x.size(0)).normal(kDraw, domain.shape, domain.dtype, x.device());
  const at::Tensor denoised = prior.denoise(linear_combination(1.0, x, fit.sigma, noise), fit.sigma);
  fit.visible_share = 1.0 - noise_share(likelihood, x.narrow(0, 0, 1), covariance, seed);
  fit.error_inflation = 1.0 + (distance_share(likelihood, denoised, covariance) - 1.0) / fit.visible_share;
  return fit;
}

namespace {

/// Of an estimate from as many numbers as were measured.
double estimate_noise(const PriorFit& fit, const PriorFitLimits& limits) {
  return limits.standard_deviations * std::sqrt(2.0 / static_cast<double>(std::max<std::int64_t>(fit.n_measured, 1)));
}

}  // namespace

bool shows_the_error(const PriorFit& fit, const PriorFitLimits& limits) { return fit.sigma != 0.0 && fit.visible_share > estimate_noise(fit, limits); }

std::string prior_misfit(const PriorFit& fit, const PriorFitLimits& limits) {
  const double noise = estimate_noise(fit, limits);
  const double least_chi2 = std::min(limits.least_chi2, 1.0 - noise), most_chi2 = std::max(limits.most_chi2, 1.0 + noise);
  // Written so that NaN does not fit.
  if (!(fit.reduced_chi2 <= most_chi2))
    return sentence("the reduced chi-square of the samples is %.2f, more than %.2f: no image that the prior allows explains the measurement, or it is noisier than sigma_y says",
                    fit.reduced_chi2, most_chi2);
  if (!(fit.reduced_chi2 >= least_chi2))
    return sentence("the reduced chi-square of the samples is %.2f, less than %.2f: the measurement is less noisy than sigma_y says, or this sampler fits its noise",
                    fit.reduced_chi2, least_chi2);
  // Where the noise drowns the denoiser's error, the share is its estimate's own noise and nothing can be said.
  if (!shows_the_error(fit, limits)) return "";
  // The share is estimated as well, with the same standard deviation.
  const double most_inflation = std::max(limits.most_inflation, 1.0 + std::sqrt(2.0) * noise / fit.visible_share);
  if (!(fit.error_inflation <= most_inflation))
    return sentence("the variance of the denoiser's error on this scan is %.2f times what the prior says, more than %.2f: what it gives as uncertainty is too small here",
                    fit.error_inflation, most_inflation);
  return "";
}

}  // namespace postrec
