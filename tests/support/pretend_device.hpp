#pragma once

#include <c10/core/Device.h>

#include <cstddef>
#include <cstdint>

namespace postrec::pretend {

/// A device that is not there: LibTorch's PrivateUse1 in host memory, so that code for an accelerator is tested where there is none.
///
/// What would go wrong on a GPU goes wrong here. A host loop that reads the memory of a tensor of the device crashes: its address is not one of
/// the host's. An operator that mixes a tensor of the device with one of the host throws, unless the host's is a single number. Each copy between
/// the two, each operator that works there and each whose answer the host has to wait for is counted. Memory can be made scarce. Operators run on the CPU's kernels,
/// so results are the CPU's bits wherever the same operators are called.
c10::Device device();

/// What crossed between host and device since the last call of reset_traffic().
struct Traffic {
  std::int64_t to_host = 0;                    ///< copies of tensors
  std::int64_t to_device = 0;
  std::int64_t waits = 0;                      ///< operators with an answer whose value the host needs: item(), nonzero(), ...
  std::int64_t queued = 0;                     ///< operators that make numbers, each of which starts a kernel or more on a GPU; views do not count
};

Traffic traffic();
void reset_traffic();

/// Bytes that the device has in all; 0, as at first: without limit. An allocation beyond it throws c10::OutOfMemoryError, as the allocator of CUDA does.
void limit_memory(std::size_t n_bytes);
std::size_t memory_in_use();
std::size_t peak_memory();                     ///< since the last call of limit_memory()

/// The host's address of what a tensor of the device says is its data: for tests of code that launches kernels.
void* host_address(const void* data);

}  // namespace postrec::pretend
