#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <utility>

#include "exact_posterior.hpp"

namespace postrec::test {

/// x to (x / sigma, A x / sigma_y): what x_t = x + sigma n and y = A x + sigma_y n' measure, both with unit noise. Only what ExactPosterior asks for.
class PairOperator : public Operator {
 public:
  PairOperator(std::shared_ptr<const Operator> op, double sigma, double sigma_y) : op_(std::move(op)), sigma_(sigma), sigma_y_(sigma_y) {}

  TensorSpec domain() const override { return op_->domain(); }
  TensorSpec codomain() const override { return {{real_size(op_->domain()) + real_size(op_->codomain())}, at::kFloat}; }
  OperatorTraits traits() const override { return {}; }
  at::Tensor forward(const at::Tensor& x) const override { return pair(x, op_->forward(x)); }
  at::Tensor pair(const at::Tensor& x_t, const at::Tensor& y) const {
    return at::cat({as_real_rows(x_t) / sigma_, as_real_rows(y) / sigma_y_}, 1).to(at::kFloat);
  }
  at::Tensor adjoint(const at::Tensor&, const at::Tensor&) const override { throw Error(ErrorKind::kInternal, "a pair has no adjoint here", ""); }
  double norm_bound() const override { return 1.0 / sigma_ + op_->norm_bound() / sigma_y_; }

 private:
  std::shared_ptr<const Operator> op_;
  double sigma_;
  double sigma_y_;
};

/// E[x | x_t, y] for each sample of x_t [B, domain] with its y [B, codomain], by dense matrices: double [B, n], rows of real components.
inline at::Tensor exact_conditional_mean(const MixturePrior& prior, const std::shared_ptr<const Operator>& op, const at::Tensor& x_t, double sigma,
                                         const at::Tensor& y, double sigma_y) {
  const PairOperator pair(op, sigma, sigma_y);
  const at::Tensor data = pair.pair(x_t, y);
  std::vector<at::Tensor> means;
  for (std::int64_t b = 0; b < data.size(0); ++b) means.push_back(ExactPosterior(prior, pair, data[b], 1.0).mean());
  return at::stack(means);
}

}  // namespace postrec::test
