#pragma once

#include <c10/core/DeviceType.h>

#include "philox_numbers.hpp"

namespace postrec::philox {

/// How random numbers are made on devices of a type; null: on the host, and copied. CUDA's own where it was compiled in.
const DeviceFill* device_fill(c10::DeviceType type);

/// For tests: `fill` must outlive its use.
void set_device_fill(c10::DeviceType type, const DeviceFill* fill);

}  // namespace postrec::philox
