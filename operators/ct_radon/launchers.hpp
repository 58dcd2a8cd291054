#pragma once

#include <c10/core/DeviceType.h>

#include "ct_radon/device_tasks.hpp"

namespace postrec::ct {

/// How devices of a type project; null where they cannot. CUDA's where it was compiled in.
const Launcher* launcher_of(c10::DeviceType type);

/// For tests, before the first projection on such a device: `launcher` must outlive its use.
void set_launcher(c10::DeviceType type, const Launcher* launcher);

}  // namespace postrec::ct
