#include <ATen/ATen.h>

#include "postrec/conformance.hpp"

namespace postrec {

DevicesToCheck devices_to_check(const OperatorType& type) {
  DevicesToCheck devices;
  if (type.devices.cpu) devices.here.emplace_back(at::kCPU);
  if (!type.devices.cuda) return devices;
  if (at::hasCUDA()) {
    devices.here.emplace_back(at::kCUDA, 0);
  } else {
    devices.missing.emplace_back("cuda");
  }
  return devices;
}

}  // namespace postrec
