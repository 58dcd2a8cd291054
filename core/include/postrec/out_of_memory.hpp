#pragma once

#include <c10/util/Exception.h>

#include <string_view>

namespace postrec {

/// Whether LibTorch says so in words: the allocator of the CPU, cuDNN (no algorithm fits into what is left), cuFFT, and the interpreter of TorchScript of what a device's allocator threw in it.
inline bool says_out_of_memory(std::string_view text) {
  for (const char* sign : {"DefaultCPUAllocator", "out of memory", "ALLOC_FAILED", "unable to find an engine"})
    if (text.find(sign) != std::string_view::npos) return true;
  return false;
}

/// Whether an error of LibTorch is that memory ran out. Its allocators for devices say so by type.
inline bool is_out_of_memory(const c10::Error& error) {
  return dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr || says_out_of_memory(error.what_without_backtrace());
}

}  // namespace postrec
