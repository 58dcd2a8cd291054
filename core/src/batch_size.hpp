#pragma once

#include <c10/util/Exception.h>

#include <cstdint>
#include <memory>

#include "postrec/error.hpp"
#include "postrec/observer.hpp"
#include "postrec/out_of_memory.hpp"
#include "postrec/sampler.hpp"

namespace postrec {

/// How many samples are computed together: fewer where the device has no memory for as many, or had none in an earlier call.
class BatchSize {
 public:
  /// `n`: as many as are asked for; `group`: samples that belong together; `limit`: what earlier calls met, and later ones shall know. Null: nothing.
  BatchSize(std::int64_t n, std::int64_t group, std::int64_t image_bytes, std::shared_ptr<BatchLimit> limit);

  std::int64_t get() const { return n_; }
  std::int64_t of(std::int64_t n_left) const;

  /// Calls work() for n samples. False, and a smaller size, when memory ran out; throws on when there is nothing to halve.
  template <class Work>
  bool has_memory_for(std::int64_t n, const Work& work) {
    try {
      work();
      return true;
    } catch (const c10::Error& error) {
      if (!is_out_of_memory(error) || !halve(n)) throw;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kOutOfMemory || !halve(n)) throw;
    }
    return false;
  }

  /// Says it once, and keeps it for later calls, when a size has proved right.
  void tell(Observer& observer);

 private:
  /// Whole groups that an earlier call leaves room for; one at least.
  std::int64_t known_limit() const;
  bool halve(std::int64_t n);

  std::int64_t group_, image_bytes_;
  std::shared_ptr<BatchLimit> limit_;
  std::int64_t n_, first_ = 0;
  bool told_ = false;
};

}  // namespace postrec
