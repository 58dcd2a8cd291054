#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "case/case.hpp"
#include "cli/console.hpp"
#include "cli/interrupt.hpp"
#include "commands/commands.hpp"
#include "options/options.hpp"
#include "options/sampler_options.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/scan.hpp"
#include "result/comparison.hpp"
#include "result/comparison_table.hpp"
#include "result/matching_slices.hpp"
#include "result/quality.hpp"
#include "result/result_folder.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;
using nlohmann::ordered_json;

CommandOptions declared_options() {
  CommandOptions options("evaluate", "RESULT | IMAGE...", 1, 10000, "Compares a RESULT of postrec reconstruct with the true image; or, with --compare, methods on the same data.",
                         "postrec evaluate head.nii.gz --compare bridge,dps:zeta=0.5,pigdm/ancestral --slices 60,90\n"
                         "    --operator mri-fourier --set mask-pattern=equispaced --set acceleration=8 --simulate-coils 8 --noise 0.02 --seconds 20");
  options.add()("truth", po::value<std::string>()->value_name("IMAGE"), "the true image: all of it, or just the result's slices")                                      //
      ("compare", po::value<std::vector<std::string>>()->composing()->value_name("METHOD,..."), "METHOD[/SOLVER][:SETTING=NUMBER...], on simulated data of IMAGE..., or on one measurement with --truth")  //
      ("slices", po::value<std::string>()->value_name("LIST"), "compare on these slices, 3,7,10-14, instead of all")                                                   //
      ("seconds", po::value<double>()->value_name("X"), "compare at equal time a slice: as many levels as fit")                                                        //
      ("table", po::value<std::string>()->value_name("FILE"), "also write the comparison here: .json or .csv");
  add_on_existing_option(options, "the table");
  add_measurement_options(options);
  add_sampler_options(options);
  options.add()("prior", po::value<std::string>()->value_name("PRIOR"), "file, or one that ships")                                    //
      ("interval", po::value<double>()->default_value(0.9, "0.9")->value_name("P"), "probability inside the intervals");
  add_device_option(options.add());
  add_code_option(options);
  add_run_options(options);
  add_plugin_options(options);
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

/// What the folder holds; a run whose uncertainty was withheld has no intervals.
ImagesToJudge read_images(const fs::path& folder, const at::Tensor& mean, const ordered_json& run) {
  ImagesToJudge images = {mean, read_volume(folder, "sample_1.nii.gz"), read_volume(folder, "pseudo_inverse.nii.gz")};
  images.level = run.value("interval_level", 0.0);
  images.n_samples = run.value("samples_kept", std::int64_t{0});
  if (uncertainty_withheld(run)) return images;
  images.lower = read_volume(folder, "interval_lower.nii.gz");
  images.upper = read_volume(folder, "interval_upper.nii.gz");
  images.standard_deviation = read_volume(folder, "standard_deviation.nii.gz");
  for (const at::Tensor& volume : {images.lower, images.upper, images.standard_deviation, images.one_sample, images.pseudo_inverse})
    if (volume.sizes() != images.mean.sizes()) throw Error(ErrorKind::kBadData, "the volumes of '" + folder.string() + "' have several sizes", "give a folder as postrec reconstruct wrote it");
  return images;
}

/// The slices of the truth that the result has: those where it lies, else those of its numbers, which a measurement of some slices of a scan counts from 0.
std::vector<std::int64_t> slices_of_truth(const Image& truth, const ImageGeometry& result, const at::Tensor& mean, const ordered_json& run) {
  const auto first = first_slice_in(truth.geometry, truth.pixels.size(0), result, mean.size(0), mean.size(2), mean.size(3));
  std::vector<std::int64_t> numbers;
  for (const auto& slice : run["slices"]) numbers.push_back(first ? *first + static_cast<std::int64_t>(numbers.size()) : slice.value("slice", std::int64_t{-1}));
  return numbers;
}

at::Tensor matching_truth(const at::Tensor& truth, const at::Tensor& mean, const std::vector<std::int64_t>& numbers, const std::string& path) {
  const at::Tensor chosen = matching_slices(truth, numbers, "--truth '" + path + "'");
  if (chosen.sizes() != mean.sizes())
    throw Error(ErrorKind::kBadData, "--truth '" + path + "' has slices of " + std::to_string(truth.size(-2)) + "x" + std::to_string(truth.size(-1)),
                "the result's are " + std::to_string(mean.size(-2)) + "x" + std::to_string(mean.size(-1)));
  return chosen;
}

/// A mirrored or shifted truth has the right size and gives wrong figures.
void warn_of_another_place(const ImageGeometry& truth, std::int64_t n_truth, const ImageGeometry& result, const at::Tensor& mean, std::int64_t first_number) {
  const std::int64_t n = mean.size(0), first = n_truth == n ? 0 : first_number;
  const double apart = corner_distance_mm(geometry_from_slice(truth, first), result, mean.size(3), mean.size(2), n);
  if (apart > 0.5 * std::min(result.spacing_mm[0], result.spacing_mm[1]))
    console().warning("--truth lies up to " + std::to_string(static_cast<std::int64_t>(std::ceil(apart))) + " mm from the result: is it the same scan, neither turned nor mirrored?");
}

ordered_json chi2_per_slice(const ordered_json& run) {
  ordered_json values = ordered_json::array();
  for (const auto& slice : run["slices"]) values.push_back(slice.value("reduced_chi2", ordered_json::array()));
  return values;
}

void print_quality(const ordered_json& figures) {
  std::cout << quality_table(figures) << "the interval was made for: " << figures["interval_level"] << "\nreduced chi-square of the samples, slice by slice:\n";
  for (const auto& slice : figures["reduced_chi2"]) std::cout << "  " << slice.dump() << "\n";
}

int evaluate_result(const CommandOptions& options) {
  options.refuse_all_but({"truth"}, "without --compare");
  if (options.operands().size() > 1) throw Error(ErrorKind::kUsage, "postrec evaluate: '" + options.operands()[1] + "' is one word too many", "give one result, or --compare");
  const fs::path folder = options.operands().front();
  if (!options.has("truth")) throw Error(ErrorKind::kUsage, "--truth is missing", "give the true image, or --compare");
  const auto truth_path = options.get<std::string>("truth");

  const ordered_json run = read_run(folder);
  const Image mean = read_scan(folder / "mean.nii.gz").image;
  const ImagesToJudge images = read_images(folder, mean.pixels, run);
  const Image whole_truth = read_scan(truth_path).image;
  const std::vector<std::int64_t> numbers = slices_of_truth(whole_truth, mean.geometry, mean.pixels, run);
  const at::Tensor truth = matching_truth(whole_truth.pixels, mean.pixels, numbers, truth_path);
  warn_of_another_place(whole_truth.geometry, whole_truth.pixels.size(0), mean.geometry, mean.pixels, numbers.front());
  const IntensityUnit unit = run["unit"] == "hu" ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;

  ordered_json figures = judge(images, truth, unit);
  figures["interval_level"] = images.level;
  figures["reduced_chi2"] = chi2_per_slice(run);
  figures["origin"] = run.value("origin", "");
  if (console().json()) {
    std::cout << figures.dump() << "\n";
  } else {
    print_quality(figures);
  }
  return 0;
}

std::vector<CaseOptions> compared_cases(const CommandOptions& options) {
  CaseOptions request = case_options(options, /*simulate=*/!options.has("truth"));
  if (request.slice && options.has("slices")) throw Error(ErrorKind::kUsage, "--slice and --slices are both given", "give one of them");
  if (options.has("truth") && options.operands().size() > 1) throw Error(ErrorKind::kUsage, "--truth is given for several measurements", "compare on one of them");
  std::vector<CaseOptions> cases;
  for (const auto& operand : options.operands()) {
    request.input = operand;
    if (!options.has("slices")) {
      cases.push_back(request);
      continue;
    }
    for (const auto slice : parse_slices(options.get<std::string>("slices"))) {
      request.slice = slice;
      cases.push_back(request);
    }
  }
  return cases;
}

std::vector<ComparedMethod> compared_methods(const CommandOptions& options) {
  for (const char* option : {"sampler", "solver", "sampler-set"})
    if (options.has(option)) throw Error(ErrorKind::kUsage, std::string("--") + option + " is given with --compare", "write --compare METHOD/SOLVER:SETTING=NUMBER");
  SamplerOptions shared = sampler_options(options);
  shared.seed = options.get<std::uint64_t>("seed");
  std::vector<ComparedMethod> methods;
  for (const auto& list : options.get<std::vector<std::string>>("compare"))
    for (std::size_t begin = 0, end = 0; begin <= list.size(); begin = end + 1) {
      end = std::min(list.find(',', begin), list.size());
      methods.push_back(parse_method(list.substr(begin, end - begin), shared));
    }
  return methods;
}

ComparisonRequest comparison_request(const CommandOptions& options) {
  ComparisonRequest request;
  request.cases = compared_cases(options);
  request.methods = compared_methods(options);
  request.session.plugins = plugin_search(options);
  if (options.has("prior")) request.session.prior = options.get<std::string>("prior");
  request.session.code = code_policy(options);
  request.session.precision = wanted_precision(options);
  request.session.interval_level = options.get<double>("interval");
  if (!(request.session.interval_level > 0 && request.session.interval_level < 1))
    throw Error(ErrorKind::kUsage, "--interval is " + std::to_string(request.session.interval_level), "it must lie between 0 and 1, e.g. 0.9");
  request.session.device = wanted_device(options);
  if (options.has("seconds")) request.seconds = options.get<double>("seconds");
  if (options.has("seconds") && !(request.seconds > 0)) throw Error(ErrorKind::kUsage, "--seconds is " + std::to_string(request.seconds), "it must be positive");
  if (options.has("truth")) request.truth = options.get<std::string>("truth");
  return request;
}

/// The file of --table, when there may be one.
std::optional<fs::path> table_file(const CommandOptions& options) {
  if (!options.has("table")) return std::nullopt;
  const fs::path file = options.get<std::string>("table");
  if (file.extension() != ".json" && file.extension() != ".csv")
    throw Error(ErrorKind::kUsage, "--table '" + file.string() + "' is neither .json nor .csv", "give a name that ends so");
  require_new_file(options, "table");
  return file;
}

int evaluate_methods(const CommandOptions& options) {
  apply_threads(options);
  const ComparisonRequest request = comparison_request(options);
  const auto file = table_file(options);
  catch_interrupts();

  const auto as_text = [](const ordered_json& comparison, int indent) { return comparison.dump(indent, ' ', false, ordered_json::error_handler_t::replace) + "\n"; };
  // After each slice, so that neither a kill nor a scan that cannot be read loses what took an hour.
  const auto write = [&](const ordered_json& figures) {
    ordered_json comparison = run_header(typed_command());
    comparison.update(figures);
    if (file) write_text_atomically(*file, file->extension() == ".json" ? as_text(comparison, 2) : comparison_csv(comparison));
    return comparison;
  };
  const ordered_json comparison = write(compare_methods(request, write));
  std::cout << (console().json() ? as_text(comparison, -1) : comparison_table(comparison));
  return comparison["interrupted"].get<bool>() ? 128 + interrupting_signal() : 0;
}

}  // namespace

int run_evaluate(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  if (options.has("compare")) return evaluate_methods(options);
  try {
    return evaluate_result(options);
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorKind::kBadData, "the run.json of '" + options.operands().front() + "' is not as postrec writes it", "give a folder as postrec reconstruct wrote it");
  }
}

}  // namespace postrec
