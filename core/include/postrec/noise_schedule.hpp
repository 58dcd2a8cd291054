#pragma once

#include <utility>
#include <vector>

#include "postrec/noise_process.hpp"

namespace postrec {

/// Decreasing diffusion noise levels sigma_0 > ... > sigma_{n-1} > 0.
/// Karras: (smax^(1/rho) + i/(n-1) (smin^(1/rho) - smax^(1/rho)))^rho. [Karras 2022, eq. 5]
/// Makers throw Error(kUsage) on fewer than one level and unless 0 < sigma_min < sigma_max, finite.
class NoiseSchedule {
 public:
  static NoiseSchedule karras(int n_levels, double sigma_max, double sigma_min, double rho = 7.0);

  /// sigma_i = smax (smin/smax)^(i/(n-1)). [Song 2019]
  static NoiseSchedule geometric(int n_levels, double sigma_max, double sigma_min);

  /// sigma_max, then Karras from `landing` down: one draw of x0 where nothing but the data and the size of things is known, and every other level where images are
  /// decided. Karras alone when there are fewer than three levels or `landing` is not between the ends.
  static NoiseSchedule leap(int n_levels, double sigma_max, double landing, double sigma_min);

  /// Even in the time of a process, from its largest level to its smallest. [Song 2021]
  static NoiseSchedule even_in_time(int n_levels, const NoiseProcess& process);

  const std::vector<double>& sigmas() const { return sigmas_; }

 private:
  explicit NoiseSchedule(std::vector<double> sigmas) : sigmas_(std::move(sigmas)) {}
  std::vector<double> sigmas_;
};

}  // namespace postrec
