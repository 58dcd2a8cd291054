#include "postrec/noise_schedule.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "postrec/error.hpp"

namespace postrec {

NoiseSchedule NoiseSchedule::karras(int n_levels, double sigma_max, double sigma_min, double rho) {
  if (n_levels < 1) throw Error(ErrorKind::kUsage, "a schedule of " + std::to_string(n_levels) + " levels", "at least 1 is needed");
  if (!(sigma_min > 0.0) || !(sigma_max > sigma_min) || !std::isfinite(sigma_max) || !(rho > 0.0))
    throw Error(ErrorKind::kUsage, "a schedule from sigma " + std::to_string(sigma_max) + " to " + std::to_string(sigma_min) +
                " with rho " + std::to_string(rho), "sigma must fall, stay positive, and rho be positive");
  std::vector<double> sigmas(n_levels);
  const double first = std::pow(sigma_max, 1.0 / rho), last = std::pow(sigma_min, 1.0 / rho);
  for (int i = 0; i < n_levels; ++i) sigmas[i] = std::pow(first + (last - first) * i / std::max(n_levels - 1, 1), rho);
  sigmas.front() = sigma_max;
  if (n_levels > 1) sigmas.back() = sigma_min;
  return NoiseSchedule(std::move(sigmas));
}

}  // namespace postrec
