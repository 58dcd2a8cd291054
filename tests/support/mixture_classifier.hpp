#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "exact_posterior.hpp"
#include "postrec/classifier.hpp"
#include "postrec/mixture_prior.hpp"

namespace postrec::test {

/// p(component | x_t) of a mixture prior, exactly. The gradient of log p(k | x_t) is (D_k - D)/sigma^2, D_k the denoiser of component k alone.
class MixtureClassifier : public Classifier {
 public:
  explicit MixtureClassifier(std::shared_ptr<const MixturePrior> prior) : prior_(std::move(prior)) {
    for (const MixturePrior::Component& component : prior_->components())
      alone_.push_back(std::make_shared<MixturePrior>(prior_->basis(), std::vector<MixturePrior::Component>{component}, prior_->info()));
  }

  TensorSpec domain() const override { return prior_->domain(); }
  std::int64_t n_classes() const override { return static_cast<std::int64_t>(alone_.size()); }

  Answer log_probability(const at::Tensor& x_t, double sigma, std::int64_t k) const override {
    const at::Tensor difference = alone_[k]->denoise(x_t, sigma) - prior_->denoise(x_t, sigma);
    const at::Tensor all = at::log_softmax(log_densities(x_t, sigma), 1).select(1, k).contiguous();
    return {{all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel()}, difference / (sigma * sigma)};
  }

  const MixturePrior& alone(std::int64_t k) const { return *alone_[k]; }

 private:
  /// log (w_k N(x_t; m_k, C_k + sigma^2)), up to one number, double [B, K].
  at::Tensor log_densities(const at::Tensor& x_t, double sigma) const {
    std::vector<at::Tensor> result;
    for (const MixturePrior::Component& component : prior_->components()) {
      const SpectralCovariance covariance(prior_->basis(), component.spectrum);
      const at::Tensor variance = component.spectrum.to(at::kDouble) + sigma * sigma;
      const at::Tensor in_basis = covariance.to_basis(x_t - component.mean).abs().to(at::kDouble);
      const double parts = x_t.is_complex() ? 2.0 : 1.0;
      result.push_back(std::log(component.weight) - 0.5 * (in_basis.square() / variance).flatten(1).sum(1) - 0.5 * parts * variance.log().sum());
    }
    return at::stack(result, 1);
  }

  std::shared_ptr<const MixturePrior> prior_;
  std::vector<std::shared_ptr<MixturePrior>> alone_;
};

}  // namespace postrec::test
