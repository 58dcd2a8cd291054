#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/commands.hpp"
#include "common/console.hpp"
#include "common/options.hpp"
#include "common/quality.hpp"
#include "postrec/data/scan.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;
using nlohmann::ordered_json;

CommandOptions declared_options() {
  CommandOptions options("evaluate", "RESULT", 1, 1, "Compares a result folder of postrec reconstruct with the true image.",
                         "postrec evaluate result --truth head.nii.gz --log-format json");
  options.add()("truth", po::value<std::string>()->value_name("IMAGE"), "the true image: all of it, or just the result's slices (required)");
  add_common_options(options);
  return options;
}

ordered_json read_run(const fs::path& folder) {
  const fs::path path = folder / "run.json";
  std::ifstream file(path);
  if (!file) throw Error(ErrorKind::kNoInput, "cannot open '" + path.string() + "'", "give a folder that postrec reconstruct wrote");
  ordered_json run = ordered_json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!run.is_object() || !run.contains("slices") || !run["slices"].is_array() || run["slices"].empty() || !run.contains("unit"))
    throw Error(ErrorKind::kBadData, "'" + path.string() + "' is not a run.json of postrec", "give a folder that postrec reconstruct wrote");
  return run;
}

at::Tensor read_volume(const fs::path& folder, const char* name) { return read_scan(folder / name).image.pixels; }

/// The slices of the truth that the result has: all, when it has as many, otherwise those with the result's numbers.
at::Tensor matching_truth(const at::Tensor& truth, const at::Tensor& mean, const ordered_json& run, const std::string& path) {
  at::Tensor chosen = truth;
  if (truth.size(0) != mean.size(0)) {
    std::vector<std::int64_t> numbers;
    for (const auto& slice : run["slices"]) numbers.push_back(slice.value("slice", std::int64_t{-1}));
    for (const auto number : numbers)
      if (number < 0 || number >= truth.size(0))
        throw Error(ErrorKind::kBadData, "--truth '" + path + "' has no slice " + std::to_string(number), "give the image that the result is of");
    chosen = truth.index_select(0, at::tensor(numbers, at::kLong));
  }
  if (chosen.sizes() != mean.sizes())
    throw Error(ErrorKind::kBadData, "--truth '" + path + "' has slices of " + std::to_string(truth.size(-2)) + "x" + std::to_string(truth.size(-1)),
                "the result's are " + std::to_string(mean.size(-2)) + "x" + std::to_string(mean.size(-1)));
  return chosen;
}

ordered_json chi2_per_slice(const ordered_json& run) {
  ordered_json values = ordered_json::array();
  for (const auto& slice : run["slices"]) values.push_back(slice.value("reduced_chi2", ordered_json::array()));
  return values;
}

void print_table(const ordered_json& figures) {
  std::cout << quality_table(figures) << "the interval was made for: " << figures["interval_level"] << "\nreduced chi-square of the samples, slice by slice:\n";
  for (const auto& slice : figures["reduced_chi2"]) std::cout << "  " << slice.dump() << "\n";
}

}  // namespace

int run_evaluate(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  const fs::path folder = options.operands().front();
  if (!options.has("truth")) throw Error(ErrorKind::kUsage, "--truth is missing", "give the true image");
  const auto truth_path = options.get<std::string>("truth");

  const ordered_json run = read_run(folder);
  const ImagesToJudge images = {read_volume(folder, "mean.nii.gz"), read_volume(folder, "sample_1.nii.gz"), read_volume(folder, "pseudo_inverse.nii.gz"),
                                read_volume(folder, "interval_lower.nii.gz"), read_volume(folder, "interval_upper.nii.gz"),
                                run.value("interval_level", 0.0), run.value("samples_kept", std::int64_t{0})};
  const at::Tensor truth = matching_truth(read_scan(truth_path).image.pixels, images.mean, run, truth_path);
  const IntensityUnit unit = run["unit"] == "hu" ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;

  ordered_json figures = judge(images, truth, unit);
  figures["interval_level"] = run.value("interval_level", 0.0);
  figures["reduced_chi2"] = chi2_per_slice(run);
  figures["origin"] = run.value("origin", "");
  if (console().json()) {
    std::cout << figures.dump() << "\n";
  } else {
    print_table(figures);
  }
  return 0;
}

}  // namespace postrec
