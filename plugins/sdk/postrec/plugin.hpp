#pragma once

/// Makes a plugin out of C++ classes: derive from postrec::Operator, describe it with a postrec::OperatorType, and end one source file with
///
///   POSTREC_PLUGIN("org.example.blur", "1.0.0", "Apache-2.0", {blur_type()})
///
/// The macro defines the one function that a plugin exports. Everything here runs inside the plugin: tensors cross as borrowed views, and
/// no exception leaves (an Error keeps its kind, message and hint).
///
/// An OperatorType whose `devices` names CUDA is called with tensors there. The plugin shares LibTorch and the thread with the host: the device of the tensors is current, and
/// LibTorch's current stream is the call's (postrec_call.cuda_stream), so that LibTorch's operations need nothing. Kernels of the plugin's own are launched on
/// LibTorch's current stream too, and nothing may wait for it. An operator is made on the CPU: it copies its constants to a device once, at the first call from there.

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postrec/abi.h"
#include "postrec/operator.hpp"
#include "postrec/out_of_memory.hpp"

#define POSTREC_SDK_TEXT_(x) #x
#define POSTREC_SDK_TEXT(x) POSTREC_SDK_TEXT_(x)
#define POSTREC_SDK_LIBTORCH \
  POSTREC_SDK_TEXT(TORCH_VERSION_MAJOR) "." POSTREC_SDK_TEXT(TORCH_VERSION_MINOR) "." POSTREC_SDK_TEXT(TORCH_VERSION_PATCH)

namespace postrec::sdk {

// ---- Errors ------------------------------------------------------------------------------------------------------------------------

// Views and not strings, which allocate: these also tell that there is no memory.
inline void copy_text(std::string_view text, char* buffer, std::size_t capacity) noexcept {
  if (buffer && capacity > 0) buffer[text.copy(buffer, capacity - 1)] = '\0';
}

inline postrec_status report(postrec_error* error, ErrorKind kind, std::string_view message, std::string_view hint = {}) noexcept {
  if (error) {
    copy_text(message, error->message, error->message_capacity);
    copy_text(hint, error->hint, error->hint_capacity);
  }
  return static_cast<postrec_status>(kind);
}

/// Runs `body` without an autograd graph and turns whatever it throws into a status and a text.
template <class Body>
postrec_status guarded(postrec_error* error, Body&& body) noexcept {
  try {
    const at::NoGradGuard no_graph;
    body();
    return POSTREC_OK;
  } catch (const Error& e) {
    return report(error, e.kind(), e.message(), e.hint());
  } catch (const std::bad_alloc&) {
    return report(error, ErrorKind::kOutOfMemory, "out of memory in a plugin");
  } catch (const c10::Error& e) {
    return report(error, is_out_of_memory(e) ? ErrorKind::kOutOfMemory : ErrorKind::kInternal, e.what_without_backtrace());
  } catch (const std::exception& e) {
    return report(error, ErrorKind::kInternal, e.what());
  } catch (...) {
    return report(error, ErrorKind::kInternal, "a plugin threw something that is not a std::exception");
  }
}

// ---- Tensors -----------------------------------------------------------------------------------------------------------------------

inline at::TensorOptions options_of(const postrec_tensor& tensor) {
  const auto device = tensor.device_type == POSTREC_DEVICE_CUDA ? at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(tensor.device_index))
                                                                : at::Device(at::kCPU);
  return at::TensorOptions().dtype(tensor.dtype == POSTREC_C64 ? at::kComplexFloat : at::kFloat).device(device);
}

inline at::IntArrayRef shape_of(const postrec_tensor& tensor) { return {tensor.shape, static_cast<std::size_t>(tensor.n_dims)}; }

inline at::Tensor view_of(const postrec_tensor& tensor) {
  const at::IntArrayRef strides(tensor.strides, static_cast<std::size_t>(tensor.n_dims));
  return at::from_blob(tensor.data, shape_of(tensor), strides, options_of(tensor));
}

inline std::string text_of(at::IntArrayRef shape, at::ScalarType dtype) {
  std::string text = "[";
  for (const auto size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "] of " + c10::toString(dtype);
}

/// Whether nobody but this tensor holds its memory, and all of it is the result: then it can go to the host as it is. Memory without an
/// allocator is somebody else's, as the input views are.
inline bool is_sole_owner(const at::Tensor& tensor) {
  const c10::Storage& storage = tensor.storage();
  return tensor.is_contiguous() && !tensor.is_conj() && !tensor.is_neg() && tensor.use_count() == 1 && storage.use_count() == 1 &&
         storage.allocator() && storage.nbytes() <= 2 * tensor.nbytes();
}

/// Gives a result to the host: a fresh one as it is, of a shared one (a view, a member, the input) a copy.
inline void deliver(at::Tensor result, const postrec_call& call, const postrec_tensor& out, const char* function) {
  const at::IntArrayRef shape = shape_of(out);
  const at::TensorOptions options = options_of(out);
  if (!result.defined()) throw Error(ErrorKind::kInternal, std::string(function) + " returned an undefined tensor");
  if (result.sizes() != shape || result.scalar_type() != options.dtype().toScalarType())
    throw Error(ErrorKind::kInternal, std::string(function) + " returned " + text_of(result.sizes(), result.scalar_type()),
                "it must be " + text_of(shape, options.dtype().toScalarType()));
  if (result.device() != options.device() || !is_sole_owner(result)) result = at::empty(shape, options).copy_(result);
  void* data = result.mutable_data_ptr();
  call.give_result(call.host, data, new at::Tensor(std::move(result)), [](void* owner) { delete static_cast<at::Tensor*>(owner); });
}

inline void fill(const TensorSpec& spec, postrec_tensor_spec* out) {
  if (spec.shape.size() > POSTREC_ABI_MAX_DIMS || (spec.dtype != at::kFloat && spec.dtype != at::kComplexFloat))
    throw Error(ErrorKind::kInternal, "a tensor specification is " + text_of(spec.shape, spec.dtype),
                "at most 8 axes of float or complex float");
  out->n_dims = static_cast<std::int32_t>(spec.shape.size());
  out->dtype = spec.dtype == at::kComplexFloat ? POSTREC_C64 : POSTREC_F32;
  std::copy(spec.shape.begin(), spec.shape.end(), out->shape);
}

// ---- Parameters --------------------------------------------------------------------------------------------------------------------

inline ParameterValue value_of(const postrec_parameter& parameter) {
  switch (parameter.type) {
    case POSTREC_BOOLEAN: return parameter.boolean != 0;
    case POSTREC_INTEGER: return parameter.integer;
    case POSTREC_REAL: return parameter.real;
    case POSTREC_TEXT:
    case POSTREC_CHOICE: return std::string(parameter.text);
    case POSTREC_REAL_LIST: return std::vector<double>(parameter.list, parameter.list + parameter.n_list);
    // A copy, because an operator may keep it and the view is borrowed.
    case POSTREC_TENSOR: return view_of(*parameter.tensor).clone(at::MemoryFormat::Contiguous);
  }
  throw Error(ErrorKind::kInternal,
              std::string("parameter '") + parameter.key + "' has the unknown type " + std::to_string(parameter.type));
}

inline std::int32_t type_code(ParameterType type) {
  switch (type) {
    case ParameterType::kBoolean: return POSTREC_BOOLEAN;
    case ParameterType::kInteger: return POSTREC_INTEGER;
    case ParameterType::kReal: return POSTREC_REAL;
    case ParameterType::kText: return POSTREC_TEXT;
    case ParameterType::kChoice: return POSTREC_CHOICE;
    case ParameterType::kRealList: return POSTREC_REAL_LIST;
    case ParameterType::kTensor: return POSTREC_TENSOR;
  }
  throw Error(ErrorKind::kInternal, "unknown parameter type " + std::to_string(static_cast<int>(type)));
}

// ---- The functions of one operator type -----------------------------------------------------------------------------------------------

inline const Operator& operator_of(const void* op) { return *static_cast<const Operator*>(op); }

inline postrec_status create(const postrec_operator_type* type, const postrec_call*, const postrec_parameter* const* parameters,
                             std::size_t n_parameters, void** op, postrec_error* error) noexcept {
  return guarded(error, [&] {
    Parameters values;
    for (std::size_t i = 0; i < n_parameters; ++i) values.set(parameters[i]->key, value_of(*parameters[i]));
    std::unique_ptr<Operator> made = static_cast<const OperatorType*>(type->context)->make(values);
    if (!made) throw Error(ErrorKind::kInternal, "make returned no operator");
    *op = made.release();
  });
}

inline void destroy(void* op) noexcept { delete static_cast<Operator*>(op); }

inline postrec_status traits(const void* op, postrec_traits* out, postrec_error* error) noexcept {
  return guarded(error, [&] {
    const OperatorTraits made = operator_of(op).traits();
    out->linear = made.linear;
    out->has_normal_solve = made.has_normal_solve;
    out->pseudo_inverse = made.pseudo_inverse == PseudoInverseKind::kExact         ? POSTREC_EXACT
                          : made.pseudo_inverse == PseudoInverseKind::kApproximate ? POSTREC_APPROXIMATE
                                                                                   : POSTREC_NO_PSEUDO_INVERSE;
  });
}

inline postrec_status domain(const void* op, postrec_tensor_spec* spec, postrec_error* error) noexcept {
  return guarded(error, [&] { fill(operator_of(op).domain(), spec); });
}

inline postrec_status codomain(const void* op, postrec_tensor_spec* spec, postrec_error* error) noexcept {
  return guarded(error, [&] { fill(operator_of(op).codomain(), spec); });
}

/// Calls `function` of the operator with the tensors' device current, and gives what it returns to the host.
template <class Function>
postrec_status computed(const char* name, const postrec_call* call, const postrec_tensor* in, const postrec_tensor* out, postrec_error* error, Function&& function) noexcept {
  return guarded(error, [&] {
    const at::Tensor input = view_of(*in);
    const c10::DeviceGuard current(input.device());
    deliver(function(input), *call, *out, name);
  });
}

inline postrec_status forward(const void* op, const postrec_call* call, const postrec_tensor* x, const postrec_tensor* out,
                              postrec_error* error) noexcept {
  return computed("forward", call, x, out, error, [&](const at::Tensor& in) { return operator_of(op).forward(in); });
}

inline postrec_status adjoint(const void* op, const postrec_call* call, const postrec_tensor* v, const postrec_tensor* x,
                              const postrec_tensor* out, postrec_error* error) noexcept {
  return computed("adjoint", call, v, out, error, [&](const at::Tensor& in) { return operator_of(op).adjoint(in, x ? view_of(*x) : at::Tensor()); });
}

inline postrec_status normal(const void* op, const postrec_call* call, const postrec_tensor* x, const postrec_tensor* out,
                             postrec_error* error) noexcept {
  return computed("normal", call, x, out, error, [&](const at::Tensor& in) { return operator_of(op).normal(in); });
}

inline postrec_status normal_solve(const void* op, const postrec_call* call, double lambda, const postrec_tensor* b, const postrec_tensor* out,
                                   postrec_error* error) noexcept {
  return computed("normal_solve", call, b, out, error, [&](const at::Tensor& in) { return operator_of(op).normal_solve(lambda, in); });
}

inline postrec_status pseudo_inverse(const void* op, const postrec_call* call, const postrec_tensor* y, const postrec_tensor* out,
                                     postrec_error* error) noexcept {
  return computed("pseudo_inverse", call, y, out, error, [&](const at::Tensor& in) { return operator_of(op).pseudo_inverse(in); });
}

inline postrec_status norm_bound(const void* op, double* bound, postrec_error* error) noexcept {
  return guarded(error, [&] { *bound = operator_of(op).norm_bound(); });
}

// ---- Descriptors -------------------------------------------------------------------------------------------------------------------

/// An OperatorType and the C structs that point into it.
class TypeTable {
 public:
  explicit TypeTable(OperatorType type) : type_(std::move(type)) {
    for (const ParameterSpec& parameter : type_.parameters) add(parameter);
    for (const postrec_parameter_spec& spec : specs_) spec_pointers_.push_back(&spec);
    abi_.name = type_.name.c_str();
    abi_.summary = type_.summary.c_str();
    abi_.parameters = spec_pointers_.data();
    abi_.n_parameters = spec_pointers_.size();
    abi_.context = &type_;
    const auto named = [](bool works, std::uint32_t device) { return works ? device : 0; };
    abi_.devices = named(type_.devices.cpu, POSTREC_DEVICE_CPU) | named(type_.devices.cuda, POSTREC_DEVICE_CUDA);
  }
  TypeTable(const TypeTable&) = delete;

  const postrec_operator_type* abi() const { return &abi_; }

 private:
  void add(const ParameterSpec& parameter) {
    std::vector<const char*>& choices = choices_.emplace_back();
    for (const std::string& choice : parameter.choices) choices.push_back(choice.c_str());
    specs_.push_back({POSTREC_ABI_VERSION, sizeof(postrec_parameter_spec), parameter.key.c_str(), parameter.unit.c_str(),
                      parameter.default_text.c_str(), parameter.help.c_str(), type_code(parameter.type), parameter.required,
                      parameter.minimum.has_value(), parameter.maximum.has_value(), parameter.minimum.value_or(0.0),
                      parameter.maximum.value_or(0.0), choices.data(), choices.size()});
  }

  OperatorType type_;
  std::deque<std::vector<const char*>> choices_;
  std::deque<postrec_parameter_spec> specs_;
  std::vector<const postrec_parameter_spec*> spec_pointers_;
  postrec_operator_type abi_ = {.abi_version = POSTREC_ABI_VERSION,
                                .struct_size = sizeof(postrec_operator_type),
                                .name = nullptr,
                                .summary = nullptr,
                                .parameters = nullptr,
                                .n_parameters = 0,
                                .context = nullptr,
                                .devices = 0,
                                .flags = POSTREC_ACCEPTS_STRIDED | POSTREC_GIVES_RESULTS,
                                .create = create,
                                .destroy = destroy,
                                .traits = traits,
                                .domain = domain,
                                .codomain = codomain,
                                .forward = forward,
                                .adjoint = adjoint,
                                .normal = normal,
                                .normal_solve = normal_solve,
                                .pseudo_inverse = pseudo_inverse,
                                .norm_bound = norm_bound};
};

class PluginTable {
 public:
  PluginTable(const char* id, const char* version, const char* licence, std::vector<OperatorType> types) {
    for (OperatorType& type : types) type_pointers_.push_back(types_.emplace_back(std::move(type)).abi());
    abi_ = {POSTREC_ABI_VERSION,   sizeof(postrec_plugin), id, version, licence, POSTREC_SDK_LIBTORCH,
            type_pointers_.data(), type_pointers_.size()};
  }

  const postrec_plugin* abi() const { return &abi_; }

 private:
  std::deque<TypeTable> types_;
  std::vector<const postrec_operator_type*> type_pointers_;
  postrec_plugin abi_{};
};

}  // namespace postrec::sdk

/// The last argument is a braced list of postrec::OperatorType. The table is never freed: the host keeps what it points to for ever.
#define POSTREC_PLUGIN(id, version, licence, ...)                                                                                         \
  extern "C" POSTREC_ABI_EXPORT postrec_status postrec_plugin_v1(std::uint32_t, const postrec_plugin** plugin, postrec_error* error) {    \
    return ::postrec::sdk::guarded(error, [&] {                                                                                           \
      static const auto* table = new ::postrec::sdk::PluginTable(id, version, licence, std::vector<::postrec::OperatorType> __VA_ARGS__); \
      *plugin = table->abi();                                                                                                             \
    });                                                                                                                                   \
  }
