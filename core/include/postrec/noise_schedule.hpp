#pragma once

#include <utility>
#include <vector>

namespace postrec {

/// Decreasing diffusion noise levels sigma_0 > ... > sigma_{n-1} > 0.
/// Karras: (smax^(1/rho) + i/(n-1) (smin^(1/rho) - smax^(1/rho)))^rho. [Karras 2022, eq. 5]
class NoiseSchedule {
 public:
  static NoiseSchedule karras(int n_levels, double sigma_max, double sigma_min, double rho = 7.0);

  const std::vector<double>& sigmas() const { return sigmas_; }

 private:
  explicit NoiseSchedule(std::vector<double> sigmas) : sigmas_(std::move(sigmas)) {}
  std::vector<double> sigmas_;
};

}  // namespace postrec
