#pragma once

#include <map>
#include <optional>
#include <string>

#include "../error_inflation.hpp"
#include "../sampling_method.hpp"

namespace postrec {

/// The bridge sampler (BR): x0 is drawn exactly from p(x0 | y) for x0 ~ N(D, C(sigma)), C the measured covariance of the denoiser's error,
/// and x moves to the next level by the law of x_t given x_s and x0, which for x_t = x0 + t n is Gaussian. Exact, whatever the number of
/// steps, where x0 given x_t is Gaussian with covariance C. Where C was measured, the denoiser's Jacobian sharpens the draw (jacobian_gain.hpp). [core/README.md; Song 2021b, eq. 7 for the bridge]
class Bridge : public SamplingMethod {
 public:
  using SamplingMethod::SamplingMethod;

  at::Tensor advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) override;
  std::map<std::string, at::Tensor> state() const override;
  void restore(const std::map<std::string, at::Tensor>& state) override;

 protected:
  /// x0 given y, for x0 ~ N(denoised, covariance) and data with noise sigma_y.
  at::Tensor draw(const at::Tensor& denoised, const SpectralCovariance& covariance, double sigma_y, const Level& level, LevelRecord& record) const;
  /// x at the next level given x_t and x0.
  at::Tensor cross(const at::Tensor& x_t, const at::Tensor& x0, const Level& level) const;

 private:
  /// C(sigma) around the denoised image, as large as the measurement says that it is for this scan, as far as the settings ask for that.
  SpectralCovariance error_covariance(const at::Tensor& denoised, const Level& level, LevelRecord& record);
  /// What the noise of the data in a draw is made of, [B, codomain].
  at::Tensor white_data(const Level& level) const;
  /// The noise that the data are taken to have at a level.
  double annealed_sigma_y(SpectralBasis basis, const Level& level) const;
  SolveOptions solve_options(double sigma_y, const Level& level) const;

  const double norm_ = task_.likelihood ? task_.likelihood->op().norm_bound() : 0.0;
  std::optional<ErrorInflation> inflation_;
  at::Tensor noise_energy_;                    ///< of the measurement, by band: what ErrorInflation takes
  at::Tensor inflation_by_band_;               ///< at the level before
};

}  // namespace postrec
