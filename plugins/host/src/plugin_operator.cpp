#include "plugin_operator.hpp"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>

#include "host_call.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kMaximumElements = std::int64_t{1} << 40;  // of one image or measurement: more was not meant

std::string text_of(at::IntArrayRef shape) {
  std::string text;
  for (const auto size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

std::string text_of(const TensorSpec& spec) {
  return "[B, " + text_of(at::IntArrayRef(spec.shape)).substr(1) + " of " + c10::toString(spec.dtype);
}

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorKind::kUnavailable, what, "report this to the author of the plugin"); }

TensorSpec checked_spec(const postrec_tensor_spec& abi, const std::string& what) {
  if (abi.n_dims < 1 || abi.n_dims > POSTREC_ABI_MAX_DIMS) refuse(what + " has " + std::to_string(abi.n_dims) + " axes");
  if (abi.dtype != POSTREC_F32 && abi.dtype != POSTREC_C64) refuse(what + " has the unknown type " + std::to_string(abi.dtype));
  TensorSpec spec;
  spec.shape.assign(abi.shape, abi.shape + abi.n_dims);
  spec.dtype = abi.dtype == POSTREC_C64 ? at::kComplexFloat : at::kFloat;
  std::int64_t n_elements = 1;
  for (const std::int64_t size : spec.shape) {
    if (size < 1 || size > kMaximumElements / n_elements) refuse(what + " is " + text_of(at::IntArrayRef(spec.shape)));
    n_elements *= size;
  }
  return spec;
}

/// What a plugin is asked for, with memory for it unless the plugin gives its own. On the CPU a few bytes behind the memory tell afterwards
/// whether the plugin wrote more.
class Output {
 public:
  Output(std::int64_t batch, const TensorSpec& spec, at::Device device, bool with_memory)
      : options_(at::TensorOptions().dtype(spec.dtype).device(device)), shape_{batch} {
    shape_.insert(shape_.end(), spec.shape.begin(), spec.shape.end());
    strides_.resize(shape_.size(), 1);
    for (std::size_t axis = shape_.size() - 1; axis > 0; --axis) strides_[axis - 1] = strides_[axis] * shape_[axis];
    if (with_memory) allocate();
    view_ = {POSTREC_ABI_VERSION,
             sizeof view_,
             with_memory ? memory_.data_ptr() : nullptr,
             shape_.data(),
             strides_.data(),
             static_cast<std::int32_t>(shape_.size()),
             spec.dtype == at::kComplexFloat ? POSTREC_C64 : POSTREC_F32,
             device.is_cuda() ? POSTREC_DEVICE_CUDA : POSTREC_DEVICE_CPU,
             device.is_cuda() ? device.index() : 0};
  }
  Output(const Output&) = delete;

  const postrec_tensor* abi() const { return &view_; }

  bool is_intact() const {
    if (!memory_.defined() || !memory_.device().is_cpu()) return true;
    return std::all_of(guard(), guard() + guard_bytes(), [](unsigned char byte) { return byte == kGuardByte; });
  }

  /// What the plugin gave, else what it wrote; undefined when it did neither.
  at::Tensor take(HostCall& host) const {
    if (host.given()) return host.take_given(shape_, options_);
    return memory_.defined() ? memory_.narrow(0, 0, n_elements()).view(shape_) : at::Tensor();
  }

 private:
  static constexpr std::int64_t kGuardElements = 16;
  static constexpr unsigned char kGuardByte = 0xa5;

  void allocate() {
    memory_ = at::empty({n_elements() + kGuardElements}, options_);
    if (memory_.device().is_cpu()) std::memset(guard(), kGuardByte, guard_bytes());
  }
  std::int64_t n_elements() const { return c10::multiply_integers(shape_); }
  std::size_t guard_bytes() const { return kGuardElements * memory_.element_size(); }
  unsigned char* guard() const { return static_cast<unsigned char*>(memory_.data_ptr()) + n_elements() * memory_.element_size(); }

  at::TensorOptions options_;
  std::vector<std::int64_t> shape_;
  std::vector<std::int64_t> strides_;
  at::Tensor memory_;
  postrec_tensor view_;
};

/// Parameters as the C structs that create takes, which point into `this` and into the Parameters.
class ParameterTable {
 public:
  ParameterTable(const OperatorType& type, const Parameters& parameters, at::Device device) {
    for (const ParameterSpec& spec : type.parameters)
      if (parameters.has(spec.key)) add(spec, parameters, device);
    for (const postrec_parameter& value : values_) pointers_.push_back(&value);
  }

  const postrec_parameter* const* data() const { return pointers_.data(); }
  std::size_t size() const { return pointers_.size(); }

 private:
  void add(const ParameterSpec& spec, const Parameters& parameters, at::Device device) {
    postrec_parameter value{};
    value.abi_version = POSTREC_ABI_VERSION;
    value.struct_size = sizeof value;
    value.key = spec.key.c_str();
    switch (spec.type) {
      case ParameterType::kBoolean:
        value.type = POSTREC_BOOLEAN, value.boolean = parameters.boolean(spec.key);
        break;
      case ParameterType::kInteger:
        value.type = POSTREC_INTEGER, value.integer = parameters.integer(spec.key);
        break;
      case ParameterType::kReal:
        value.type = POSTREC_REAL, value.real = parameters.real(spec.key);
        break;
      case ParameterType::kText:
        value.type = POSTREC_TEXT, value.text = parameters.text(spec.key).c_str();
        break;
      case ParameterType::kChoice:
        value.type = POSTREC_CHOICE, value.text = parameters.text(spec.key).c_str();
        break;
      case ParameterType::kRealList:
        value.type = POSTREC_REAL_LIST;
        value.list = parameters.real_list(spec.key).data();
        value.n_list = parameters.real_list(spec.key).size();
        break;
      case ParameterType::kTensor:
        value.type = POSTREC_TENSOR;
        tensors_.push_back(parameters.tensor(spec.key).to(device).resolve_conj().resolve_neg().contiguous());
        value.tensor = views_.emplace_back(tensors_.back()).abi();
        break;
    }
    values_.push_back(value);
  }

  std::deque<at::Tensor> tensors_;
  std::deque<TensorView> views_;
  std::deque<postrec_parameter> values_;
  std::vector<const postrec_parameter*> pointers_;
};

}  // namespace

PluginOperator::PluginOperator(const postrec_operator_type& abi, const OperatorType& type, const Parameters& parameters,
                               std::shared_ptr<const PluginHooks> hooks)
    : abi_(abi), who_("operator '" + type.name + "'"), type_(type), hooks_(std::move(hooks)), handle_(nullptr, Destroy{abi.destroy}) {
  create(parameters);
  read_declarations();
}

void PluginOperator::Destroy::operator()(void* handle) const noexcept {
  try {
    destroy(handle);
  } catch (...) {
    // It threw across the boundary, and there is nobody left to tell.
  }
}

void PluginOperator::create(const Parameters& parameters) {
  const at::Device device = working_device(at::kCPU);
  const c10::DeviceGuard current(device);
  const ParameterTable table(type_, parameters, device);
  const HostCall host(*hooks_, device);
  void* handle = nullptr;
  run_plugin(who_, [&](postrec_error* error) { return abi_.create(&abi_, host.abi(), table.data(), table.size(), &handle, error); });
  if (!handle) refuse(who_ + ": create succeeded and made nothing");
  handle_.reset(handle);
}

void PluginOperator::read_declarations() {
  postrec_traits traits = {POSTREC_ABI_VERSION, sizeof traits, 0, 0, 0, 0};
  postrec_tensor_spec domain = {POSTREC_ABI_VERSION, sizeof domain, 0, 0, {}};
  postrec_tensor_spec codomain = domain;
  run_plugin(who_, [&](postrec_error* error) { return abi_.traits(handle_.get(), &traits, error); });
  run_plugin(who_, [&](postrec_error* error) { return abi_.domain(handle_.get(), &domain, error); });
  run_plugin(who_, [&](postrec_error* error) { return abi_.codomain(handle_.get(), &codomain, error); });
  domain_ = checked_spec(domain, who_ + ": its domain");
  codomain_ = checked_spec(codomain, who_ + ": its codomain");
  traits_.linear = traits.linear != 0;
  traits_.has_normal_solve = traits.has_normal_solve != 0;
  traits_.pseudo_inverse = traits.pseudo_inverse == POSTREC_EXACT         ? PseudoInverseKind::kExact
                           : traits.pseudo_inverse == POSTREC_APPROXIMATE ? PseudoInverseKind::kApproximate
                                                                          : PseudoInverseKind::kNone;
  if (traits_.has_normal_solve && !abi_.normal_solve) refuse(who_ + ": promises normal_solve and has no such function");
  if (traits_.pseudo_inverse != PseudoInverseKind::kNone && !abi_.pseudo_inverse)
    refuse(who_ + ": promises pseudo_inverse and has no such function");
}

at::Device PluginOperator::working_device(at::Device wanted) const {
  const bool on_cpu = abi_.devices & POSTREC_DEVICE_CPU, on_cuda = abi_.devices & POSTREC_DEVICE_CUDA;
  if ((wanted.is_cpu() && on_cpu) || (wanted.is_cuda() && on_cuda)) return wanted;
  if (on_cpu) return at::kCPU;
  if (at::hasCUDA()) return at::Device(at::kCUDA, 0);
  throw Error(ErrorKind::kUnavailable, who_ + " works on CUDA only, and there is no CUDA device", "run it where there is one");
}

at::Tensor PluginOperator::prepared(const at::Tensor& input, const TensorSpec& spec, const char* function, at::Device device) const {
  const std::string expected = "it must be " + text_of(spec);
  if (!input.defined()) throw Error(ErrorKind::kBadData, who_ + ": the input of " + function + " is undefined", expected);
  if (input.dim() == 0 || input.sizes().slice(1) != at::IntArrayRef(spec.shape) || input.scalar_type() != spec.dtype)
    throw Error(ErrorKind::kBadData,
                who_ + ": the input of " + function + " is " + text_of(input.sizes()) + " of " + c10::toString(input.scalar_type()),
                expected);
  if (input.is_meta()) throw Error(ErrorKind::kBadData, who_ + ": the input of " + function + " lies on meta", "it must have values");
  // Strides cross the boundary, a pending conjugation or negation does not.
  const at::Tensor resolved = input.to(device).resolve_conj().resolve_neg();
  return abi_.flags & POSTREC_ACCEPTS_STRIDED ? resolved : resolved.contiguous();
}

at::Tensor PluginOperator::call(const char* function, const at::Tensor& input, const TensorSpec& in_spec, const TensorSpec& out_spec,
                                const Function& body, const at::Tensor& point) const {
  if (!input.defined()) throw Error(ErrorKind::kBadData, who_ + ": the input of " + function + " is undefined", "it must be " + text_of(in_spec));
  const at::Tensor in = prepared(input, in_spec, function, working_device(input.device()));
  const bool empty = in.size(0) == 0;
  const Output out(in.size(0), out_spec, in.device(), empty || !(abi_.flags & POSTREC_GIVES_RESULTS));
  const TensorView in_view(in);
  const c10::DeviceGuard current(in.device());
  HostCall host(*hooks_, in.device());
  if (!empty) run_plugin(who_, [&](postrec_error* error) { return body(host.abi(), in_view.abi(), out.abi(), error); });
  if (!out.is_intact()) refuse(who_ + ": " + function + " wrote past the end of its output");
  const auto gave = [&](const at::Tensor& tensor) { return tensor.defined() && host.given() == tensor.const_data_ptr(); };
  if (!empty && (gave(in) || gave(point))) refuse(who_ + ": " + function + " gave its input as its result");
  const at::Tensor result = out.take(host);
  if (!result.defined()) refuse(who_ + ": " + function + " gave no result");
  return result.to(input.device());
}

at::Tensor PluginOperator::forward(const at::Tensor& x) const {
  return call("forward", x, domain_, codomain_, [&](const postrec_call* host, const auto* in, const auto* out, postrec_error* error) {
    return abi_.forward(handle_.get(), host, in, out, error);
  });
}

at::Tensor PluginOperator::adjoint(const at::Tensor& v, const at::Tensor& x) const {
  const at::Tensor point = traits_.linear || !v.defined() ? at::Tensor() : prepared(x, domain_, "adjoint", working_device(v.device()));
  if (point.defined() && v.defined() && v.dim() > 0 && point.size(0) != v.size(0))
    throw Error(ErrorKind::kBadData,
                who_ + ": adjoint of " + std::to_string(v.size(0)) + " measurements at " + std::to_string(point.size(0)) + " images",
                "both must have the same batch size");
  const auto body = [&](const postrec_call* host, const auto* in, const auto* out, postrec_error* error) {
    const std::optional<TensorView> view = point.defined() ? std::optional<TensorView>(point) : std::nullopt;
    return abi_.adjoint(handle_.get(), host, in, view ? view->abi() : nullptr, out, error);
  };
  return call("adjoint", v, codomain_, domain_, body, point);
}

at::Tensor PluginOperator::normal(const at::Tensor& x) const {
  if (!abi_.normal) return Operator::normal(x);
  return call("normal", x, domain_, domain_, [&](const postrec_call* host, const auto* in, const auto* out, postrec_error* error) {
    return abi_.normal(handle_.get(), host, in, out, error);
  });
}

at::Tensor PluginOperator::normal_solve(double lambda, const at::Tensor& b) const {
  if (!traits_.has_normal_solve) return Operator::normal_solve(lambda, b);
  if (!(std::isfinite(lambda) && lambda > 0))
    throw Error(ErrorKind::kBadData, who_ + ": normal_solve with lambda " + std::to_string(lambda), "it must be greater than 0");
  return call("normal_solve", b, domain_, domain_, [&](const postrec_call* host, const auto* in, const auto* out, postrec_error* error) {
    return abi_.normal_solve(handle_.get(), host, lambda, in, out, error);
  });
}

at::Tensor PluginOperator::pseudo_inverse(const at::Tensor& y) const {
  if (traits_.pseudo_inverse == PseudoInverseKind::kNone) return Operator::pseudo_inverse(y);
  return call("pseudo_inverse", y, codomain_, domain_,
              [&](const postrec_call* host, const auto* in, const auto* out, postrec_error* error) {
                return abi_.pseudo_inverse(handle_.get(), host, in, out, error);
              });
}

double PluginOperator::norm_bound() const {
  double bound = std::nan("");
  run_plugin(who_, [&](postrec_error* error) { return abi_.norm_bound(handle_.get(), &bound, error); });
  if (!std::isfinite(bound) || bound < 0) refuse(who_ + ": its norm_bound is " + std::to_string(bound));
  return bound;
}

}  // namespace postrec
