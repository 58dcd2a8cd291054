#pragma once

#include <vector>

#include "postrec/prior.hpp"

namespace postrec::test {

/// A prior that lies about its error: c is not what it should be. `measured`: says that c was measured, so that samplers may doubt it.
class WrongTable : public Prior {
 public:
  WrongTable(const Prior& prior, double factor, bool measured = false) : prior_(prior), factor_(factor), measured_(measured) {}
  TensorSpec domain() const override { return prior_.domain(); }
  const PriorInfo& info() const override { return prior_.info(); }
  SigmaRange range() const override { return prior_.range(); }
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const override { return prior_.denoise(x_t, sigma); }
  bool error_covariance_is_measured() const override { return measured_; }
  SpectralCovariance error_covariance(double sigma, const std::vector<std::int64_t>& shape) const override {
    const SpectralCovariance right = prior_.error_covariance(sigma, shape);
    return SpectralCovariance(right.basis(), right.eigenvalues() * factor_);
  }

 private:
  const Prior& prior_;
  double factor_;
  bool measured_;
};

}  // namespace postrec::test
