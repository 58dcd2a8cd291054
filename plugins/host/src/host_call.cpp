#include "host_call.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/Allocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/headeronly/version.h>

#include <array>
#include <memory>

namespace postrec {
namespace {

at::Device device_of(std::int32_t type, std::int32_t index) {
  return type == POSTREC_DEVICE_CUDA ? at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index)) : at::Device(at::kCPU);
}

// No exception may pass through a plugin's frames, which may be C.
void* allocate(void*, std::size_t n_bytes, std::int32_t device_type, std::int32_t device_index) {
  try {
    if (device_type == POSTREC_DEVICE_CUDA) at::globalContext().lazyInitDevice(at::kCUDA);  // its allocator does not begin by itself
    const c10::OptionalDeviceGuard guard(device_of(device_type, device_index));
    return c10::GetAllocator(device_of(device_type, device_index).type())->raw_allocate(n_bytes);
  } catch (...) {
    return nullptr;
  }
}

void release(void*, void* memory, std::int32_t device_type, std::int32_t device_index) {
  if (memory) c10::GetAllocator(device_of(device_type, device_index).type())->raw_deallocate(memory);
}

void parallel_for(void*, std::int64_t begin, std::int64_t end, std::int64_t grain, void (*body)(void*, std::int64_t, std::int64_t),
                  void* context) {
  at::parallel_for(begin, end, std::max<std::int64_t>(grain, 1),
                   [&](std::int64_t first, std::int64_t last) { body(context, first, last); });
}

void log(void* host, std::int32_t level, const char* text) {
  const PluginHooks& hooks = *static_cast<HostCall::State*>(host)->hooks;
  try {
    if (hooks.log && text) hooks.log(level, text);
  } catch (...) {
  }
}

std::int32_t cancelled(void* host) {
  const PluginHooks& hooks = *static_cast<HostCall::State*>(host)->hooks;
  try {
    return hooks.cancelled && hooks.cancelled();
  } catch (...) {
    return 0;
  }
}

void return_given(HostCall::State& state) {
  if (state.release) state.release(state.owner);
  state.data = state.owner = nullptr;
  state.release = nullptr;
}

void return_and_forget(void* given) {
  const std::unique_ptr<HostCall::State> state(static_cast<HostCall::State*>(given));
  return_given(*state);
}

void give_result(void* host, void* data, void* owner, void (*release)(void*)) {
  auto& state = *static_cast<HostCall::State*>(host);
  return_given(state);  // a second result takes the place of the first
  state.data = data;
  state.owner = owner;
  state.release = release;
}

ErrorKind kind_of(postrec_status status) {
  switch (const auto kind = static_cast<ErrorKind>(status)) {
    case ErrorKind::kBadData:
    case ErrorKind::kNoInput:
    case ErrorKind::kUnavailable:
    case ErrorKind::kNumerical:
    case ErrorKind::kOutOfMemory:
    case ErrorKind::kCannotCreate:
    case ErrorKind::kInputOutput:
    case ErrorKind::kTemporary:
    case ErrorKind::kConfiguration:
    case ErrorKind::kInterrupted:
      return kind;
    default:
      return ErrorKind::kInternal;
  }
}

/// Texts of plugins are printed on terminals and in one-line logs.
std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

}  // namespace

std::string host_libtorch_version() {
  return std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR) + "." + std::to_string(TORCH_VERSION_PATCH);
}

void run_plugin(const std::string& who, const std::function<postrec_status(postrec_error*)>& function) {
  std::array<char, 2048> message{}, hint{};
  // The last byte of each is not the plugin's, so that the text ends whatever it writes.
  postrec_error error = {POSTREC_ABI_VERSION, sizeof(postrec_error), message.data(), message.size() - 1, hint.data(), hint.size() - 1};
  postrec_status status = POSTREC_OK;
  try {
    status = function(&error);
  } catch (...) {
    throw Error(ErrorKind::kUnavailable, who + " threw an exception across the plugin boundary", "report this to the author of the plugin");
  }
  if (status == POSTREC_OK) return;
  message.back() = hint.back() = '\0';
  const std::string text = message.front() ? message.data() : "failed with status " + std::to_string(status) + " and no text";
  throw Error(kind_of(status), who + ": " + one_line(text), one_line(hint.data()));
}

HostCall::HostCall(const PluginHooks& hooks, at::Device device)
    : state_{.hooks = &hooks},
      abi_{.abi_version = POSTREC_ABI_VERSION,
           .struct_size = sizeof(postrec_call),
           .host = &state_,
           .cuda_stream = nullptr,
           .allocate = allocate,
           .release = release,
           .parallel_for = parallel_for,
           .log = log,
           .cancelled = cancelled,
           .give_result = give_result} {
  if (device.is_cuda()) abi_.cuda_stream = c10::impl::VirtualGuardImpl(at::kCUDA).getStream(device).native_handle();
}

HostCall::~HostCall() { return_given(state_); }

at::Tensor HostCall::take_given(at::IntArrayRef shape, const at::TensorOptions& options) {
  // The tensor's context is not the owner, which may be null: LibTorch would then call no deleter.
  auto* const given = new State(state_);
  // From here on the tensor returns the memory, even when it cannot be made because the memory lies on another device.
  state_ = State{.hooks = state_.hooks};
  return at::for_blob(given->data, shape).context(given, return_and_forget).options(options).make_tensor();
}

TensorView::TensorView(const at::Tensor& tensor)
    : abi_{POSTREC_ABI_VERSION,
           sizeof(postrec_tensor),
           const_cast<void*>(tensor.const_data_ptr()),
           tensor.sizes().data(),
           tensor.strides().data(),
           static_cast<std::int32_t>(tensor.dim()),
           tensor.is_complex() ? POSTREC_C64 : POSTREC_F32,
           tensor.is_cuda() ? POSTREC_DEVICE_CUDA : POSTREC_DEVICE_CPU,
           tensor.is_cuda() ? tensor.device().index() : 0} {}

}  // namespace postrec
