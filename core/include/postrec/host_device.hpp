#pragma once

/// Before a function of plain arithmetic that runs on the host and, where nvcc compiles it, on a CUDA device. Such functions use ::fmaf, ::floorf
/// and their like, which both have, and write out every fused multiply-add: nvcc fuses none of its own (-fmad=false), so results are the same bits.
#ifdef __CUDACC__
#define POSTREC_HOST_DEVICE __host__ __device__
#else
#define POSTREC_HOST_DEVICE
#endif
