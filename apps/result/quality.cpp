#include "result/quality.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "postrec/diagnostics.hpp"
#include "postrec/summary.hpp"

namespace postrec {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kSsimWindow = 11;

at::Tensor in_model_unit(const at::Tensor& stored, IntensityUnit unit) {
  return unit == IntensityUnit::kHounsfield ? stored / 1000.0 + 1.0 : stored;
}

double peak_of(const at::Tensor& truth) { return (truth.max() - truth.min()).item<double>(); }

/// Mean over slices; null without one.
ordered_json mean_or_null(double sum, std::int64_t n) {
  const double mean = sum / static_cast<double>(n);
  return n > 0 && std::isfinite(mean) ? ordered_json(mean) : ordered_json(nullptr);
}

/// Where the true slice [C, H, W] is over a tenth of its range.
at::Tensor object_pixels(const at::Tensor& truth) { return truth.gt(truth.min() + 0.1 * (truth.max() - truth.min())); }

ordered_json judge_image(const at::Tensor& images, const at::Tensor& truths, IntensityUnit unit) {
  double psnr = 0, similarity = 0, error = 0;
  std::int64_t n = 0, n_windows = 0;
  for (std::int64_t slice = 0; slice < truths.size(0); ++slice) {
    const at::Tensor image = in_model_unit(images[slice], unit), truth = in_model_unit(truths[slice], unit);
    const double peak = peak_of(truth);
    if (!(peak > 0)) continue;
    psnr += psnr_db(image, truth, peak);
    error += nrmse(image, truth);
    ++n;
    if (truth.size(-1) < kSsimWindow || truth.size(-2) < kSsimWindow) continue;
    similarity += ssim(image, truth, peak);
    ++n_windows;
  }
  return {{"psnr_db", mean_or_null(psnr, n)}, {"ssim", mean_or_null(similarity, n_windows)}, {"nrmse", mean_or_null(error, n)}};
}

ordered_json number_or_null(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

/// What is counted over some pixels of all slices, a slice at a time.
struct PixelSums {
  double n = 0, inside = 0, variance = 0, squared_error = 0;

  void add(const ImagesToJudge& images, const at::Tensor& truths, std::int64_t slice, const at::Tensor& where) {
    const at::Tensor truth = truths[slice].masked_select(where);
    const auto sum = [](const at::Tensor& values) { return values.to(at::kDouble).sum().item<double>(); };
    const auto of = [&](const at::Tensor& volume) { return volume[slice].masked_select(where); };
    n += static_cast<double>(truth.numel());
    if (images.lower.defined() && images.upper.defined()) inside += sum(truth.ge(of(images.lower)).logical_and(truth.le(of(images.upper))));
    if (!images.standard_deviation.defined() || !images.mean.defined()) return;
    variance += sum(of(images.standard_deviation).to(at::kDouble).square());
    squared_error += sum((of(images.mean) - truth).to(at::kDouble).square());
  }

  ordered_json coverage() const { return number_or_null(inside / n); }
  /// Root mean square of the standard deviation over that of the error; a mean of n samples has a variance of its own, 1/n of theirs.
  ordered_json spread_over_error(std::int64_t n_samples) const {
    return number_or_null(std::sqrt(variance / n) * std::sqrt(1.0 + 1.0 / static_cast<double>(n_samples)) / std::sqrt(squared_error / n));
  }
};

std::string cell(const ordered_json& value, const char* format) {
  if (!value.is_number()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, format, value.get<double>());
  return text;
}

}  // namespace

ordered_json judge(const ImagesToJudge& images, const at::Tensor& truth, IntensityUnit unit) {
  ordered_json quality;
  const auto add = [&](const char* name, const at::Tensor& image) {
    if (image.defined()) quality[name] = judge_image(image, truth, unit);
  };
  add("mean", images.mean);
  add("one_sample", images.one_sample);
  add("pseudo_inverse", images.pseudo_inverse);
  PixelSums object, all;
  for (std::int64_t slice = 0; slice < truth.size(0); ++slice) {
    const at::Tensor where = object_pixels(in_model_unit(truth[slice], unit));
    object.add(images, truth, slice, where);
    all.add(images, truth, slice, at::ones_like(where));
  }
  if (images.lower.defined() && images.upper.defined())
    quality["interval_coverage"] = {{"all", all.coverage()}, {"object", object.coverage()}, {"expected", std::min(images.level, interval_level_of(images.n_samples))}};
  if (images.standard_deviation.defined() && images.mean.defined())
    quality["spread_over_error"] = {{"all", all.spread_over_error(images.n_samples)}, {"object", object.spread_over_error(images.n_samples)}};
  return quality;
}

std::string quality_table(const ordered_json& quality) {
  std::string table = "                  PSNR/dB    SSIM   NRMSE\n";
  for (const auto& [key, title] : {std::pair{"mean", "posterior mean"}, {"one_sample", "one sample"}, {"pseudo_inverse", "pseudo-inverse"}}) {
    if (!quality.contains(key)) continue;
    char line[96];
    std::snprintf(line, sizeof line, "%-16s %8s %7s %7s\n", title, cell(quality[key]["psnr_db"], "%.2f").c_str(), cell(quality[key]["ssim"], "%.3f").c_str(),
                  cell(quality[key]["nrmse"], "%.3f").c_str());
    table += line;
  }
  if (quality.contains("interval_coverage")) {
    const auto& coverage = quality["interval_coverage"];
    table += "true values inside the interval: " + cell(coverage["object"], "%.3f") + " of the object's pixels (right is " + cell(coverage["expected"], "%.3f") + "), " +
             cell(coverage["all"], "%.3f") + " of all\n";
  }
  if (quality.contains("spread_over_error"))
    table += "spread over error of the mean: " + cell(quality["spread_over_error"]["object"], "%.2f") + " in the object (right is 1)\n";
  return table;
}

}  // namespace postrec
