#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
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

/// The same over a region of several slices whose samples were drawn slice by slice: samples [n, slice, ...], region boolean [slice, ...] -> n numbers, in order. Sample k of one slice has
/// nothing to do with sample k of its neighbour, though their true errors do (correlation .76 at 1 mm in a brain): a mean of independent draws would have intervals that are too short (.61
/// inside instead of .90 over six slices). So the k-th smallest mean of every slice goes with those of the others, as if slices erred together: no dependence between them gives a larger
/// standard deviation. For a region in one slice these are its means.
std::vector<double> means_across_slices(const at::Tensor& samples, const at::Tensor& region);

/// How many voxels of a region show no signal: the mean of their magnitudes is less than three times the standard deviation. Magnitudes of noise alone have 1.9 times (Rayleigh) and do
/// not average out, so that where the truth is 0 every sample's mean lies above it. Of OASIS brains at R = 8, 8 samples: .5 % of the voxels of the body, all of the empty surroundings.
/// magnitudes [n, ...] with n at least 2, region boolean [...].
std::int64_t voxels_without_signal(const at::Tensor& magnitudes, const at::Tensor& region);

/// The probability that a voxel is above the threshold, |x| > threshold for complex samples: samples [n, ...] -> float32 [...].
/// The share of samples, which is unbiased; its standard error is (p (1 - p)/n)^(1/2), and 0 of n samples excludes no p below about 3/n.
at::Tensor probability_above(const at::Tensor& samples, double threshold);

/// The same of one number.
double probability_above(const std::vector<double>& values, double threshold);

}  // namespace postrec
