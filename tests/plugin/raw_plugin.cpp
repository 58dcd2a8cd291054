// A plugin on the bare ABI, y = 2 x for images [1, 3, 5], with the defect that the macro DEFECT names. The operator also misbehaves at run
// time when its parameter `how` asks for it. In C++ only so that it can throw.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "postrec/abi.h"

namespace {

bool defect(const char* name) { return std::strcmp(DEFECT, name) == 0; }

struct Doubling {
  std::string how;
};

bool asked(const void* op, const char* how) { return static_cast<const Doubling*>(op)->how == how; }

postrec_status fail(postrec_error* error, postrec_status status, const char* message) {
  std::snprintf(error->message, error->message_capacity, "%s", message);
  std::snprintf(error->hint, error->hint_capacity, "this is a test");
  return status;
}

postrec_status create(const postrec_operator_type*, const postrec_call* call, const postrec_parameter* const* parameters, std::size_t n,
                      void** op, postrec_error* error) {
  std::string how = "well";
  for (std::size_t i = 0; i < n; ++i)
    if (std::strcmp(parameters[i]->key, "how") == 0) how = parameters[i]->text;
  if (how == "create-throws") throw std::runtime_error("thrown in create");
  if (how == "create-throws-int") throw 7;
  if (how == "create-nothing") return POSTREC_OK;
  if (how == "create-fails") return fail(error, POSTREC_CONFIGURATION, "line one\nline two\x1b[31m");
  if (how == "unknown-status") return fail(error, 12345, "a status of its own");
  if (how == "fills-the-buffer") {  // no zero byte at the end
    std::memset(error->message, 'x', error->message_capacity);
    return POSTREC_BAD_DATA;
  }
  call->log(call->host, POSTREC_LOG_INFO, "made");
  *op = new Doubling{how};
  return POSTREC_OK;
}

void destroy(void* op) { delete static_cast<Doubling*>(op); }

void destroy_and_throw(void* op) {
  destroy(op);
  throw std::runtime_error("thrown in destroy");
}

postrec_status traits(const void* op, postrec_traits* out, postrec_error*) {
  out->linear = !asked(op, "gives-its-point");
  out->has_normal_solve = asked(op, "promises-a-solve");
  out->pseudo_inverse = asked(op, "promises-an-inverse") ? POSTREC_EXACT : POSTREC_NO_PSEUDO_INVERSE;
  return POSTREC_OK;
}

postrec_status domain(const void* op, postrec_tensor_spec* spec, postrec_error*) {
  if (asked(op, "domain-throws")) throw std::runtime_error("thrown in domain");
  spec->n_dims = asked(op, "many-axes") ? 99 : asked(op, "no-axes") ? 0 : 3;
  spec->dtype = asked(op, "unknown-dtype") ? 77 : POSTREC_F32;
  spec->shape[0] = asked(op, "negative-size") ? -1 : 1;
  spec->shape[1] = asked(op, "huge-size") ? std::int64_t{1} << 62 : 3;
  spec->shape[2] = asked(op, "huge-size") ? std::int64_t{1} << 62 : 5;
  return POSTREC_OK;
}

postrec_status apply(const void* op, const postrec_call* call, const postrec_tensor* in, const postrec_tensor* out, postrec_error* error) {
  if (asked(op, "call-throws")) throw std::logic_error("thrown in a call");
  if (asked(op, "call-throws-int")) throw 7;
  if (asked(op, "call-fails")) return fail(error, POSTREC_NUMERICAL, "it diverged");
  if (asked(op, "waits") && call->cancelled(call->host)) return fail(error, POSTREC_INTERRUPTED, "stopped");
  if (defect("gives-nothing")) return out->data ? fail(error, POSTREC_INTERNAL, "there is data") : POSTREC_OK;
  const auto* x = static_cast<const float*>(in->data);
  auto* y = static_cast<float*>(out->data);
  const std::int64_t n = in->shape[0] * 15;
  if (asked(op, "uses-services")) {
    auto* scratch = static_cast<float*>(call->allocate(call->host, n * sizeof(float), in->device_type, in->device_index));
    if (!scratch) return fail(error, POSTREC_OUT_OF_MEMORY, "no memory");
    struct Context {
      const float* x;
      float* scratch;
    } context = {x, scratch};
    const auto body = [](void* c, std::int64_t first, std::int64_t last) {
      auto* both = static_cast<Context*>(c);
      for (std::int64_t i = first; i < last; ++i) both->scratch[i] = 2 * both->x[i];
    };
    call->parallel_for(call->host, 0, n, 4, body, &context);
    std::memcpy(y, scratch, n * sizeof(float));
    call->release(call->host, scratch, in->device_type, in->device_index);
    return POSTREC_OK;
  }
  if (asked(op, "gives-its-input")) return call->give_result(call->host, in->data, nullptr, nullptr), POSTREC_OK;
  const bool fails = asked(op, "gives-and-fails"), twice = asked(op, "gives-twice");
  for (int i = 0; i < (asked(op, "gives") || fails ? 1 : twice ? 2 : 0); ++i) {
    y = static_cast<float*>(std::malloc(n * sizeof(float)));
    call->give_result(call->host, y, y, std::free);
  }
  if (fails) return fail(error, POSTREC_NUMERICAL, "failed after giving");
  for (std::int64_t i = 0; i < n; ++i) y[i] = 2 * x[i];
  if (asked(op, "writes-past-the-end")) y[n] = 1;
  return POSTREC_OK;
}

postrec_status adjoint(const void* op, const postrec_call* call, const postrec_tensor* v, const postrec_tensor* x, const postrec_tensor* out,
                       postrec_error* error) {
  if (asked(op, "gives-its-point")) return call->give_result(call->host, x->data, nullptr, nullptr), POSTREC_OK;
  return apply(op, call, v, out, error);
}

postrec_status norm_bound(const void* op, double* bound, postrec_error*) {
  *bound = asked(op, "nan-norm")        ? std::nan("")
           : asked(op, "infinite-norm") ? std::numeric_limits<double>::infinity()
           : asked(op, "negative-norm") ? -2.0
                                        : 2.0;
  return POSTREC_OK;
}

postrec_parameter_spec how_spec() {
  postrec_parameter_spec spec{};
  spec.abi_version = POSTREC_ABI_VERSION;
  spec.struct_size = sizeof spec;
  spec.key = "how";
  spec.default_text = "well";
  spec.help = "What to do";
  spec.type = POSTREC_TEXT;
  return spec;
}

postrec_parameter_spec number_spec() {
  postrec_parameter_spec spec = how_spec();
  spec.key = defect("twice-declared") ? "how" : "number";
  spec.type = POSTREC_INTEGER;
  spec.default_text = defect("bad-default") ? "many" : "1";
  spec.has_minimum = 1;
  spec.minimum = defect("nan-range") ? std::nan("") : 0;
  return spec;
}

postrec_operator_type operator_type() {
  static const postrec_parameter_spec how = how_spec(), number = number_spec();
  static const postrec_parameter_spec* const parameters[] = {&how, &number};
  postrec_operator_type type{};
  type.abi_version = POSTREC_ABI_VERSION;
  type.struct_size = defect("small-struct") ? 16 : sizeof type;
  type.name = defect("wrong-operators") ? "another-name" : "raw-" DEFECT;
  type.summary = "Doubles";
  type.parameters = parameters;
  type.n_parameters = 2;
  type.devices = defect("no-device") ? 0 : POSTREC_DEVICE_CPU;
  type.create = create;
  type.destroy = destroy;
  type.traits = traits;
  type.domain = domain;
  type.codomain = domain;
  type.forward = defect("null-function") ? nullptr : apply;
  type.adjoint = adjoint;
  type.norm_bound = norm_bound;
  if (defect("gives-nothing")) type.flags = POSTREC_GIVES_RESULTS;
  if (defect("good")) type.destroy = destroy_and_throw;  // even that must not end the program
  return type;
}

}  // namespace

extern "C" POSTREC_ABI_EXPORT postrec_status postrec_plugin_v1(std::uint32_t, const postrec_plugin** out, postrec_error* error) {
  if (defect("throws-on-entry")) throw 7;
  if (defect("fails-on-entry")) return fail(error, POSTREC_UNAVAILABLE, "no licence for this machine");
  static const postrec_operator_type type = operator_type();
  static const postrec_operator_type* const types[] = {&type};
  static const postrec_plugin plugin = {defect("wrong-major")   ? 2u << 16
                                        : defect("newer-minor") ? POSTREC_ABI_VERSION + 1
                                                                : POSTREC_ABI_VERSION,
                                        sizeof(postrec_plugin),
                                        defect("wrong-id") ? "test.postrec.somebody-else" : "test.postrec.raw-" DEFECT,
                                        defect("wrong-version") ? "9.9.9" : "1.0.0",
                                        "Apache-2.0",
                                        defect("other-libtorch") ? "2.15.0" : nullptr,
                                        defect("null-types") ? nullptr : types,
                                        1};
  *out = defect("null-descriptor") ? nullptr : &plugin;
  return POSTREC_OK;
}
