#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace postrec {

/// What samples say of one number.
struct NumberAnswer {
  double mean = 0.0;                           ///< posterior mean
  double standard_deviation = 0.0;             ///< of the samples, n - 1 in the denominator; 0 for one sample
  double lower = 0.0;                          ///< credible interval: a further sample lies inside with probability `level`, as in Summary
  double upper = 0.0;
  double level = 0.0;                          ///< as asked for, or interval_level_of(n) where n samples cannot bound more
};

/// Throws Error(kUsage) when there is no value or level is not in (0, 1).
NumberAnswer answer_of(const std::vector<double>& values, double level);

/// The mean of each sample over a region, of the magnitude of complex samples: samples [n, ...], region boolean [...] -> n numbers, in the
/// unit of the samples. Throws Error: kBadData (the region is of another shape), kUsage (it is empty).
std::vector<double> means_in_region(const at::Tensor& samples, const at::Tensor& region);

/// The probability that a voxel is above the threshold, |x| > threshold for complex samples: samples [n, ...] -> float32 [...].
/// The share of samples, which is unbiased; its standard error is (p (1 - p)/n)^(1/2), and 0 of n samples excludes no p below about 3/n.
at::Tensor probability_above(const at::Tensor& samples, double threshold);

/// The same of one number.
double probability_above(const std::vector<double>& values, double threshold);

}  // namespace postrec
