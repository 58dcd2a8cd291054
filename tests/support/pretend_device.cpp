#include "pretend_device.hpp"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <string>
#include <tuple>
#include <unordered_set>
#include <vector>

namespace postrec::pretend {
namespace {

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

// No address of x86_64 or ARM with this bit set and the one above it clear is valid: whoever reads it crashes.
constexpr std::uintptr_t kNotTheHosts = std::uintptr_t{1} << 62;

struct State {
  std::atomic<std::int64_t> to_host{0}, to_device{0}, waits{0}, queued{0};
  std::atomic<std::size_t> limit{0}, in_use{0}, peak{0};
};

State& state() {
  static State instance;
  return instance;
}

// ---- Memory --------------------------------------------------------------------------------------------------------------------------

/// What stands before each block: its size.
constexpr std::size_t kHeader = 64;

void* device_address(void* host) { return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(host) | kNotTheHosts); }

void release(void* data) {
  if (!data) return;
  char* block = static_cast<char*>(host_address(data)) - kHeader;
  state().in_use -= *reinterpret_cast<std::size_t*>(block);
  std::free(block);
}

class PretendAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t n_bytes) override {
    const std::size_t in_use = state().in_use += n_bytes, limit = state().limit;
    if (limit > 0 && in_use > limit) {
      state().in_use -= n_bytes;
      C10_THROW_ERROR(OutOfMemoryError, "the pretend device is out of memory: tried to allocate " + std::to_string(n_bytes) + " bytes");
    }
    for (std::size_t peak = state().peak; in_use > peak && !state().peak.compare_exchange_weak(peak, in_use);) {
    }
    auto* block = static_cast<char*>(std::aligned_alloc(64, kHeader + (n_bytes + 63) / 64 * 64));
    if (!block) throw std::bad_alloc();
    *reinterpret_cast<std::size_t*>(block) = n_bytes;
    void* data = device_address(block + kHeader);
    return {data, data, release, device()};
  }
  c10::DeleterFnPtr raw_deleter() const override { return release; }
  void copy_data(void* to, const void* from, std::size_t n_bytes) const override { std::memcpy(host_address(to), host_address(from), n_bytes); }
};

PretendAllocator& allocator() {
  static PretendAllocator instance;
  return instance;
}

/// What autograd asks for before it adds gradients up: that the device is there.
struct PretendHooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
};

/// One stream, and every call is done when it returns: there is nothing to record and to wait for.
struct PretendGuard final : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::PrivateUse1> {
  c10::Device exchangeDevice(c10::Device) const override { return device(); }
  c10::Device getDevice() const override { return device(); }
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, device()); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, device()); }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, PretendGuard);

const bool kRegistered = [] {
  c10::SetAllocator(c10::DeviceType::PrivateUse1, &allocator());
  static PretendHooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  c10::register_privateuse1_backend("pretend");
  return true;
}();

// ---- Tensors -------------------------------------------------------------------------------------------------------------------------

bool is_here(const at::Tensor& t) { return t.defined() && t.device().type() == c10::DeviceType::PrivateUse1; }

/// The same memory as a tensor of the host; tensors of the host themselves.
at::Tensor on_host(const at::Tensor& t) {
  if (!is_here(t)) return t;
  const at::TensorOptions options = at::TensorOptions().dtype(t.dtype()).device(at::kCPU);
  at::Tensor view = t.numel() == 0 && t.storage().nbytes() == 0 ? at::empty_strided(t.sizes(), t.strides(), options)
                                                                 : at::from_blob(host_address(t.const_data_ptr()), t.sizes(), t.strides(), options);
  if (t.is_conj()) view._set_conj(true);
  if (t.is_neg()) view._set_neg(true);
  return view;
}

at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                         std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &allocator(), kKeys, dtype.value_or(at::kFloat));
}

at::Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &allocator(), kKeys, dtype.value_or(at::kFloat), format);
}

/// A tensor of the device with what the host's holds.
at::Tensor moved_here(const at::Tensor& host) {
  const at::Tensor resolved = host.resolve_conj().resolve_neg();
  at::Tensor here = at::detail::empty_strided_generic(resolved.sizes(), resolved.strides(), &allocator(), kKeys, resolved.scalar_type());
  if (resolved.numel() > 0) on_host(here).copy_(resolved);
  return here;
}

// ---- Operators -----------------------------------------------------------------------------------------------------------------------

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  if (is_here(from) && !is_here(to)) ++state().to_host;
  if (!is_here(from) && is_here(to)) ++state().to_device;
  if (is_here(from) && is_here(to)) ++state().queued;
  on_host(to).copy_(on_host(from));
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar local_scalar(const at::Tensor& t) {
  ++state().waits;
  return on_host(t).item();
}

at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias, at::IntArrayRef stride, at::IntArrayRef padding,
                       at::IntArrayRef dilation, bool transposed, at::IntArrayRef output_padding, std::int64_t groups) {
  TORCH_CHECK(is_here(input) && is_here(weight) && (!bias || !bias->defined() || is_here(*bias)), "a convolution mixes tensors of the host and of the device");
  ++state().queued;
  const std::optional<at::Tensor> host_bias = bias && bias->defined() ? std::optional(on_host(*bias)) : std::nullopt;
  return moved_here(at::convolution(on_host(input), on_host(weight), host_bias, stride, padding, dilation, transposed, output_padding, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(const at::Tensor& grad, const at::Tensor& input, const at::Tensor& weight, at::IntArrayRef stride, at::IntArrayRef padding,
                                                                     at::IntArrayRef dilation, bool transposed, at::IntArrayRef output_padding, std::int64_t groups, std::array<bool, 3> wanted) {
  TORCH_CHECK(is_here(grad) && is_here(input) && is_here(weight), "the gradient of a convolution mixes tensors of the host and of the device");
  ++state().queued;
  const auto there = [](const at::Tensor& t) { return t.defined() ? moved_here(t) : t; };
  const auto [of_input, of_weight, of_bias] = at::convolution_backward(on_host(grad), on_host(input), on_host(weight), std::vector<std::int64_t>{weight.size(0)}, stride, padding, dilation,
                                                                      transposed, output_padding, groups, wanted);
  return {there(of_input), there(of_weight), there(of_bias)};
}

const std::unordered_set<std::string>& waiting_operators() {
  static const std::unordered_set<std::string> names = {"aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim", "aten::equal", "aten::bincount"};
  return names;
}

/// An index of booleans makes a result whose size the host must wait for.
bool has_boolean_index(const c10::OperatorHandle& op, const torch::jit::Stack& inputs) {
  if (op.schema().name() != "aten::index" || !inputs.back().isList()) return false;
  for (const c10::IValue& item : inputs.back().toListRef()) {
    if (!item.isTensor()) continue;
    const at::Tensor index = item.toTensor();
    if (index.defined() && (index.scalar_type() == at::kBool || index.scalar_type() == at::kByte)) return true;
  }
  return false;
}

/// The arguments of one call as the CPU's kernels take them, and which tensors of the device they stand for.
class Call {
 public:
  explicit Call(const c10::OperatorHandle& op) : op_(op) {}

  c10::IValue translated(const c10::IValue& value) {
    if (value.isTensor()) return translated(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& t : value.toTensorVector()) list.push_back(translated(t));
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor>& t : value.toOptionalTensorVector()) list.push_back(t && t->defined() ? std::optional(translated(*t)) : std::nullopt);
      return list;
    }
    if (value.isDevice() && value.toDevice().type() == c10::DeviceType::PrivateUse1) return c10::Device(at::kCPU);
    return value;
  }

  void check() const {
    TORCH_CHECK(from_host_.empty() || hosts_.empty(), op_.schema().name(), " mixes a tensor of the device with one of the host, ", from_host_);
  }

  /// What the CPU's kernel returned, on the device: the argument itself where the operator works in place.
  c10::IValue returned(const c10::IValue& value) const {
    if (value.isTensor()) return returned(value.toTensor());
    if (!value.isTensorList()) return value;
    c10::List<at::Tensor> list;
    for (const at::Tensor& t : value.toTensorVector()) list.push_back(returned(t));
    return list;
  }

 private:
  at::Tensor translated(const at::Tensor& t) {
    if (!t.defined()) return t;
    if (!is_here(t)) {
      if (t.dim() > 0) from_host_ = c10::str(t.sizes());
      return t;
    }
    at::Tensor host = on_host(t);
    here_.push_back(t);
    hosts_.push_back(host);
    return host;
  }

  at::Tensor returned(const at::Tensor& t) const {
    if (!t.defined()) return t;
    for (std::size_t i = 0; i < hosts_.size(); ++i)
      if (hosts_[i].is_same(t)) return with_new_size(here_[i], t);
    return moved_here(t);
  }

  /// An `out` argument of size 0 that the kernel has given memory to.
  static at::Tensor with_new_size(const at::Tensor& here, const at::Tensor& host) {
    if (here.sizes() == host.sizes()) return here;
    here.resize_(host.sizes());
    on_host(here).copy_(host);
    return here;
  }

  const c10::OperatorHandle& op_;
  std::vector<at::Tensor> here_, hosts_;
  std::string from_host_;
};

void run_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  for (const c10::Argument& result : schema.returns())
    TORCH_CHECK(!result.alias_info() || result.alias_info()->isWrite(), "the pretend device has no view '", schema.name(), "'");
  const std::size_t n = schema.arguments().size();
  torch::jit::Stack inputs(stack->end() - static_cast<std::ptrdiff_t>(n), stack->end());
  torch::jit::drop(*stack, n);
  if (waiting_operators().count(schema.name()) > 0 || has_boolean_index(op, inputs)) ++state().waits;
  ++state().queued;
  Call call(op);
  torch::jit::Stack host;
  for (const c10::IValue& value : inputs) host.push_back(call.translated(value));
  call.check();
  op.callBoxed(&host);
  for (const c10::IValue& value : host) stack->push_back(call.returned(value));
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("as_strided", at::native::as_strided_tensorimpl);
  library.impl("view", at::native::view);
  library.impl("_reshape_alias", at::native::_reshape_alias);
  library.impl("unfold", at::native::unfold);
  library.impl("view_as_real", at::native::view_as_real);
  library.impl("view_as_complex", at::native::view_as_complex);
  library.impl("resize_", at::native::resize_);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  library.impl("_local_scalar_dense", local_scalar);
  library.impl("convolution_overrideable", convolution);
  library.impl("convolution_backward_overrideable", convolution_backward);
  // Its general form wants contiguous features, which neither the CPU's kernel nor CUDA's does.
  library.impl("native_group_norm", torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

// A copy resolves a pending conjugation or negation itself.
TORCH_LIBRARY_IMPL(aten, Conjugate, library) { library.impl("_copy_from", torch::CppFunction::makeFallthrough()); }
TORCH_LIBRARY_IMPL(aten, Negative, library) { library.impl("_copy_from", torch::CppFunction::makeFallthrough()); }

}  // namespace

c10::Device device() { return {c10::DeviceType::PrivateUse1, 0}; }

Traffic traffic() { return {state().to_host, state().to_device, state().waits, state().queued}; }

void reset_traffic() { state().to_host = state().to_device = state().waits = state().queued = 0; }

void limit_memory(std::size_t n_bytes) {
  state().limit = n_bytes;
  state().peak = state().in_use.load();
}

std::size_t memory_in_use() { return state().in_use; }

std::size_t peak_memory() { return state().peak; }

void* host_address(const void* data) { return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(data) & ~kNotTheHosts); }

}  // namespace postrec::pretend
