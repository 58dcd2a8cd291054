#include "common/quality.hpp"

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

/// Where the truth is over a tenth of the range of its slice, boolean [slice, C, H, W].
at::Tensor object_pixels(const at::Tensor& truths) {
  const at::Tensor low = truths.amin({1, 2, 3}, true), high = truths.amax({1, 2, 3}, true);
  return truths.gt(low + 0.1 * (high - low));
}

ordered_json judge_image(const at::Tensor& images, const at::Tensor& truths) {
  double psnr = 0, similarity = 0, error = 0;
  std::int64_t n = 0, n_windows = 0;
  for (std::int64_t slice = 0; slice < truths.size(0); ++slice) {
    const at::Tensor image = images[slice], truth = truths[slice];
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

/// Root mean square of the standard deviation over that of the error; n samples make a mean whose own variance adds 1/n of theirs.
ordered_json spread_over_error(const ImagesToJudge& images, const at::Tensor& truth, const at::Tensor& where) {
  const auto rms = [&](const at::Tensor& values) { return std::sqrt(values.masked_select(where).to(at::kDouble).square().mean().item<double>()); };
  const double ratio = rms(images.standard_deviation) * std::sqrt(1.0 + 1.0 / static_cast<double>(images.n_samples)) / rms(images.mean - truth);
  return std::isfinite(ratio) ? ordered_json(ratio) : ordered_json(nullptr);
}

std::string cell(const ordered_json& value, const char* format) {
  if (!value.is_number()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, format, value.get<double>());
  return text;
}

}  // namespace

ordered_json judge(const ImagesToJudge& images, const at::Tensor& truth, IntensityUnit unit) {
  ordered_json quality;
  const at::Tensor model_truth = in_model_unit(truth, unit);
  const auto add = [&](const char* name, const at::Tensor& image) {
    if (image.defined()) quality[name] = judge_image(in_model_unit(image, unit), model_truth);
  };
  add("mean", images.mean);
  add("one_sample", images.one_sample);
  add("pseudo_inverse", images.pseudo_inverse);
  const at::Tensor object = object_pixels(model_truth), all = at::ones_like(object);
  if (images.lower.defined() && images.upper.defined()) {
    const auto inside = [&](const at::Tensor& where) {
      return where.any().item<bool>() ? ordered_json(interval_coverage(images.lower.masked_select(where), images.upper.masked_select(where), truth.masked_select(where)))
                                      : ordered_json(nullptr);
    };
    quality["interval_coverage"] = {{"all", inside(all)}, {"object", inside(object)}, {"expected", std::min(images.level, interval_level_of(images.n_samples))}};
  }
  if (images.standard_deviation.defined() && images.mean.defined())
    quality["spread_over_error"] = {{"all", spread_over_error(images, truth, all)}, {"object", spread_over_error(images, truth, object)}};
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
