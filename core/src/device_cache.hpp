#pragma once

#include <c10/core/Device.h>
#include <c10/core/InferenceMode.h>

#include <mutex>
#include <unordered_map>

namespace postrec {

/// What was made for each device asked for, once. Safe to use from several threads.
template <class Value>
class DeviceCache {
 public:
  template <class Make>
  Value get(const c10::Device& device, const Make& make) {
    const std::lock_guard lock(mutex_);
    auto found = values_.find(device);
    if (found == values_.end()) {
      const c10::InferenceMode with_graphs(false);  // whoever asks first, others may differentiate through it
      found = values_.emplace(device, make()).first;
    }
    return found->second;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<c10::Device, Value> values_;
};

}  // namespace postrec
