#include "random_device.hpp"

#include <array>
#include <atomic>

namespace postrec::philox {
namespace {

using Fills = std::array<std::atomic<const DeviceFill*>, c10::COMPILE_TIME_MAX_DEVICE_TYPES>;

Fills& fills() {
  static Fills instance{};
  return instance;
}

}  // namespace

const DeviceFill* device_fill(c10::DeviceType type) {
  if (const DeviceFill* fill = fills()[static_cast<std::size_t>(type)]) return fill;
#ifdef POSTREC_HAS_CUDA
  if (type == c10::DeviceType::CUDA) return &cuda_fill();
#endif
  return nullptr;
}

void set_device_fill(c10::DeviceType type, const DeviceFill* fill) { fills()[static_cast<std::size_t>(type)] = fill; }

}  // namespace postrec::philox
