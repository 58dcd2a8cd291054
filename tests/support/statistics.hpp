#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "exact_posterior.hpp"
#include "postrec/random.hpp"

namespace postrec::test {

/// Sliced Wasserstein distance of two sets of equal size [N, n]: the 2-Wasserstein distance along random directions, root mean square.
/// The directions are the same for every pair. [Bonneel 2015]
inline double sliced_wasserstein(const at::Tensor& a, const at::Tensor& b, std::int64_t n_directions = 256, int power = 2) {
  at::Tensor directions = RandomStreams(0x5357, 0, n_directions).normal(0, {a.size(1)}, at::kFloat).to(at::kDouble);
  directions = directions / directions.square().sum(1, true).sqrt();
  const at::Tensor sorted_a = std::get<0>(a.matmul(directions.t()).sort(0)), sorted_b = std::get<0>(b.matmul(directions.t()).sort(0));
  const at::Tensor gap = (sorted_a - sorted_b).abs();
  return power == 2 ? std::sqrt(gap.square().mean().item<double>()) : gap.mean().item<double>();
}

/// What samples look like beside the exact posterior.
struct Agreement {
  double distance = 0.0;                       ///< sliced Wasserstein over its floor
  double spread = 0.0;                         ///< mean over components of standard deviation over the exact one
  double coverage = 0.0;                       ///< of the exact posterior by the samples' 90 % intervals
};

}  // namespace postrec::test
