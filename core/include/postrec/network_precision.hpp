#pragma once

#include <ATen/core/Tensor.h>

namespace postrec {

/// In what numbers the network of a prior is evaluated. What stands around it stays float32: the scaling of its input and output, the linear denoiser, their sum,
/// and inside it the layers of the noise level.
///
/// On CUDA the hardware does it. On the CPU it is emulated, at the cost of time, to measure on real images what a precision adds to a denoiser's error.
enum class NetworkPrecision {
  kFloat32,
  kTf32,      ///< the factors in convolutions have 10 bits after the point, their sums and everything else are float32
  kBfloat16,  ///< weights and features have 7 bits after the point, the sums in a convolution are float32
};

/// "float32", "tf32" or "bfloat16".
const char* precision_name(NetworkPrecision precision);

/// The numbers of a precision that are nearest to x, float32 as x is: ties to the even one, too large ones to infinity. In reverse mode its derivative is 1.
at::Tensor rounded(const at::Tensor& x, NetworkPrecision precision);

}  // namespace postrec
