#include "philox_numbers.hpp"
#include "postrec/for_each_index.cuh"

namespace postrec::philox {

const DeviceFill& cuda_fill() {
  static const DeviceFill fill = {
      [](const Rows& rows, void* stream) { for_each_index(NormalRows{rows}, rows.n_blocks(), static_cast<cudaStream_t>(stream), "the making of normal numbers"); },
      [](const Rows& rows, void* stream) { for_each_index(UniformRows{rows}, rows.n_blocks(), static_cast<cudaStream_t>(stream), "the making of uniform numbers"); }};
  return fill;
}

}  // namespace postrec::philox
