#pragma once

#include <vector>

namespace postrec {

/// Summed in the order of the values; NaN where there are none.
inline double mean_of(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

}  // namespace postrec
