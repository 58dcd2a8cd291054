#include "postrec/data/intensity_scale.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "postrec/error.hpp"

namespace postrec {

namespace {

constexpr double kPercentile = 0.995;
constexpr double kHounsfieldPerWater = 1000.0;
constexpr double kLargestByte = 255.0;

/// By linear interpolation of the order statistics of |x|.
double magnitude_percentile(const at::Tensor& x) {
  if (!x.defined() || x.numel() == 0)
    throw Error(ErrorKind::kBadData, "there is no image to take an intensity percentile of", "give an image that is not empty");
  const at::Tensor magnitude = at::abs(x.detach().to(at::kCPU)).to(at::kFloat).contiguous();
  std::vector<float> values(magnitude.data_ptr<float>(), magnitude.data_ptr<float>() + magnitude.numel());
  if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
    throw Error(ErrorKind::kBadData, "the image to take an intensity percentile of has values that are not finite",
                "replace NaN and infinity by numbers");
  const double rank = kPercentile * static_cast<double>(values.size() - 1);
  const auto below = values.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(values.begin(), below, values.end());
  const double low = *below;
  const double high = below + 1 == values.end() ? low : *std::min_element(below + 1, values.end());
  return low + (rank - std::floor(rank)) * (high - low);
}

}  // namespace

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
