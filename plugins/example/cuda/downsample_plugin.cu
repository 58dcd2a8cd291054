// A plugin with nvcc and postrec/abi.h alone, that works on the GPU only: the mean of each block of factor x factor pixels, float32.
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <new>

#include "downsample.hpp"
#include "postrec/abi.h"

namespace {

struct Downsample {
  std::int64_t channels;
  example::Blocks blocks;
};

const Downsample& self(const void* op) { return *static_cast<const Downsample*>(op); }

postrec_status fail(postrec_error* error, postrec_status status, const char* message, const char* hint) {
  std::snprintf(error->message, error->message_capacity, "%s", message);
  std::snprintf(error->hint, error->hint_capacity, "%s", hint);
  return status;
}

// ---- Life. Nothing here calls CUDA: a plugin is also loaded, listed and described where there is no GPU and no driver. ----

postrec_status create(const postrec_operator_type*, const postrec_call*, const postrec_parameter* const* parameters, std::size_t n_parameters, void** op,
                      postrec_error* error) {
  Downsample made{};
  // The host has checked types and ranges and filled in the defaults.
  for (std::size_t i = 0; i < n_parameters; ++i) {
    const postrec_parameter& p = *parameters[i];
    if (!std::strcmp(p.key, "channels")) made.channels = p.integer;
    if (!std::strcmp(p.key, "height")) made.blocks.height = p.integer;
    if (!std::strcmp(p.key, "width")) made.blocks.width = p.integer;
    if (!std::strcmp(p.key, "factor")) made.blocks.factor = p.integer;
  }
  *op = new (std::nothrow) Downsample(made);
  return *op ? POSTREC_OK : fail(error, POSTREC_OUT_OF_MEMORY, "out of memory", "");
}

void destroy(void* op) { delete static_cast<Downsample*>(op); }

// ---- What it is ----

postrec_status traits(const void*, postrec_traits* traits, postrec_error*) {
  traits->linear = 1;
  traits->has_normal_solve = 1;
  traits->pseudo_inverse = POSTREC_EXACT;
  return POSTREC_OK;
}

postrec_status set_spec(postrec_tensor_spec* spec, std::int64_t channels, std::int64_t height, std::int64_t width) {
  spec->n_dims = 3;
  spec->dtype = POSTREC_F32;
  spec->shape[0] = channels;
  spec->shape[1] = height;
  spec->shape[2] = width;
  return POSTREC_OK;
}

postrec_status domain(const void* op, postrec_tensor_spec* spec, postrec_error*) {
  return set_spec(spec, self(op).channels, self(op).blocks.height, self(op).blocks.width);
}

postrec_status codomain(const void* op, postrec_tensor_spec* spec, postrec_error*) {
  return set_spec(spec, self(op).channels, self(op).blocks.rows(), self(op).blocks.columns());
}

postrec_status norm_bound(const void* op, double* bound, postrec_error*) {
  // The norm of a mean of n numbers is 1 / sqrt(n), and the smallest block is the last.
  const example::Blocks& blocks = self(op).blocks;
  *bound = 1.0 / std::sqrt(static_cast<double>(blocks.size(blocks.rows() - 1, blocks.columns() - 1)));
  return POSTREC_OK;
}

// ---- What it does. Tensors are contiguous and on the GPU, because the type says no POSTREC_ACCEPTS_STRIDED and no POSTREC_DEVICE_CPU. ----

template <class Work>
__global__ void for_each_index(Work work, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) work(i);
}

postrec_status report(cudaError_t result, postrec_error* error) {
  if (result == cudaSuccess) return POSTREC_OK;
  char message[256];
  std::snprintf(message, sizeof message, "the GPU did not start: %s", cudaGetErrorString(result));
  switch (result) {
    case cudaErrorMemoryAllocation: return fail(error, POSTREC_OUT_OF_MEMORY, message, "take fewer samples at once");
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return fail(error, POSTREC_UNAVAILABLE, message,
                  "look whether nvidia-smi finds the GPU; update the driver, or build the plugin with CMAKE_CUDA_ARCHITECTURES for this GPU");
    default: return fail(error, POSTREC_INTERNAL, message, "CUDA_LAUNCH_BLOCKING=1 tells whether an earlier call failed");
  }
}

/// Queues work(i) for every element of `out` on the stream of the call, and does not wait.
template <class Work>
postrec_status launch(const Work& work, const postrec_call* call, const postrec_tensor* out, postrec_error* error) {
  constexpr std::int64_t kThreads = 256;
  std::int64_t n = 1;
  for (std::int32_t axis = 0; axis < out->n_dims; ++axis) n *= out->shape[axis];
  if (n == 0) return POSTREC_OK;
  // The runtime is linked statically, so it is not LibTorch's, and this one has to be told which GPU is meant. The thread gets its own back.
  int before = 0;
  const bool is_set = cudaGetDevice(&before) == cudaSuccess && cudaSetDevice(out->device_index) == cudaSuccess;
  if (is_set) {
    const auto stream = static_cast<cudaStream_t>(call->cuda_stream);
    for_each_index<<<static_cast<unsigned>((n + kThreads - 1) / kThreads), kThreads, 0, stream>>>(work, n);
  }
  const cudaError_t result = cudaGetLastError();  // of the launch, or of setting the GPU
  if (is_set) cudaSetDevice(before);
  return report(result, error);
}

const float* numbers(const postrec_tensor* in) { return static_cast<const float*>(in->data); }
float* results(const postrec_tensor* out) { return static_cast<float*>(out->data); }

postrec_status forward(const void* op, const postrec_call* call, const postrec_tensor* x, const postrec_tensor* out, postrec_error* error) {
  return launch(example::MeanOfEachBlock{self(op).blocks, numbers(x), results(out)}, call, out, error);
}

postrec_status adjoint(const void* op, const postrec_call* call, const postrec_tensor* v, const postrec_tensor*, const postrec_tensor* out,
                       postrec_error* error) {
  return launch(example::AdjointOfMeans{self(op).blocks, numbers(v), results(out)}, call, out, error);
}

postrec_status normal_solve(const void* op, const postrec_call* call, double lambda, const postrec_tensor* b, const postrec_tensor* out, postrec_error* error) {
  return launch(example::SolveEachBlock{self(op).blocks, static_cast<float>(lambda), numbers(b), results(out)}, call, out, error);
}

postrec_status pseudo_inverse(const void* op, const postrec_call* call, const postrec_tensor* y, const postrec_tensor* out, postrec_error* error) {
  return launch(example::RepeatMeans{self(op).blocks, numbers(y), results(out)}, call, out, error);
}

// ---- The descriptor ----

constexpr postrec_parameter_spec integer(const char* key, const char* default_text, const char* help, std::int32_t required, double maximum) {
  return {POSTREC_ABI_VERSION, sizeof(postrec_parameter_spec), key, nullptr, default_text, help, POSTREC_INTEGER, required, 1, 1, 1, maximum, nullptr, 0};
}

const postrec_parameter_spec channels_spec = integer("channels", "1", "Channels of the image", 0, 1000);
const postrec_parameter_spec height_spec = integer("height", nullptr, "Rows of the image", 1, 100000);
const postrec_parameter_spec width_spec = integer("width", nullptr, "Columns of the image", 1, 100000);
const postrec_parameter_spec factor_spec = integer("factor", "2", "Rows and columns of a block", 0, 100);
const postrec_parameter_spec* const parameters[] = {&channels_spec, &height_spec, &width_spec, &factor_spec};

const postrec_operator_type downsample_type = {POSTREC_ABI_VERSION,
                                               sizeof(postrec_operator_type),
                                               "downsample",
                                               "The mean of each block of pixels, on the GPU",
                                               parameters,
                                               sizeof parameters / sizeof parameters[0],
                                               nullptr,
                                               POSTREC_DEVICE_CUDA,
                                               0,
                                               create,
                                               destroy,
                                               traits,
                                               domain,
                                               codomain,
                                               forward,
                                               adjoint,
                                               nullptr,  // normal: the host calls forward and adjoint
                                               normal_solve,
                                               pseudo_inverse,
                                               norm_bound};
const postrec_operator_type* const types[] = {&downsample_type};
const postrec_plugin plugin = {POSTREC_ABI_VERSION, sizeof(postrec_plugin), "org.example.downsample", "1.0.0", "Apache-2.0", nullptr, types, 1};

}  // namespace

postrec_status postrec_plugin_v1(std::uint32_t, const postrec_plugin** out, postrec_error*) {
  *out = &plugin;
  return POSTREC_OK;
}
