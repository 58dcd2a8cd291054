/* A plugin in plain C: y = gain * x for images [B, channels, height, width], float32. Diagonal, so it has a closed-form solve and an exact
 * inverse. It exports postrec_plugin_v1 and needs nothing but postrec/abi.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postrec/abi.h"

typedef struct gain_operator {
  int64_t shape[3];
  double gain;
} gain_operator;

static postrec_status fail(postrec_error* error, postrec_status status, const char* message, const char* hint) {
  snprintf(error->message, error->message_capacity, "%s", message);
  snprintf(error->hint, error->hint_capacity, "%s", hint);
  return status;
}

/* ---- Life ---- */

static postrec_status create(const postrec_operator_type* type, const postrec_call* call, const postrec_parameter* const* parameters,
                             size_t n_parameters, void** op, postrec_error* error) {
  (void)type;
  (void)call;
  gain_operator* made = calloc(1, sizeof *made);
  if (!made) return fail(error, POSTREC_OUT_OF_MEMORY, "out of memory", "");
  /* The host has checked types and ranges and filled in the defaults. */
  for (size_t i = 0; i < n_parameters; ++i) {
    const postrec_parameter* p = parameters[i];
    if (!strcmp(p->key, "channels")) made->shape[0] = p->integer;
    if (!strcmp(p->key, "height")) made->shape[1] = p->integer;
    if (!strcmp(p->key, "width")) made->shape[2] = p->integer;
    if (!strcmp(p->key, "gain")) made->gain = p->real;
  }
  if (made->gain == 0.0) {
    free(made);
    return fail(error, POSTREC_CONFIGURATION, "gain is 0, which measures nothing", "give a gain greater than 0");
  }
  *op = made;
  return POSTREC_OK;
}

static void destroy(void* op) { free(op); }

/* ---- What it is ---- */

static postrec_status traits(const void* op, postrec_traits* traits, postrec_error* error) {
  (void)op;
  (void)error;
  traits->linear = 1;
  traits->has_normal_solve = 1;
  traits->pseudo_inverse = POSTREC_EXACT;
  return POSTREC_OK;
}

static postrec_status image_spec(const void* op, postrec_tensor_spec* spec, postrec_error* error) {
  (void)error;
  spec->n_dims = 3;
  spec->dtype = POSTREC_F32;
  memcpy(spec->shape, ((const gain_operator*)op)->shape, sizeof(int64_t) * 3);
  return POSTREC_OK;
}

static postrec_status norm_bound(const void* op, double* bound, postrec_error* error) {
  (void)error;
  *bound = ((const gain_operator*)op)->gain;
  return POSTREC_OK;
}

/* ---- What it does: out = factor * in. Tensors are contiguous, because the type does not set POSTREC_ACCEPTS_STRIDED. ---- */

typedef struct scaling {
  const float* in;
  float* out;
  float factor;
} scaling;

static void scale_range(void* context, int64_t first, int64_t last) {
  const scaling* s = context;
  for (int64_t i = first; i < last; ++i) s->out[i] = s->factor * s->in[i];
}

static postrec_status scale(const postrec_call* call, const postrec_tensor* in, const postrec_tensor* out, double factor) {
  scaling s = {in->data, out->data, (float)factor};
  int64_t n = 1;
  for (int32_t axis = 0; axis < in->n_dims; ++axis) n *= in->shape[axis];
  call->parallel_for(call->host, 0, n, 32768, scale_range, &s);
  return POSTREC_OK;
}

static postrec_status forward(const void* op, const postrec_call* call, const postrec_tensor* x, const postrec_tensor* out,
                              postrec_error* error) {
  (void)error;
  return scale(call, x, out, ((const gain_operator*)op)->gain);
}

static postrec_status adjoint(const void* op, const postrec_call* call, const postrec_tensor* v, const postrec_tensor* x,
                              const postrec_tensor* out, postrec_error* error) {
  (void)x;
  return forward(op, call, v, out, error);
}

static postrec_status normal_solve(const void* op, const postrec_call* call, double lambda, const postrec_tensor* b,
                                   const postrec_tensor* out, postrec_error* error) {
  const double gain = ((const gain_operator*)op)->gain;
  (void)error;
  return scale(call, b, out, 1.0 / (gain * gain + lambda));
}

static postrec_status pseudo_inverse(const void* op, const postrec_call* call, const postrec_tensor* y, const postrec_tensor* out,
                                     postrec_error* error) {
  (void)error;
  return scale(call, y, out, 1.0 / ((const gain_operator*)op)->gain);
}

/* ---- The descriptor ---- */

#define HEAD(type) POSTREC_ABI_VERSION, sizeof(type)

static const postrec_parameter_spec channels = {
    HEAD(postrec_parameter_spec), "channels", NULL, "1", "Channels of the image", POSTREC_INTEGER, 0, 1, 1, 1, 1000, NULL, 0};
static const postrec_parameter_spec height = {
    HEAD(postrec_parameter_spec), "height", NULL, NULL, "Rows of the image", POSTREC_INTEGER, 1, 1, 1, 1, 100000, NULL, 0};
static const postrec_parameter_spec width = {
    HEAD(postrec_parameter_spec), "width", NULL, NULL, "Columns of the image", POSTREC_INTEGER, 1, 1, 1, 1, 100000, NULL, 0};
static const postrec_parameter_spec gain = {
    HEAD(postrec_parameter_spec), "gain", NULL, "2.0", "Factor of the measurement", POSTREC_REAL, 0, 1, 1, 0, 1e6, NULL, 0};
static const postrec_parameter_spec* const parameters[] = {&channels, &height, &width, &gain};

static const postrec_operator_type gain_type = {
    .abi_version = POSTREC_ABI_VERSION,
    .struct_size = sizeof(postrec_operator_type),
    .name = "channel-gain",
    .summary = "Multiplies every pixel by a gain",
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof parameters[0],
    .devices = POSTREC_DEVICE_CPU,
    .create = create,
    .destroy = destroy,
    .traits = traits,
    .domain = image_spec,
    .codomain = image_spec,
    .forward = forward,
    .adjoint = adjoint,
    .normal_solve = normal_solve, /* `normal` is left out: the host calls forward and adjoint */
    .pseudo_inverse = pseudo_inverse,
    .norm_bound = norm_bound,
};
static const postrec_operator_type* const types[] = {&gain_type};
static const postrec_plugin plugin = {HEAD(postrec_plugin), "org.example.channel-gain", "1.0.0", "Apache-2.0", NULL, types, 1};

postrec_status postrec_plugin_v1(uint32_t host_abi_version, const postrec_plugin** out, postrec_error* error) {
  (void)host_abi_version;
  (void)error;
  *out = &plugin;
  return POSTREC_OK;
}
