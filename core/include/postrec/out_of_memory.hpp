#pragma once

#include <c10/util/Exception.h>

#include <string>

namespace postrec {

/// Whether an error of LibTorch is that memory ran out. Its allocators for devices say so by type; that of the CPU, cuDNN (no algorithm fits into what is left) and cuFFT by their text alone.
inline bool is_out_of_memory(const c10::Error& error) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error)) return true;
  const std::string text = error.what_without_backtrace();
  for (const char* sign : {"DefaultCPUAllocator", "out of memory", "ALLOC_FAILED", "unable to find an engine"})
    if (text.find(sign) != std::string::npos) return true;
  return false;
}

}  // namespace postrec
