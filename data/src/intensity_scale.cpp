#include "postrec/data/intensity_scale.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "postrec/error.hpp"

namespace postrec {

namespace {

constexpr double kPercentile = 0.995;
constexpr double kHounsfieldPerWater = 1000.0;
constexpr double kLargestByte = 255.0;

/// Calls visit(bits) for each |x|. Floats that are not negative have the order of their bits.
template <class Visit>
void for_each_magnitude(const at::Tensor& x, const Visit& visit) {
  constexpr std::int64_t kBlock = 1 << 20;
  const at::Tensor flat = x.detach().flatten();
  for (std::int64_t first = 0; first < flat.numel(); first += kBlock) {
    const at::Tensor magnitude = at::abs(flat.narrow(0, first, std::min(kBlock, flat.numel() - first)).to(at::kCPU)).to(at::kFloat).contiguous();
    const float* values = magnitude.data_ptr<float>();
    for (std::int64_t i = 0; i < magnitude.numel(); ++i) visit(std::bit_cast<std::uint32_t>(values[i]));
  }
}

/// The counts below and the place where `rank` falls.
struct Place {
  std::uint32_t bucket = 0;
  std::uint64_t below = 0;
};
Place place_of(const std::vector<std::uint64_t>& counts, std::uint64_t rank) {
  Place place;
  while (place.below + counts[place.bucket] <= rank) place.below += counts[place.bucket++];
  return place;
}

constexpr int kHalf = 16;
constexpr std::size_t kBuckets = 1 << kHalf;

/// The value of this rank, from 0 on: by the upper halves of the bits, then by the lower halves of those that share the upper one. So an image of any size takes
/// half a megabyte.
float order_statistic(const at::Tensor& x, const std::vector<std::uint64_t>& upper_counts, std::uint64_t rank) {
  const Place upper = place_of(upper_counts, rank);
  std::vector<std::uint64_t> counts(kBuckets);
  for_each_magnitude(x, [&](std::uint32_t bits) {
    if (bits >> kHalf == upper.bucket) ++counts[bits & (kBuckets - 1)];
  });
  return std::bit_cast<float>(upper.bucket << kHalf | place_of(counts, rank - upper.below).bucket);
}

}  // namespace

double magnitude_percentile(const at::Tensor& x) {
  if (!x.defined() || x.numel() == 0)
    throw Error(ErrorKind::kBadData, "there is no image to take an intensity percentile of", "give an image that is not empty");
  constexpr std::uint32_t kInfinity = 0x7f800000;
  std::vector<std::uint64_t> counts(kBuckets);
  bool finite = true;
  for_each_magnitude(x, [&](std::uint32_t bits) {
    finite = finite && bits < kInfinity;
    ++counts[bits >> kHalf];
  });
  if (!finite)
    throw Error(ErrorKind::kBadData, "the image to take an intensity percentile of has values that are not finite",
                "replace NaN and infinity by numbers");
  const double rank = kPercentile * static_cast<double>(x.numel() - 1);
  const auto below = static_cast<std::uint64_t>(rank);
  const double low = order_statistic(x, counts, below);
  const double high = below + 1 == static_cast<std::uint64_t>(x.numel()) ? low : order_statistic(x, counts, below + 1);
  return low + (rank - std::floor(rank)) * (high - low);
}

IntensityScale IntensityScale::make(IntensityUnit unit, PriorIntensity intensity, const at::Tensor& reference) {
  const bool hounsfield = unit == IntensityUnit::kHounsfield;
  IntensityScale result;
  if (hounsfield) {
    // HU = 1000 (mu / mu_water - 1)
    result.stored_per_physical = kHounsfieldPerWater / kWaterMuPerMm;
    result.stored_offset = -kHounsfieldPerWater;
  }
  switch (intensity) {
    case PriorIntensity::kUnit:
      return result;
    case PriorIntensity::kRelativeWater:
      if (!hounsfield)
        throw Error(ErrorKind::kConfiguration, "the prior is for CT in Hounsfield units and the image is not",
                    "choose a prior of the image's kind, or say what the file holds with --unit hu or --unit arbitrary");
      result.scale = kWaterMuPerMm;
      return result;
    case PriorIntensity::kPercentile:
      if (hounsfield)
        throw Error(ErrorKind::kConfiguration, "the image is CT in Hounsfield units and the prior is not for CT", "choose a CT prior");
      result.scale = magnitude_percentile(reference);
      if (!(result.scale > 0.0))
        throw Error(ErrorKind::kBadData, "the 99.5th percentile of the image's magnitude is 0",
                    "the image is empty, or almost everywhere 0");
      return result;
    case PriorIntensity::kByte:
      if (hounsfield)
        throw Error(ErrorKind::kConfiguration, "the image is CT in Hounsfield units and the prior is for 8-bit pictures", "choose a CT prior");
      result.scale = kLargestByte;
      return result;
  }
  throw Error(ErrorKind::kInternal, "unknown prior intensity");
}

at::Tensor IntensityScale::stored_to_physical(const at::Tensor& x) const { return (x - stored_offset) / stored_per_physical; }
at::Tensor IntensityScale::physical_to_model(const at::Tensor& x) const { return x / scale; }
at::Tensor IntensityScale::model_to_stored(const at::Tensor& x) const { return x * (scale * stored_per_physical) + stored_offset; }
at::Tensor IntensityScale::model_width_to_stored(const at::Tensor& width) const { return width * (scale * stored_per_physical); }

}  // namespace postrec
