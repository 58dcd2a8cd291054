#include "postrec/noise_schedule.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "postrec/error.hpp"

namespace postrec {

namespace {

void check(int n_levels, double sigma_max, double sigma_min) {
  if (n_levels < 1) throw Error(ErrorKind::kUsage, "a schedule of " + std::to_string(n_levels) + " levels", "at least 1 is needed");
  if (!(sigma_min > 0.0) || !(sigma_max > sigma_min) || !std::isfinite(sigma_max))
    throw Error(ErrorKind::kUsage, "a schedule from sigma " + std::to_string(sigma_max) + " to " + std::to_string(sigma_min),
                "sigma must fall and stay positive");
}

/// n levels level(0) ... level(1), the ends as given and not as rounded.
template <class LevelAt>
std::vector<double> spaced(int n, double sigma_max, double sigma_min, const LevelAt& level) {
  std::vector<double> sigmas(n);
  for (int i = 0; i < n; ++i) sigmas[i] = level(static_cast<double>(i) / std::max(n - 1, 1));
  sigmas.front() = sigma_max;
  if (n > 1) sigmas.back() = sigma_min;
  return sigmas;
}

}  // namespace

NoiseSchedule NoiseSchedule::karras(int n_levels, double sigma_max, double sigma_min, double rho) {
  check(n_levels, sigma_max, sigma_min);
  if (!(rho > 0.0)) throw Error(ErrorKind::kUsage, "a schedule with rho " + std::to_string(rho), "rho must be positive");
  const double first = std::pow(sigma_max, 1.0 / rho), last = std::pow(sigma_min, 1.0 / rho);
  return NoiseSchedule(spaced(n_levels, sigma_max, sigma_min, [&](double u) { return std::pow(first + (last - first) * u, rho); }));
}

NoiseSchedule NoiseSchedule::geometric(int n_levels, double sigma_max, double sigma_min) {
  check(n_levels, sigma_max, sigma_min);
  return NoiseSchedule(spaced(n_levels, sigma_max, sigma_min, [&](double u) { return sigma_max * std::pow(sigma_min / sigma_max, u); }));
}

NoiseSchedule NoiseSchedule::leap(int n_levels, double sigma_max, double landing, double sigma_min) {
  if (n_levels < 3 || !(landing < sigma_max) || !(landing > sigma_min)) return karras(n_levels, sigma_max, sigma_min);
  std::vector<double> sigmas = karras(n_levels - 1, landing, sigma_min).sigmas();
  sigmas.insert(sigmas.begin(), sigma_max);
  return NoiseSchedule(std::move(sigmas));
}

NoiseSchedule NoiseSchedule::even_in_time(int n_levels, const NoiseProcess& process) {
  const SigmaRange range = process.range();
  check(n_levels, range.maximum, range.minimum);
  const double first = process.time(range.maximum), last = process.time(range.minimum);
  return NoiseSchedule(spaced(n_levels, range.maximum, range.minimum, [&](double u) { return process.sigma(first + (last - first) * u); }));
}

}  // namespace postrec
