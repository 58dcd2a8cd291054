#pragma once

#include <ATen/Parallel.h>

namespace postrec::test {

/// Sets the number of threads of ATen's operations until the end of its life.
class Threads {
 public:
  explicit Threads(int n) { at::set_num_threads(n); }
  ~Threads() { at::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_ = at::get_num_threads();
};

}  // namespace postrec::test
