#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "postrec/image.hpp"

namespace postrec {

/// How good images are, each [slice, C, H, W] as stored. An image that is undefined is left out.
struct ImagesToJudge {
  at::Tensor mean = {};
  at::Tensor one_sample = {};
  at::Tensor pseudo_inverse = {};
  at::Tensor lower = {};
  at::Tensor upper = {};
  double level = 0.0;                          ///< probability that the interval was made for
  std::int64_t n_samples = 0;                  ///< that it was made from
  at::Tensor standard_deviation = {};
};

/// PSNR, SSIM and NRMSE of the posterior mean, of one sample and of the direct reconstruction, apart; means over slices. And the share of true
/// pixels inside the interval: of all pixels, of the object (true values over a tenth of the slice's range: magnitudes of samples are never 0, so
/// an empty background lies below any interval), and what is right: the level, or what n samples can bound when that is less. HU are first made attenuation relative to water (1 + HU/1000), so that NRMSE has a zero that means nothing
/// there. And the spread over the error: root mean
/// square of the standard deviation, times (1 + 1/n)^(1/2) for a mean of n samples, over that of (mean - truth); right is 1. The peak of a slice is its range of true values; a slice without a range is left out. A figure that cannot be computed is null.
nlohmann::ordered_json judge(const ImagesToJudge& images, const at::Tensor& truth, IntensityUnit unit);

/// The figures as a table for people.
std::string quality_table(const nlohmann::ordered_json& quality);

}  // namespace postrec
