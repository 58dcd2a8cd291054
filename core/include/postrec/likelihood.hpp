#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "postrec/linear_solve.hpp"
#include "postrec/operator.hpp"
#include "postrec/random.hpp"
#include "postrec/spectral_covariance.hpp"

namespace postrec {

/// Which entries of the measurement depend on the image at all, boolean [codomain]: the samples that a mask or a weight of 0 leaves out and
/// the rays that miss the image do not. Asked of the operator with a random image, which no row cancels.
at::Tensor measured_entries(const Operator& op, const at::Device& device = at::kCPU);

/// y = A x + n, n ~ N(0, sigma_y^2 I) per real component. Other noise becomes this by whitened_operator.hpp.
class GaussianLikelihood {
 public:
  /// y: [codomain], without a batch axis. Entries that were not measured say nothing and are set to 0.
  /// Throws Error(kBadData) on a shape or type that is not the operator's, on NaN, on sigma_y <= 0,
  /// and Error(kUsage) on an operator that is not linear.
  GaussianLikelihood(std::shared_ptr<const Operator> op, at::Tensor y, double sigma_y);

  const Operator& op() const { return *op_; }
  const at::Tensor& y() const { return y_; }
  double sigma_y() const { return sigma_y_; }
  /// The noise that the data may be taken to have where noise of the image as large as `covering` follows: sigma_y, or g covering where that is more, with g how little the operator passes on of what
  /// it passes on at all: the root of a low quantile (.1) of diag(Q^H A^H A Q) over frequencies above a hundredth of the largest. g is 0 where A^H A is closer to diagonal in pixels.
  double annealed_sigma_y(SpectralBasis basis, double covering) const;
  /// The same measurement with noise of another size. Copies nothing. Throws Error(kBadData) on sigma_y <= 0.
  GaussianLikelihood with_sigma_y(double sigma_y) const;
  /// Real components of the measured entries.
  std::int64_t n_measured() const { return n_measured_; }

  /// ||A x - y||^2 / (m sigma_y^2) per sample, [B, domain] -> [B]; m = n_measured(). About 1 when right.
  at::Tensor reduced_chi2(const at::Tensor& x) const;

  /// An exact draw of x0 ~ p(x0 | y) for x0 ~ N(mean, C), one per sample of `mean` [B, domain].
  /// Perturb and solve in image space with x0 = mean + F u, C = F F^H; `white_image` and `white_data` are standard normal
  /// tensors [B, domain] and [B, codomain]. The solve starts at u = white_image, which is right in every direction that the data do not see.
  /// `mean_chi2`, when given, receives reduced_chi2(mean), which comes at no cost here.
  /// [Papandreou 2010]
  at::Tensor draw_posterior(const at::Tensor& mean, const SpectralCovariance& covariance, const at::Tensor& white_image,
                            const at::Tensor& white_data, const SolveOptions& options, SolveReport& report,
                            std::vector<double>* mean_chi2 = nullptr) const;

  /// C A^H (A C A^H + sigma_y^2 I)^-1 r, [B, codomain] -> [B, domain]: how far E[x0 | y] of x0 ~ N(mean, C) moves when the data move by r.
  at::Tensor gain(const at::Tensor& r, const SpectralCovariance& covariance, const SolveOptions& options, SolveReport& report) const;

  /// r^H S^-1 r per sample, r = y - A mean, S = A C A^H + sigma_y^2 I: how far the data are from what x0 ~ N(mean, C) predicts, [B, domain] -> [B].
  /// It is the least ||r - A F u||^2/sigma_y^2 + ||u||^2 over u, so a solver's error enters squared: the figure is about
  /// tolerance^2 n too large at most, n real components of the image. `u` [B, domain] holds the first guess (0 when undefined) and receives the solution.
  std::vector<double> data_distance(const at::Tensor& mean, const SpectralCovariance& covariance, at::Tensor& u, const SolveOptions& options,
                                    SolveReport& report) const;

 private:
  class Spectrum;
  struct WhiteSystem;

  WhiteSystem white_system(const SpectralCovariance& covariance, const at::Device& device) const;
  /// F^H A^H r/sigma_y^2, [B, codomain] -> [B, domain].
  at::Tensor white_backprojection(const at::Tensor& r, const SpectralCovariance& covariance) const;
  /// u with (I + F^H A^H A F/sigma_y^2) u = right_side, [B, domain], from the first guess that it holds.
  SolveReport solve(const at::Tensor& right_side, const SpectralCovariance& covariance, at::Tensor& u, const SolveOptions& options) const;
  std::vector<double> chi2_of_residual(const at::Tensor& residual) const;

  std::shared_ptr<const Operator> op_;
  at::Tensor y_;
  double sigma_y_;
  std::int64_t n_measured_ = 0;
  std::shared_ptr<Spectrum> spectrum_;         ///< what is known of A^H A in the basis of the covariance; shared by copies
};

}  // namespace postrec
