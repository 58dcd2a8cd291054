#pragma once

#include <ATen/ATen.h>

#include "postrec/operator.hpp"

namespace postrec {

/// A tensor of the host on `device`, in memory of its own with the same strides; undefined ones, and on the CPU the tensor itself.
inline at::Tensor copied_to(const at::Tensor& t, at::Device device) {
  if (!t.defined() || device.is_cpu()) return t;
  return at::empty_strided(t.sizes(), t.strides(), t.options().device(device)).copy_(t);
}

/// An operator on one device as tensors of the host see it: what goes in is copied there, what comes out is copied back. So every law hands
/// over the same numbers on every device and is judged by the same sums in double.
class OnDevice : public Operator {
 public:
  OnDevice(const Operator& op, at::Device device) : op_(op), device_(device) {}

  TensorSpec domain() const override { return op_.domain(); }
  TensorSpec codomain() const override { return op_.codomain(); }
  OperatorTraits traits() const override { return op_.traits(); }
  at::Tensor forward(const at::Tensor& x) const override { return op_.forward(there(x)).cpu(); }
  using Operator::adjoint;
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor& x) const override { return op_.adjoint(there(v), there(x)).cpu(); }
  at::Tensor normal(const at::Tensor& x) const override { return op_.normal(there(x)).cpu(); }
  at::Tensor normal_solve(double lambda, const at::Tensor& b) const override { return op_.normal_solve(lambda, there(b)).cpu(); }
  at::Tensor pseudo_inverse(const at::Tensor& y) const override { return op_.pseudo_inverse(there(y)).cpu(); }
  double norm_bound() const override { return op_.norm_bound(); }

 private:
  at::Tensor there(const at::Tensor& t) const { return copied_to(t, device_); }

  const Operator& op_;
  at::Device device_;
};

}  // namespace postrec
