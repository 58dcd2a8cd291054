#include "cli/freed_memory.hpp"

#include <cstdlib>                             // defines __GLIBC__
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace postrec {

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);         // the most that glibc raises it to by itself
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

}  // namespace postrec
