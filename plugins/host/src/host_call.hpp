#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "postrec/abi.h"
#include "postrec/host/plugin_registry.hpp"

namespace postrec {

/// What PostRec's own LibTorch calls itself: "2.11.0".
std::string host_libtorch_version();

/// Runs a function of a plugin and throws Error when it fails: with the plugin's status and text, made one printable line and headed by
/// `who`, or kUnavailable when it threw across the boundary.
void run_plugin(const std::string& who, const std::function<postrec_status(postrec_error*)>& function);

/// The services of the host for one call on a device, and the result that the plugin gave, if it did.
class HostCall {
 public:
  HostCall(const PluginHooks& hooks, at::Device device);
  ~HostCall();
  HostCall(const HostCall&) = delete;

  const postrec_call* abi() const { return &abi_; }

  /// The memory that the plugin gave; null when it wrote into the output.
  const void* given() const { return state_.data; }

  /// That memory as a tensor, which returns it to the plugin when it dies.
  at::Tensor take_given(at::IntArrayRef shape, const at::TensorOptions& options);

  struct State {
    const PluginHooks* hooks;
    void* data = nullptr;
    void* owner = nullptr;
    void (*release)(void*) = nullptr;
  };

 private:
  State state_;
  postrec_call abi_;
};

/// A tensor as a borrowed view; the tensor must outlive it, and its sizes and strides too.
class TensorView {
 public:
  explicit TensorView(const at::Tensor& tensor);
  const postrec_tensor* abi() const { return &abi_; }

 private:
  postrec_tensor abi_;
};

}  // namespace postrec
