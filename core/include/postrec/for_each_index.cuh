#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "postrec/error.hpp"

// For .cu files, which see no header of LibTorch.
namespace postrec {

/// Throws what a failed launch of `what` means.
inline void check_launch(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const std::string message = std::string(what) + " did not start on the GPU: " + cudaGetErrorString(status);
  switch (status) {
    case cudaErrorMemoryAllocation: throw Error(ErrorKind::kOutOfMemory, message);
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorUnsupportedPtxVersion:
      throw Error(ErrorKind::kUnavailable, message, "this build has code for " POSTREC_CUDA_TARGETS "; update the driver, build for this GPU, or use --device cpu");
    default: throw Error(ErrorKind::kInternal, message, "CUDA_LAUNCH_BLOCKING=1 tells whether an earlier launch failed");
  }
}

template <class Work>
__global__ void for_each_index_kernel(const Work work, std::int64_t n) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index < n) work(index);
}

/// Queues work(0) ... work(n - 1) on `stream` of the current device, one thread each. `work` is copied; what it points to is the device's.
/// Throws Error(kUnavailable, kOutOfMemory or kInternal) that names `what` when the launch fails.
template <class Work>
void for_each_index(const Work& work, std::int64_t n, cudaStream_t stream, const char* what) {
  constexpr std::int64_t kThreads = 256;
  if (n == 0) return;
  for_each_index_kernel<<<static_cast<unsigned>((n + kThreads - 1) / kThreads), kThreads, 0, stream>>>(work, n);
  check_launch(cudaGetLastError(), what);
}

}  // namespace postrec
