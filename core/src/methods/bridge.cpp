#include "bridge.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "../batched_vectors.hpp"
#include "../entries.hpp"
#include "jacobian_gain.hpp"

namespace postrec {

at::Tensor Bridge::advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) {
  const bool by_jacobian = task_.likelihood && jacobian_says_more(task_.prior, task_.image.shape, level.sigma, task_.sigmas.size(), task_.settings);
  const DenoisedWithJacobian denoised = by_jacobian ? task_.denoise_with_jacobian_if_any(x_t, level.sigma) : DenoisedWithJacobian{task_.denoise(x_t, level.sigma), {}};
  const SpectralCovariance covariance = error_covariance(denoised.denoised, level, record);
  const double sigma_y = annealed_sigma_y(covariance.basis(), level);
  at::Tensor x0 = draw(denoised.denoised, covariance, sigma_y, level, record);
  record.lacks_jacobian = by_jacobian && !denoised.jacobian_product;
  if (denoised.jacobian_product)
    x0 = with_gain_of_jacobian(x0, denoised, level.sigma, task_.likelihood->with_sigma_y(sigma_y), covariance, white_data(level), solve_options(sigma_y, level), record.solve);
  return level.next_sigma == 0.0 ? x0 : cross(x_t, x0, level);
}

SpectralCovariance Bridge::error_covariance(const at::Tensor& denoised, const Level& level, LevelRecord& record) {
  const SpectralCovariance measured = task_.setting("envelope") == 0.0 ? task_.error_covariance(level.sigma)
                                                                      : task_.prior.error_covariance_around(denoised, level.sigma);
  if (!task_.likelihood || !task_.prior.error_covariance_is_measured() || task_.setting("inflate") == 0.0) return measured;
  if (!inflation_) {
    inflation_.emplace(*task_.likelihood, measured.basis(), task_.image.shape);
    noise_energy_ = task_.normal(draw_at(0, Draw::kNoiseEnergy), {{inflation_->n_bands()}, at::kFloat}).cpu();
  }
  ErrorInflation::Estimate estimate = inflation_->inflate(measured, denoised, inflation_by_band_, noise_energy_);
  inflation_by_band_ = estimate.by_band;
  record.inflation = std::move(estimate.inflation);
  return estimate.covariance;
}

std::map<std::string, at::Tensor> Bridge::state() const {
  if (!inflation_by_band_.defined()) return {};
  return {{"inflation", inflation_by_band_}};
}

void Bridge::restore(const std::map<std::string, at::Tensor>& state) {
  if (!state.empty()) inflation_by_band_ = state.at("inflation").contiguous();
}

// Noise in the data that is small against what the operator passes on of the next level's noise, in every direction, is forgotten there. With sigma_y alone, data of little
// noise make H so stiff at high levels that conjugate gradients do not arrive, and samples are too wide. The last level always has sigma_y.
double Bridge::annealed_sigma_y(SpectralBasis basis, const Level& level) const {
  return task_.likelihood ? task_.likelihood->annealed_sigma_y(basis, task_.setting("anneal") * level.next_sigma) : 0.0;
}

at::Tensor Bridge::draw(const at::Tensor& denoised, const SpectralCovariance& covariance, double sigma_y, const Level& level, LevelRecord& record) const {
  const at::Tensor white_image = task_.normal(draw_at(level.step, Draw::kWhiteImage), task_.image);
  if (!task_.likelihood) return denoised + covariance.apply_factor(white_image);
  const GaussianLikelihood likelihood = task_.likelihood->with_sigma_y(sigma_y);
  const at::Tensor x0 = likelihood.draw_posterior(denoised, covariance, white_image, white_data(level), solve_options(sigma_y, level), record.solve, &record.misfit);
  const double ratio = sigma_y / task_.likelihood->sigma_y();
  for (double& chi2 : record.misfit) chi2 *= ratio * ratio;
  return x0;
}

at::Tensor Bridge::white_data(const Level& level) const { return task_.normal(draw_at(level.step, Draw::kWhiteData), task_.likelihood->op().codomain()); }

at::Tensor Bridge::cross(const at::Tensor& x_t, const at::Tensor& x0, const Level& level) const {
  const double ratio = level.next_sigma / level.sigma, keep = ratio * ratio;
  const double spread = level.next_sigma * std::sqrt(1.0 - keep);
  const at::Tensor noise = task_.normal(draw_at(level.step, Draw::kBridge), task_.image);
  return linear_combination(1.0, linear_combination(keep, x_t, 1.0 - keep, x0), spread, noise);
}

// An error of the draw that is small against the noise which the next level brings is forgotten there. So the solver may stop where its
// error in the data, ||A e||, is below tolerance * ||A|| next_sigma: at high noise after a few iterations, at the last level not before
// the error is small against the posterior's own spread.
SolveOptions Bridge::solve_options(double sigma_y, const Level& level) const {
  SolveOptions options = task_.solve;
  options.tolerance *= std::max(1.0, norm_ * level.next_sigma / sigma_y);
  return options;
}

MethodEntry bridge_entry() {
  MethodEntry entry;
  entry.info = {"bridge", "Exact draws of x0 given y and the denoised image, with the measured covariance of its error (BR), sharpened by its Jacobian.", "[core/README.md]",
                {{"anneal", 0.05, 0.0, 1.0, "the data are taken to have at least so many times the noise of the next level, as far as the operator passes it on"},
                 {"inflate", 1.0, 0.0, 1.0, "1: that covariance, unless exact, is as large as the measurement says at every level; 0: as it is in the prior's table"},
                 {"envelope", 1.0, 0.0, 1.0, "1: that covariance is large where in the image the denoiser errs; 0: the same everywhere"}}, ""};
  for (SamplerSetting& setting : jacobian_settings()) entry.info.settings.push_back(std::move(setting));
  entry.needs = Needs::kEither;
  entry.leaps = true;
  entry.takes_two = jacobian_says_more;
  entry.walk = [](const SamplingTask& task) { return std::make_unique<Bridge>(task); };
  return entry;
}

}  // namespace postrec
