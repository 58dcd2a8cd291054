#pragma once

#include <c10/core/Device.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>
#include <mutex>
#include <vector>

namespace postrec {

/// A key for what is made for an image shape and kept on a device.
inline std::vector<std::int64_t> shape_on(std::vector<std::int64_t> shape, const c10::Device& device) {
  shape.push_back(static_cast<std::int64_t>(device.type()));
  shape.push_back(device.index());
  return shape;
}

/// What was made for the last image shape asked for. Safe to use from several threads.
template <class Value>
class ShapeCache {
 public:
  template <class Make>
  Value get(const std::vector<std::int64_t>& shape, const Make& make) {
    const std::lock_guard lock(mutex_);
    if (shape != shape_) {
      const c10::InferenceMode with_graphs(false);  // whoever asks first, others may differentiate through it
      value_ = make();
      shape_ = shape;
    }
    return value_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::int64_t> shape_;
  Value value_;
};

}  // namespace postrec
