#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "postrec/error_table.hpp"
#include "postrec/prior.hpp"

namespace postrec {

/// A mixture of Gaussians, x ~ sum_k w_k N(m_k, Q diag(s_k) Q^H), for images of one size: the prior of the test-beds, whose denoiser and
/// posterior are exact. Real images may use either basis (see SpectralCovariance), complex images the DFT.
///
/// D(x, sigma) = sum_k r_k D_k(x), r_k ~ w_k N(x; m_k, C_k + sigma^2 I), D_k = m_k + C_k (C_k + sigma^2)^-1 (x - m_k).
class MixturePrior : public Prior {
 public:
  struct Component {
    double weight = 1.0;
    at::Tensor mean;                           ///< [C, H, W], float32 or complex64
    at::Tensor spectrum;                       ///< s > 0, float32 [C, H, W], in the order of the basis, variance per real component
  };

  /// Weights are normalised. Throws Error(kBadData) on shapes that differ, weights or spectra that are not positive.
  /// The error table is measured, with a fixed seed, when it is first asked for; for one component it is exact.
  MixturePrior(SpectralBasis basis, std::vector<Component> components, PriorInfo info);

  TensorSpec domain() const override;
  const PriorInfo& info() const override { return info_; }
  SigmaRange range() const override;
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const override;
  at::Tensor denoise_under(const at::Tensor& z, const SpectralNoise& noise) const override;
  SpectralCovariance error_covariance(double sigma, const std::vector<std::int64_t>& image_shape) const override;

  SpectralBasis basis() const { return basis_; }
  const std::vector<Component>& components() const { return components_; }

 private:
  /// r_k for each sample, double [B, K]. `variance`: of the noise, frequency 0 first, [C or 1, H or 1, W or 1].
  at::Tensor responsibilities(const at::Tensor& x_in_basis, const at::Tensor& variance) const;
  at::Tensor denoise_in_basis(const at::Tensor& x_in_basis, const at::Tensor& variance, const at::Tensor& weights) const;
  at::Tensor measure_error(double sigma) const;
  const ErrorTable& error_table() const;

  SpectralBasis basis_;
  std::vector<Component> components_;
  PriorInfo info_;
  std::vector<at::Tensor> means_in_basis_;     ///< frequency 0 first, as the spectra
  std::vector<at::Tensor> spectra_;

  struct LazyTable {
    std::once_flag once;
    std::optional<ErrorTable> table;
  };
  std::shared_ptr<LazyTable> table_ = std::make_shared<LazyTable>();
};

}  // namespace postrec
