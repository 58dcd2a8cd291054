#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/InferenceMode.h>

#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

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

/// Tensors of the host, and copies of them on each device that has asked for one.
class TensorsByDevice {
 public:
  explicit TensorsByDevice(std::vector<at::Tensor> tensors) : tensors_(std::move(tensors)) {}

  const at::Tensor& on_host(std::size_t k) const { return tensors_[k]; }
  at::Tensor on(const c10::Device& device, std::size_t k) {
    if (device.is_cpu()) return tensors_[k];
    return copies_.get(device, [&] {
      std::vector<at::Tensor> there;
      for (const at::Tensor& tensor : tensors_) there.push_back(tensor.to(device));
      return there;
    })[k];
  }

 private:
  std::vector<at::Tensor> tensors_;
  DeviceCache<std::vector<at::Tensor>> copies_;
};

}  // namespace postrec
