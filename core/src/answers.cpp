#include "postrec/answers.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

#include "postrec/error.hpp"
#include "postrec/shape_text.hpp"
#include "postrec/summary.hpp"

namespace postrec {
NumberAnswer answer_of(const std::vector<double>& values, double level) {
  const at::Tensor samples = at::tensor(values, at::kDouble).unsqueeze(1);
  const Summary summary = summarize(samples, level);
  return {summary.mean.item<double>(), summary.standard_deviation.item<double>(), summary.lower.item<double>(), summary.upper.item<double>(), summary.level};
}

std::vector<double> means_in_region(const at::Tensor& samples, const at::Tensor& region) {
  const at::Tensor first = samples.select(0, 0);
  if (region.sizes() != first.sizes())
    throw Error(ErrorKind::kBadData, "the region is " + shape_text(region.sizes()), "the samples are " + shape_text(first.sizes()));
  if (!region.any().item<bool>()) throw Error(ErrorKind::kUsage, "the region is empty", "it must hold at least one voxel");
  std::vector<double> means;
  for (std::int64_t k = 0; k < samples.size(0); ++k)
    means.push_back(displayed(samples[k]).masked_select(region).to(at::kDouble).mean().item<double>());
  return means;
}

std::vector<double> means_across_slices(const at::Tensor& samples, const at::Tensor& region) {
  std::vector<double> together(static_cast<std::size_t>(samples.size(0)), 0.0);
  const auto n_voxels = region.sum().item<double>();
  for (std::int64_t slice = 0; slice < region.size(0); ++slice) {
    const double share = region[slice].sum().item<double>() / n_voxels;
    if (share == 0.0) continue;
    std::vector<double> means = means_in_region(samples.select(1, slice), region[slice]);
    std::sort(means.begin(), means.end());
    for (std::size_t k = 0; k < means.size(); ++k) together[k] += share * means[k];
  }
  return together;
}

std::int64_t voxels_without_signal(const at::Tensor& magnitudes, const at::Tensor& region) {
  constexpr double kLeast = 3.0;
  return magnitudes.mean(0).lt(magnitudes.std(0) * kLeast).logical_and(region).sum().item<std::int64_t>();
}

at::Tensor probability_above(const at::Tensor& samples, double threshold) {
  return displayed(samples).gt(threshold).to(at::kFloat).mean(0);
}

double probability_above(const std::vector<double>& values, double threshold) {
  const auto above = std::count_if(values.begin(), values.end(), [&](double value) { return value > threshold; });
  return static_cast<double>(above) / static_cast<double>(values.size());
}

}  // namespace postrec
