/* The plugin boundary of PostRec: the only thing that crosses between the program and a plugin.
 *
 * A plugin is a shared library that exports one function, postrec_plugin_v1, and a manifest beside it. This header needs nothing but a C11
 * or C++11 compiler. Authors who use C++ and LibTorch take postrec/plugin.hpp instead, which fills these structs from a class.
 *
 * Rules of the boundary
 *  - Every struct begins with abi_version and struct_size, both written by whoever made the struct. Members are added at the end only, with
 *    a higher minor version; a reader touches no member beyond struct_size. Another major version has another entry function.
 *  - Whoever made a thing owns it. Everything passed to a function is borrowed until that function returns, except the plugin descriptor
 *    and all it points to, which live for ever (libraries are never unloaded).
 *  - No function may throw, longjmp or exit. Failures are a status and a text.
 *  - Functions of one operator may be called from several threads at once.
 *  - All strings are UTF-8 and end with a zero byte. Optional strings may be NULL.
 */
#ifndef POSTREC_ABI_H
#define POSTREC_ABI_H

#include <stddef.h>
#include <stdint.h>

#define POSTREC_ABI_MAJOR 1
#define POSTREC_ABI_MINOR 0
#define POSTREC_ABI_VERSION ((uint32_t)POSTREC_ABI_MAJOR << 16 | (uint32_t)POSTREC_ABI_MINOR)
#define POSTREC_ABI_MAX_DIMS 8

#if defined(_WIN32)
#define POSTREC_ABI_EXPORT __declspec(dllexport)
#else
#define POSTREC_ABI_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
#define POSTREC_ABI_ASSERT(condition) static_assert(condition, #condition)
extern "C" {
#else
#define POSTREC_ABI_ASSERT(condition) _Static_assert(condition, #condition)
#endif

/* ---- Status and text ------------------------------------------------------------------------------------------------------------- */

/* 0, or what went wrong: the exit code that the program would end with. Other values are read as POSTREC_INTERNAL. */
typedef int32_t postrec_status;
enum {
  POSTREC_OK = 0,
  POSTREC_INTERNAL = 1,       /* a defect of the plugin */
  POSTREC_BAD_DATA = 65,      /* values that cannot be right */
  POSTREC_NO_INPUT = 66,      /* a file that cannot be opened */
  POSTREC_UNAVAILABLE = 69,   /* a device or library that is missing */
  POSTREC_NUMERICAL = 70,     /* NaN, divergence */
  POSTREC_OUT_OF_MEMORY = 71,
  POSTREC_CONFIGURATION = 78, /* parameters that do not fit together */
  POSTREC_INTERRUPTED = 130   /* stopped because cancelled() said so */
};

/* Text buffers of the caller for a failed call: one line each. `message` names the value, `hint` says what would be right. */
typedef struct postrec_error {
  uint32_t abi_version;
  uint32_t struct_size;
  char* message;
  size_t message_capacity; /* bytes, with the zero byte */
  char* hint;
  size_t hint_capacity;
} postrec_error;

/* ---- Tensors --------------------------------------------------------------------------------------------------------------------- */

enum { POSTREC_F32 = 1, POSTREC_C64 = 2 };                 /* dtype: float, or two floats (real, imaginary) */
enum { POSTREC_DEVICE_CPU = 1, POSTREC_DEVICE_CUDA = 2 };  /* also bits of postrec_operator_type.devices */

/* A borrowed view of numbers. Inputs must not be written. Outputs are contiguous, and the plugin writes every element. */
typedef struct postrec_tensor {
  uint32_t abi_version;
  uint32_t struct_size;
  void* data;
  const int64_t* shape;
  const int64_t* strides; /* in elements; may be 0, never negative */
  int32_t n_dims;
  int32_t dtype;
  int32_t device_type;
  int32_t device_index;
} postrec_tensor;

/* Shape and type of one image or one measurement, without the leading batch axis. The caller makes it, the plugin fills it. */
typedef struct postrec_tensor_spec {
  uint32_t abi_version;
  uint32_t struct_size;
  int32_t n_dims;
  int32_t dtype;
  int64_t shape[POSTREC_ABI_MAX_DIMS];
} postrec_tensor_spec;

/* ---- Parameters ------------------------------------------------------------------------------------------------------------------ */

enum {
  POSTREC_BOOLEAN = 1,
  POSTREC_INTEGER = 2,
  POSTREC_REAL = 3,
  POSTREC_TEXT = 4,
  POSTREC_CHOICE = 5, /* a text out of `choices` */
  POSTREC_REAL_LIST = 6,
  POSTREC_TENSOR = 7
};

/* A parameter that an operator type declares. The host checks every value against it before create. */
typedef struct postrec_parameter_spec {
  uint32_t abi_version;
  uint32_t struct_size;
  const char* key;          /* lower-hyphen */
  const char* unit;         /* "mm", "rad"; NULL or "": a pure number */
  const char* default_text; /* as a user types it; NULL or "": none, the parameter is then absent when not set */
  const char* help;         /* one sentence */
  int32_t type;
  int32_t required;
  int32_t has_minimum;
  int32_t has_maximum;
  double minimum; /* inclusive; of integers, reals and each element of a list */
  double maximum;
  const char* const* choices;
  size_t n_choices;
} postrec_parameter_spec;

/* A value that was set. Only the member that `type` names has a meaning. */
typedef struct postrec_parameter {
  uint32_t abi_version;
  uint32_t struct_size;
  const char* key;
  int32_t type;
  int32_t boolean;
  int64_t integer;
  double real;
  const char* text; /* POSTREC_TEXT and POSTREC_CHOICE */
  const double* list;
  size_t n_list;
  const postrec_tensor* tensor;
} postrec_parameter;

/* ---- What a call carries ---------------------------------------------------------------------------------------------------------- */

enum { POSTREC_LOG_DEBUG = 0, POSTREC_LOG_INFO = 1, POSTREC_LOG_WARNING = 2 };

/* Services of the host for the length of one call. `host` is the first argument of each. */
typedef struct postrec_call {
  uint32_t abi_version;
  uint32_t struct_size;
  void* host;
  /* cudaStream_t of the device of the tensors. Queue all work there and do not wait for it: whatever the host does before and after is on the
   * same stream. NULL is CUDA's default stream; on the CPU it has no meaning. The device is LibTorch's current one, but a plugin with a CUDA
   * runtime of its own (linked statically, for example) must call cudaSetDevice(tensor->device_index) before its first launch in a call. */
  void* cuda_stream;
  /* Memory from the host's allocator, aligned to 64 bytes; NULL when there is none left. Release it before the call returns; on CUDA work on
   * cuda_stream that uses it may still be queued then. */
  void* (*allocate)(void* host, size_t n_bytes, int32_t device_type, int32_t device_index);
  void (*release)(void* host, void* memory, int32_t device_type, int32_t device_index);
  /* Calls body(context, first, last) for pieces that cover [begin, end), on the host's threads; at most n / grain of them, rounded up. */
  void (*parallel_for)(void* host, int64_t begin, int64_t end, int64_t grain, void (*body)(void* context, int64_t first, int64_t last),
                       void* context);
  void (*log)(void* host, int32_t level, const char* text);
  int32_t (*cancelled)(void* host); /* non-zero: the host wants to stop; clean up and return POSTREC_INTERRUPTED (postrec itself stops between calls) */
  /* Instead of writing into `out`, a plugin may hand over memory of its own that holds the result, contiguous and on the device of `out`.
   * The host calls release(owner) once, at any later time, from any thread. One result a call, never the input's memory. On CUDA the result
   * may still be being written, on cuda_stream. */
  void (*give_result)(void* host, void* data, void* owner, void (*release)(void* owner));
} postrec_call;

/* ---- Operators -------------------------------------------------------------------------------------------------------------------- */

enum { POSTREC_NO_PSEUDO_INVERSE = 0, POSTREC_APPROXIMATE = 1, POSTREC_EXACT = 2 };

typedef struct postrec_traits {
  uint32_t abi_version;
  uint32_t struct_size;
  int32_t linear;
  int32_t has_normal_solve;
  int32_t pseudo_inverse;
  int32_t reserved; /* 0 */
} postrec_traits;

enum {
  POSTREC_ACCEPTS_STRIDED = 1, /* flags: inputs of any strides are welcome; without it the host passes contiguous ones */
  POSTREC_GIVES_RESULTS = 2    /* every result is given, none written: `out` has no data, only the shape that is asked for */
};

typedef struct postrec_operator_type postrec_operator_type;

/* A kind of operator A: images [B, domain] to measurements [B, codomain]. The laws are those of postrec/operator.hpp.
 * `op` is what create made. Functions marked optional may be NULL. The plugin writes results into `out`, which the host allocated,
 * or hands over its own memory (postrec_call.give_result). */
struct postrec_operator_type {
  uint32_t abi_version;
  uint32_t struct_size;
  const char* name;    /* lower-hyphen, unique */
  const char* summary; /* one sentence */
  const postrec_parameter_spec* const* parameters;
  size_t n_parameters;
  const void* context; /* the plugin's own; the host does not look at it */
  uint32_t devices;    /* where it works: POSTREC_DEVICE_CPU | POSTREC_DEVICE_CUDA. The host copies tensors of another device there and back;
                          tensor parameters of a type that works on the CPU lie there, of another one on the first CUDA device */
  uint32_t flags;

  postrec_status (*create)(const postrec_operator_type* type, const postrec_call* call, const postrec_parameter* const* parameters,
                           size_t n_parameters, void** op, postrec_error* error);
  void (*destroy)(void* op);
  postrec_status (*traits)(const void* op, postrec_traits* traits, postrec_error* error);
  postrec_status (*domain)(const void* op, postrec_tensor_spec* spec, postrec_error* error);
  postrec_status (*codomain)(const void* op, postrec_tensor_spec* spec, postrec_error* error);
  /* A x. */
  postrec_status (*forward)(const void* op, const postrec_call* call, const postrec_tensor* x, const postrec_tensor* out,
                            postrec_error* error);
  /* J(x)^H v; x is NULL for a linear operator. */
  postrec_status (*adjoint)(const void* op, const postrec_call* call, const postrec_tensor* v, const postrec_tensor* x,
                            const postrec_tensor* out, postrec_error* error);
  /* A^H A x. Optional: the host then calls forward and adjoint. */
  postrec_status (*normal)(const void* op, const postrec_call* call, const postrec_tensor* x, const postrec_tensor* out,
                           postrec_error* error);
  /* (A^H A + lambda I)^-1 b. Optional unless traits say so. */
  postrec_status (*normal_solve)(const void* op, const postrec_call* call, double lambda, const postrec_tensor* b,
                                 const postrec_tensor* out, postrec_error* error);
  /* A direct reconstruction from y. Optional unless traits say so. */
  postrec_status (*pseudo_inverse)(const void* op, const postrec_call* call, const postrec_tensor* y, const postrec_tensor* out,
                                   postrec_error* error);
  /* An upper bound of the operator norm. */
  postrec_status (*norm_bound)(const void* op, double* bound, postrec_error* error);
};

/* ---- The plugin ------------------------------------------------------------------------------------------------------------------- */

typedef struct postrec_plugin {
  uint32_t abi_version;
  uint32_t struct_size;
  const char* id; /* reverse-domain: "org.example.blur" */
  const char* version;
  const char* licence;
  const char* libtorch_version; /* "2.11.0": what it was built with; NULL or "" when it does not use LibTorch */
  const postrec_operator_type* const* operator_types;
  size_t n_operator_types;
} postrec_plugin;

/* The one exported symbol. Called once; `host_abi_version` is the host's POSTREC_ABI_VERSION. */
POSTREC_ABI_EXPORT postrec_status postrec_plugin_v1(uint32_t host_abi_version, const postrec_plugin** plugin, postrec_error* error);
typedef postrec_status (*postrec_plugin_entry)(uint32_t host_abi_version, const postrec_plugin** plugin, postrec_error* error);
#define POSTREC_PLUGIN_ENTRY "postrec_plugin_v1"

#ifdef __cplusplus
}
#endif

/* ---- Layout ----------------------------------------------------------------------------------------------------------------------- */

/* What a struct of version 1.0 has at least. These numbers never change; when a member is added, only the sizes in the asserts grow. */
#define POSTREC_ERROR_SIZE_1_0 40u
#define POSTREC_TENSOR_SIZE_1_0 48u
#define POSTREC_TENSOR_SPEC_SIZE_1_0 80u
#define POSTREC_PARAMETER_SPEC_SIZE_1_0 88u
#define POSTREC_PARAMETER_SIZE_1_0 72u
#define POSTREC_CALL_SIZE_1_0 72u
#define POSTREC_TRAITS_SIZE_1_0 24u
#define POSTREC_OPERATOR_TYPE_SIZE_1_0 144u
#define POSTREC_PLUGIN_SIZE_1_0 56u

POSTREC_ABI_ASSERT(sizeof(void*) == 8 && sizeof(size_t) == 8 && sizeof(double) == 8);
POSTREC_ABI_ASSERT(sizeof(postrec_error) == POSTREC_ERROR_SIZE_1_0);
POSTREC_ABI_ASSERT(offsetof(postrec_error, hint_capacity) == 32);
POSTREC_ABI_ASSERT(sizeof(postrec_tensor) == POSTREC_TENSOR_SIZE_1_0);
POSTREC_ABI_ASSERT(offsetof(postrec_tensor, strides) == 24 && offsetof(postrec_tensor, device_index) == 44);
POSTREC_ABI_ASSERT(sizeof(postrec_tensor_spec) == POSTREC_TENSOR_SPEC_SIZE_1_0);
POSTREC_ABI_ASSERT(offsetof(postrec_tensor_spec, shape) == 16);
POSTREC_ABI_ASSERT(sizeof(postrec_parameter_spec) == POSTREC_PARAMETER_SPEC_SIZE_1_0);
POSTREC_ABI_ASSERT(offsetof(postrec_parameter_spec, type) == 40 && offsetof(postrec_parameter_spec, n_choices) == 80);
POSTREC_ABI_ASSERT(sizeof(postrec_parameter) == POSTREC_PARAMETER_SIZE_1_0);
POSTREC_ABI_ASSERT(offsetof(postrec_parameter, integer) == 24 && offsetof(postrec_parameter, tensor) == 64);
POSTREC_ABI_ASSERT(sizeof(postrec_call) == POSTREC_CALL_SIZE_1_0);
POSTREC_ABI_ASSERT(offsetof(postrec_call, allocate) == 24 && offsetof(postrec_call, give_result) == 64);
POSTREC_ABI_ASSERT(sizeof(postrec_traits) == POSTREC_TRAITS_SIZE_1_0);
POSTREC_ABI_ASSERT(offsetof(postrec_traits, pseudo_inverse) == 16);
POSTREC_ABI_ASSERT(sizeof(postrec_operator_type) == POSTREC_OPERATOR_TYPE_SIZE_1_0);
POSTREC_ABI_ASSERT(offsetof(postrec_operator_type, create) == 56 && offsetof(postrec_operator_type, norm_bound) == 136);
POSTREC_ABI_ASSERT(sizeof(postrec_plugin) == POSTREC_PLUGIN_SIZE_1_0);
POSTREC_ABI_ASSERT(offsetof(postrec_plugin, operator_types) == 40);

#endif /* POSTREC_ABI_H */
