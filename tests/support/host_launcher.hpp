#pragma once

#include <cstdint>

#include "ct_radon/device_work.hpp"
#include "ct_radon/launchers.hpp"
#include "pretend_device.hpp"

namespace postrec::pretend {

template <class T>
void to_host(T*& pointer) {
  pointer = static_cast<T*>(host_address(pointer));
}

inline void to_host(ct::RayTables& rays) {
  to_host(rays.bundles), to_host(rays.first_bundle), to_host(rays.along_rows), to_host(rays.along_columns);
  to_host(rays.start), to_host(rays.slope), to_host(rays.block_first_row), to_host(rays.block_last_row);
}
inline void to_host(ct::ForwardTask& task) {
  to_host(task.rays), to_host(task.length_mm), to_host(task.images), to_host(task.transposed), to_host(task.sinograms);
}
inline void to_host(ct::AdjointTask& task) { to_host(task.rays), to_host(task.weighted), to_host(task.images); }
inline void to_host(ct::FilterTask& task) { to_host(task.ray_weights), to_host(task.taps), to_host(task.sinograms), to_host(task.filtered); }
inline void to_host(ct::BackProjectTask& task) { to_host(task.views), to_host(task.filtered), to_host(task.images); }

/// Runs what a CUDA thread would run, index by index, on the memory of the pretend device.
struct OnHost {
  template <class Work>
  static void over(Work work, std::int64_t size, void* /*stream*/, const char* /*what*/) {
    to_host(work);
    for (std::int64_t index = 0; index < size; ++index) work(index);
  }
};

/// While it lives, ct-radon projects tensors of the pretend device.
class CtRadonHere {
 public:
  CtRadonHere() {
    static const ct::Launcher launcher = ct::LauncherOf<OnHost>::make();
    ct::set_launcher(device().type(), &launcher);
  }
  ~CtRadonHere() { ct::set_launcher(device().type(), nullptr); }
};

}  // namespace postrec::pretend
