#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>

#include "postrec/abi.h"
#include "postrec/host/plugin_registry.hpp"

namespace postrec {

/// An operator that lives in a plugin. Checks shape, type and device of every batch before it crosses and what comes back after.
///
/// The result lies on the device of the input: for a plugin that does not know that device, tensors are copied to one that it knows. On CUDA a call, the copies before and after it
/// and the memory of its result are all on the current stream of that device, which is current during the call.
/// Nothing is recorded for autograd; a caller that differentiates uses adjoint.
class PluginOperator : public Operator {
 public:
  /// `parameters` were checked. Throws Error: what create reports, or kUnavailable when what the plugin declares cannot be.
  PluginOperator(const postrec_operator_type& abi, const OperatorType& type, const Parameters& parameters,
                 std::shared_ptr<const PluginHooks> hooks);
  TensorSpec domain() const override { return domain_; }
  TensorSpec codomain() const override { return codomain_; }
  OperatorTraits traits() const override { return traits_; }
  at::Tensor forward(const at::Tensor& x) const override;
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor& x) const override;
  at::Tensor normal(const at::Tensor& x) const override;
  at::Tensor normal_solve(double lambda, const at::Tensor& b) const override;
  at::Tensor pseudo_inverse(const at::Tensor& y) const override;
  double norm_bound() const override;

 private:
  using Function = std::function<postrec_status(const postrec_call*, const postrec_tensor* in, const postrec_tensor* out, postrec_error*)>;

  struct Destroy {
    void (*destroy)(void*);
    void operator()(void* handle) const noexcept;
  };

  void create(const Parameters& parameters);
  void read_declarations();
  at::Device working_device(at::Device wanted) const;
  at::Tensor prepared(const at::Tensor& input, const TensorSpec& spec, const char* function, at::Device device) const;
  /// `point`: where a non-linear operator is differentiated. The result may be neither its memory nor the input's.
  at::Tensor call(const char* function, const at::Tensor& input, const TensorSpec& in_spec, const TensorSpec& out_spec,
                  const Function& body, const at::Tensor& point = {}) const;

  const postrec_operator_type& abi_;
  std::string who_;  ///< "operator 'mri-fourier'", for messages
  OperatorType type_;
  std::shared_ptr<const PluginHooks> hooks_;
  std::unique_ptr<void, Destroy> handle_;
  TensorSpec domain_;
  TensorSpec codomain_;
  OperatorTraits traits_;
};

}  // namespace postrec
