#pragma once

#include <c10/core/Device.h>
#include <c10/core/InferenceMode.h>

#include <functional>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace postrec {

/// The constants of an operator on each device that its calls come from.
///
/// An operator is made on the CPU and is then called with tensors of any device. A copy of its constants at each call would make the host wait there, so they are made
/// once for a device and kept. `make` copies from the host, which ends before it returns: other streams may use the constants at once. Safe to use from several threads.
template <class Constants>
class PerDevice {
 public:
  using Make = std::function<Constants(c10::Device)>;

  explicit PerDevice(Make make) : make_(std::move(make)) {}

  const Constants& on(c10::Device device) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = made_.find(device);
    if (found != made_.end()) return found->second;
    const c10::InferenceMode ordinary_tensors(false);  // whichever mode the first caller is in: later ones may be in another
    return made_.emplace(device, make_(device)).first->second;
  }

 private:
  Make make_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<c10::Device, Constants> made_;  ///< whose elements stay where they are
};

}  // namespace postrec
