#include "ct_radon/launchers.hpp"

#include <array>
#include <atomic>

namespace postrec::ct {
namespace {

using Launchers = std::array<std::atomic<const Launcher*>, c10::COMPILE_TIME_MAX_DEVICE_TYPES>;

Launchers& launchers() {
  static Launchers instance{};
  return instance;
}

}  // namespace

const Launcher* launcher_of(c10::DeviceType type) {
  if (const Launcher* launcher = launchers()[static_cast<std::size_t>(type)]) return launcher;
#ifdef POSTREC_HAS_CUDA
  if (type == c10::DeviceType::CUDA) return &cuda_launcher();
#endif
  return nullptr;
}

void set_launcher(c10::DeviceType type, const Launcher* launcher) { launchers()[static_cast<std::size_t>(type)] = launcher; }

}  // namespace postrec::ct
