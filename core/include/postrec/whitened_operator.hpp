#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "postrec/likelihood.hpp"
#include "postrec/operator.hpp"

namespace postrec {

class TensorsByDevice;

/// A linear map M of measurements that makes their noise white: where n ~ N(0, Sigma), M Sigma M^H = sigma_y^2 I.
///
/// Every Gaussian noise model is this and nothing more: y = A x + n is M y = (M A) x + white noise, which the samplers know.
/// All tensors are batches [B, codomain] of the operator that measured.
class Whitening {
 public:
  virtual ~Whitening() = default;

  /// M v.
  virtual at::Tensor whiten(const at::Tensor& v) const = 0;
  /// M^H v.
  virtual at::Tensor whiten_adjoint(const at::Tensor& v) const = 0;
  /// M^H M v.
  virtual at::Tensor precision(const at::Tensor& v) const = 0;
  /// M^-1 v: white noise becomes that of the measurement. 0 where M is.
  virtual at::Tensor colour(const at::Tensor& v) const = 0;
  /// A bound of ||M v|| / ||v||.
  virtual double norm_bound() const = 0;
  /// Throws Error(kConfiguration) when measurements of this kind cannot be whitened.
  virtual void require_fit(const TensorSpec& codomain) const = 0;
};

/// Noise of variance sigma_y^2/w in each real component of an entry of weight w: M = W^(1/2). An entry of weight 0 was not measured.
/// [Sauer 1993]
class EntryWeights : public Whitening {
 public:
  /// w >= 0: float32 [codomain]. Throws Error(kBadData) on another type, on negative numbers and NaN, and when every weight is 0.
  explicit EntryWeights(const at::Tensor& weights);

  at::Tensor whiten(const at::Tensor& v) const override;
  at::Tensor whiten_adjoint(const at::Tensor& v) const override { return whiten(v); }
  at::Tensor precision(const at::Tensor& v) const override;
  at::Tensor colour(const at::Tensor& v) const override;
  double norm_bound() const override { return largest_root_; }
  void require_fit(const TensorSpec& codomain) const override;

 private:
  enum Table : std::size_t { kWeights, kRoot, kInverseRoot };  // w, w^(1/2), w^(-1/2) which is 0 where w is

  std::shared_ptr<TensorsByDevice> tables_;
  double largest_root_;
};

/// Noise that the coils of an array share: n ~ N(0, Psi) over the coils, the same at every sample of k-space; M = L^-1 with Psi/2 = L
/// L^H, so that each real component has unit variance. [Pruessmann 2001]
class CoilWhitening : public Whitening {
 public:
  /// Psi = E[n n^H] of the complex noise, of which each real component has half: complex64 or float32 [coil, coil].
  /// Throws Error(kBadData) unless it is square, Hermitian and positive definite.
  explicit CoilWhitening(const at::Tensor& covariance);

  at::Tensor whiten(const at::Tensor& v) const override;
  at::Tensor whiten_adjoint(const at::Tensor& v) const override;
  at::Tensor precision(const at::Tensor& v) const override;
  at::Tensor colour(const at::Tensor& v) const override;
  double norm_bound() const override { return norm_bound_; }
  void require_fit(const TensorSpec& codomain) const override;

  /// Root mean square over coils of the noise per real component.
  double sigma_y() const { return sigma_y_; }

 private:
  enum Matrix : std::size_t { kColouring, kWhitening, kWhiteningAdjoint, kPrecision };  // L, L^-1, L^-H, L^-H L^-1; complex64 [coil, coil]

  std::shared_ptr<TensorsByDevice> matrices_;
  std::int64_t n_coils_;
  double norm_bound_;
  double sigma_y_;
};

/// M A. Its bound of the norm is the product of both bounds.
class WhitenedOperator : public Operator {
 public:
  /// Throws what Whitening::require_fit throws.
  WhitenedOperator(std::shared_ptr<const Operator> op, std::shared_ptr<const Whitening> whitening);

  TensorSpec domain() const override { return op_->domain(); }
  TensorSpec codomain() const override { return op_->codomain(); }
  OperatorTraits traits() const override { return {.linear = op_->traits().linear}; }
  at::Tensor forward(const at::Tensor& x) const override { return whitening_->whiten(op_->forward(x)); }
  using Operator::adjoint;
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor& x) const override { return op_->adjoint(whitening_->whiten_adjoint(v), x); }
  at::Tensor normal(const at::Tensor& x) const override { return op_->adjoint(whitening_->precision(op_->forward(x)), x); }
  double norm_bound() const override { return whitening_->norm_bound() * op_->norm_bound(); }

 private:
  std::shared_ptr<const Operator> op_;
  std::shared_ptr<const Whitening> whitening_;
};

/// The likelihood of y [codomain], whose noise `whitening` makes white with standard deviation sigma_y.
GaussianLikelihood whitened_likelihood(std::shared_ptr<const Operator> op, const at::Tensor& y, std::shared_ptr<const Whitening> whitening,
                                       double sigma_y);

}  // namespace postrec
