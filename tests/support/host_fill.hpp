#pragma once

#include <cstdint>

#include "pretend_device.hpp"
#include "random_device.hpp"

namespace postrec::pretend {

/// Runs what CUDA threads would run, index by index, on the memory of the pretend device.
template <class Numbers>
void fill_on_host(const philox::Rows& rows, void* /*stream*/) {
  Numbers numbers{rows};
  numbers.numbers = static_cast<float*>(host_address(numbers.numbers));
  for (std::int64_t index = 0; index < numbers.n_blocks(); ++index) numbers(index);
}

/// While it lives, random numbers of the pretend device are made there.
class RandomNumbersHere {
 public:
  RandomNumbersHere() {
    static const philox::DeviceFill fill = {fill_on_host<philox::NormalRows>, fill_on_host<philox::UniformRows>};
    philox::set_device_fill(device().type(), &fill);
  }
  ~RandomNumbersHere() { philox::set_device_fill(device().type(), nullptr); }
};

}  // namespace postrec::pretend
