#include <ATen/ATen.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "postrec/error.hpp"
#include "postrec/poisson_transmission.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

constexpr double kSmallMean = 10.0;            // from here on PTRS is valid
constexpr double kLargestMean = 1e9;

/// The smallest k whose distribution function exceeds u.
double by_inversion(double mean, double u) {
  double k = 0.0, probability = std::exp(-mean);
  // The sum ends at 1 - 1e-16 or so: u may lie above what rounding lets it reach, hence the limit, beyond which lies 1e-60.
  for (double sum = probability; u > sum && k < 120.0; sum += probability) probability *= mean / ++k;
  return k;
}

/// One attempt of PTRS with two uniform numbers; negative when it is rejected. [Hoermann 1993]
double by_rejection(double mean, double u, double v) {
  const double b = 0.931 + 2.53 * std::sqrt(mean), a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), v_r = 0.9277 - 3.6224 / (b - 2.0);
  const double centred = u - 0.5, us = 0.5 - std::abs(centred);
  if (us <= 0.0) return -1.0;
  const double k = std::floor((2.0 * a / us + b) * centred + mean + 0.43);
  if (us >= 0.07 && v <= v_r) return k;
  if (k < 0.0 || (us < 0.013 && v > us)) return -1.0;
  const double bound = std::log(v * inverse_alpha / (a / (us * us) + b));
  return bound <= k * std::log(mean) - mean - std::lgamma(k + 1.0) ? k : -1.0;
}

}  // namespace

at::Tensor poisson_counts(const at::Tensor& mean, std::uint64_t seed) {
  const at::Tensor means = mean.detach().to(at::kCPU, at::kDouble).contiguous();
  if (means.numel() > 0 && !(means.min().item<double>() >= 0.0 && means.max().item<double>() <= kLargestMean))
    throw Error(ErrorKind::kBadData, "expected counts reach from " + std::to_string(means.min().item<double>()) + " to " +
                                             std::to_string(means.max().item<double>()),
                "they must lie between 0 and 1e9: check image, blank scan and background");
  at::Tensor counts = at::zeros(means.sizes(), at::kFloat);
  const double* expected = means.const_data_ptr<double>();
  float* drawn = counts.mutable_data_ptr<float>();
  std::vector<std::int64_t> open(means.numel());
  std::iota(open.begin(), open.end(), 0);
  const RandomStreams streams(seed, 0, 1);
  for (std::uint64_t attempt = 0; !open.empty(); ++attempt) {
    // 24 bits in each: the second gives the first more of them, for the tails.
    const at::Tensor first = streams.uniform(2 * attempt, {means.numel()}), second = streams.uniform(2 * attempt + 1, {means.numel()});
    const float* u = first.const_data_ptr<float>();
    const float* v = second.const_data_ptr<float>();
    std::vector<std::int64_t> rejected;
    for (const std::int64_t i : open) {
      const double k = expected[i] < kSmallMean ? by_inversion(expected[i], double{u[i]} + double{v[i]} * 0x1p-24)
                                                : by_rejection(expected[i], u[i], v[i]);
      if (k < 0.0) rejected.push_back(i);
      else drawn[i] = static_cast<float>(k);
    }
    open = std::move(rejected);
  }
  return counts;
}

}  // namespace postrec
