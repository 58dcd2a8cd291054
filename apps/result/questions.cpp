#include "result/questions.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "postrec/answers.hpp"
#include "postrec/data/scan.hpp"
#include "result/matching_slices.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
using nlohmann::ordered_json;

/// The same place in the patient, to a hundredth of a pixel. Pictures (PNG) and phantoms say nothing of theirs and have the default geometry.
bool same_grid(const ImageGeometry& a, const ImageGeometry& b) {
  constexpr double kShare = 0.01;
  const double tolerance_mm = kShare * std::min({b.spacing_mm[0], b.spacing_mm[1], b.spacing_mm[2]});
  for (int i = 0; i < 3; ++i)
    if (std::abs(a.spacing_mm[i] - b.spacing_mm[i]) > kShare * b.spacing_mm[i] || std::abs(a.origin_mm[i] - b.origin_mm[i]) > tolerance_mm) return false;
  for (int i = 0; i < 9; ++i)
    if (std::abs(a.direction[i] - b.direction[i]) > 1e-3) return false;
  return true;
}

bool says_nothing(const ImageGeometry& geometry) {
  const ImageGeometry standard;
  return geometry.spacing_mm == standard.spacing_mm && geometry.origin_mm == standard.origin_mm && geometry.direction == standard.direction;
}

std::string size_text(at::IntArrayRef shape) { return std::to_string(shape[shape.size() - 2]) + "x" + std::to_string(shape.back()); }

void require_same_grid(const Image& mask, std::int64_t first, const Case& input, const std::string& what) {
  const ImageGeometry found = geometry_from_slice(mask.geometry, first);
  const ImageGeometry expected = geometry_from_slice(input.measurement.geometry, input.slices.front().index);
  if (!says_nothing(mask.geometry) && !same_grid(found, expected))
    throw Error(ErrorKind::kBadData, what + " lies elsewhere than the scan: another spacing, origin or direction", "draw the region on an image of this scan");
}

Region read_region(const std::string& text, const Case& input, const TensorSpec& domain) {
  const auto equals = text.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == text.size())
    throw Error(ErrorKind::kUsage, "--region '" + text + "' is not NAME=FILE", "write e.g. --region lesion=lesion.nii.gz");
  const std::string what = "--region '" + text + "'";
  Region region{text.substr(0, equals), text.substr(equals + 1), {}};
  const Image mask = read_scan(region.file).image;
  if (mask.pixels.size(1) != 1) throw Error(ErrorKind::kBadData, what + " is a colour image", "give a mask with one channel");
  const auto n = static_cast<std::int64_t>(input.slices.size());
  const bool all_of_scan = mask.pixels.size(0) != n;
  const auto place = first_slice_in(mask.geometry, mask.pixels.size(0), geometry_from_slice(input.measurement.geometry, input.slices.front().index), n, domain.shape[domain.shape.size() - 2], domain.shape.back());
  std::vector<std::int64_t> numbers;
  for (const CaseSlice& slice : input.slices) numbers.push_back(place && all_of_scan ? *place + static_cast<std::int64_t>(numbers.size()) : slice.number);
  const at::Tensor inside = matching_slices(mask.pixels, numbers, what).gt(0.5);
  if (inside.size(2) != domain.shape[domain.shape.size() - 2] || inside.size(3) != domain.shape.back())
    throw Error(ErrorKind::kBadData, what + " has slices of " + size_text(inside.sizes()), "those of the scan are " + size_text(domain.shape));
  require_same_grid(mask, all_of_scan ? numbers.front() : 0, input, what);
  if (!inside.any().item<bool>()) throw Error(ErrorKind::kUsage, what + " is empty in the slices to reconstruct", "a mask is above 0.5 inside");
  region.mask = inside.expand({-1, domain.shape.front(), -1, -1}).contiguous();
  return region;
}

/// Whether a region [slice, C, H, W] has voxels in these slices only.
bool lies_in(const at::Tensor& mask, const std::vector<bool>& slices) {
  for (std::int64_t slice = 0; slice < mask.size(0); ++slice)
    if (!slices[slice] && mask[slice].any().item<bool>()) return false;
  return true;
}

std::string formatted(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.5g", value);
  return text;
}

}  // namespace

void add_question_options(CommandOptions& options) {
  options.add()("region", po::value<std::vector<std::string>>()->composing()->value_name("NAME=FILE"), "mean and credible interval in a mask that keeps within the body (repeatable)")  //
      ("threshold", po::value<std::vector<double>>()->composing()->value_name("X"), "map of the probability to lie above X (repeatable)")                     //
      ("force", po::bool_switch(), "say how uncertain it is even where the prior does not fit");
}

Questions read_questions(const CommandOptions& options, const Case& input, PluginRegistry& registry) {
  Questions questions;
  questions.force = options.get<bool>("force");
  if (options.has("threshold")) questions.thresholds = options.get<std::vector<double>>("threshold");
  for (const double threshold : questions.thresholds)
    if (!std::isfinite(threshold)) throw Error(ErrorKind::kUsage, "--threshold is " + std::to_string(threshold), "it must be a number");
  std::set<std::string> names;
  for (const double threshold : questions.thresholds)
    if (!names.insert(threshold_text(threshold)).second) throw Error(ErrorKind::kUsage, "--threshold " + threshold_text(threshold) + " is given twice", "say it once");
  if (!options.has("region")) return questions;
  const TensorSpec domain = make_operator(registry, input.measurement, input.slices.front().index)->domain();
  questions.of_magnitudes = at::isComplexType(domain.dtype);
  for (const auto& text : options.get<std::vector<std::string>>("region")) {
    Region region = read_region(text, input, domain);
    for (const Region& other : questions.regions)
      if (other.name == region.name) throw Error(ErrorKind::kUsage, "--region " + region.name + " is given twice", "give each a name of its own");
    questions.regions.push_back(std::move(region));
  }
  return questions;
}

std::string threshold_text(double threshold) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", threshold);
  return text;
}

ordered_json region_answers(const Questions& questions, const at::Tensor& samples, const at::Tensor& truth, double level, const std::vector<bool>& trusted) {
  ordered_json answers = ordered_json::array();
  for (const Region& region : questions.regions) {
    ordered_json answer = {{"name", region.name}, {"file", region.file.string()}, {"voxels", region.mask.select(1, 0).sum().item<std::int64_t>()}, {"mean", nullptr}};
    const at::Tensor mask = region.mask.narrow(0, 0, samples.size(1));
    if (mask.sum().item<std::int64_t>() == region.mask.sum().item<std::int64_t>()) {
      const std::vector<double> means = means_across_slices(samples, mask);
      const auto n_slices = mask.flatten(1).any(1).sum().item<std::int64_t>();
      if (n_slices > 1) answer["slices"] = n_slices;
      const NumberAnswer number = answer_of(means, level);
      answer["mean"] = number.mean;
      if (questions.of_magnitudes && samples.size(0) > 1) answer["voxels_without_signal"] = voxels_without_signal(samples, mask);
      if (lies_in(mask, trusted)) {
        answer["standard_deviation"] = number.standard_deviation;
        answer["lower"] = number.lower;
        answer["upper"] = number.upper;
        answer["level"] = number.level;
        for (const double threshold : questions.thresholds) answer["probability_above"][threshold_text(threshold)] = probability_above(means, threshold);
      }
      if (truth.defined()) answer["truth"] = means_in_region(truth.unsqueeze(0), mask).front();
    }
    answers.push_back(answer);
  }
  return answers;
}

std::string empty_region_text(const ordered_json& region) {
  constexpr double kManyAreEmpty = 0.05;  // ten times their share of a body
  const auto voxels = region["voxels"].get<std::int64_t>(), empty = region.value("voxels_without_signal", std::int64_t{0});
  if (static_cast<double>(empty) <= kManyAreEmpty * static_cast<double>(voxels)) return "";
  return "region " + region["name"].get<std::string>() + ": " + std::to_string(empty) + " of its " + std::to_string(voxels) +
         " voxels show no signal; the magnitude of their noise raises its mean, which the interval does not allow for. Keep it within the body";
}

std::string region_text(const ordered_json& regions) {
  std::string text;
  for (const auto& region : regions) {
    text += "region " + region["name"].get<std::string>() + " (" + std::to_string(region["voxels"].get<std::int64_t>()) + " voxels): ";
    if (!region["mean"].is_number()) {
      text += "reaches into slices that were not finished\n";
      continue;
    }
    text += "mean " + formatted(region["mean"]);
    if (region.contains("lower"))
      text += " +- " + formatted(region["standard_deviation"]) + ", in [" + formatted(region["lower"]) + ", " + formatted(region["upper"]) + "] with probability " +
              formatted(region["level"]) + (region.contains("slices") ? " (its " + region["slices"].dump() + " slices taken to err together)" : "");
    if (region.contains("probability_above"))
      for (const auto& [threshold, probability] : region["probability_above"].items()) text += ", above " + threshold + " with probability " + formatted(probability);
    if (region.contains("truth")) text += "; truth " + formatted(region["truth"]);
    text += "\n";
    if (const std::string empty = empty_region_text(region); !empty.empty()) text += "WARNING: " + empty + "\n";
  }
  return text;
}

}  // namespace postrec
