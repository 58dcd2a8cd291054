#pragma once

#include <cstdint>
#include <string>

namespace postrec {

/// What a long computation tells while it runs. Every member has a no-op default.
class Observer {
 public:
  virtual ~Observer() = default;

  struct Step {
    std::int64_t done = 0;                     ///< steps finished, over all samples
    std::int64_t total = 0;
    double sigma = 0.0;                        ///< noise level just left
    double misfit = 0.0;                       ///< mean reduced chi-square of the denoised images, 0 without a measurement
  };
  virtual void on_step(const Step&) {}
  virtual void on_message(const std::string&) {}

  /// Asked once a step; true ends the computation, which returns what is finished.
  virtual bool cancelled() const { return false; }
};

}  // namespace postrec
