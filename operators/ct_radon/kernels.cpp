#include "ct_radon/kernels.hpp"

#include <cstdlib>
#include <cstring>

namespace postrec::ct {

const Kernels& best_kernels() {
#ifdef POSTREC_CT_AVX2
  const char* portable = std::getenv("POSTREC_CT_PORTABLE");
  const bool wants_portable = portable && std::strcmp(portable, "1") == 0;
  if (!wants_portable && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2_kernels();
#endif
  return portable_kernels();
}

}  // namespace postrec::ct
