#include "result/result_folder.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/console.hpp"
#include "cli/version.hpp"
#include "postrec/answers.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/scratch_tensor.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/prior_fit.hpp"
#include "postrec/utc_time.hpp"
#include "report/preview.hpp"
#include "result/quality.hpp"
#include "result/report_page.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kSimulatedLabel = "SIMULATED: the measurement was computed from an image, not acquired by a scanner";

const char* origin_name(MeasurementOrigin origin) { return origin == MeasurementOrigin::kSimulated ? "simulated" : "acquired"; }
const char* unit_name(IntensityUnit unit) { return unit == IntensityUnit::kHounsfield ? "hu" : "arbitrary"; }

/// The true images of the slices that were finished.
at::Tensor finished_truth(const Case& input, const CaseResult& result) {
  return input.truth.defined() ? input.truth.narrow(0, 0, static_cast<std::int64_t>(result.slices.size())) : at::Tensor();
}

/// Whether the prior fits each slice, and what follows from it.
struct Trust {
  std::vector<PriorFit> fits;
  std::vector<std::string> reasons;            ///< empty: fits
  std::vector<bool> collapsed;                 ///< the reason is not the prior's but the sampler's
  bool forced = false;

  bool all_fit() const { return std::all_of(reasons.begin(), reasons.end(), [](const auto& reason) { return reason.empty(); }); }
  /// Slices whose uncertainty is told.
  std::vector<bool> told() const {
    std::vector<bool> slices;
    for (const auto& reason : reasons) slices.push_back(forced || reason.empty());
    return slices;
  }
  bool any_told() const {
    const auto slices = told();
    return std::find(slices.begin(), slices.end(), true) != slices.end();
  }
};

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// Why the spread of a slice's samples says too little although the prior may fit; empty when it does not.
std::string collapse_of(const SamplerReport& report) {
  if (report.effective_share.empty() || report.group == 1) return "";
  // Of brsmc in groups of 16 with an effective number of 2.4 or less, .3 inside intervals of .88 were seen, in groups of 4 with 1.0 .37 of .78. It is never below 1, so of smaller groups
  // it is the same share of what lies above.
  constexpr double kLeastShare = 0.15, kLeastOfOthers = (16.0 * kLeastShare - 1.0) / 15.0;
  const auto group = static_cast<double>(report.group);
  const double number = group * *std::min_element(report.effective_share.begin(), report.effective_share.end());
  const double least = std::max(kLeastShare * group, 1.0 + kLeastOfOthers * (group - 1.0));
  if (number >= least) return "";
  return "the particles of a group collapsed: at one level " + formatted("%.2f", number) + " of the group's " + std::to_string(report.group) + " were left in effect, less than " +
         formatted("%.2f", least) + ", so that samples are alike by descent and what they give as uncertainty is too small";
}

Trust trust_of(const CaseResult& result, bool forced) {
  Trust trust;
  trust.forced = forced;
  for (const SliceResult& slice : result.slices) {
    trust.fits.push_back(slice.fit);
    const std::string misfit = prior_misfit(slice.fit), collapse = collapse_of(slice.report);
    trust.reasons.push_back(misfit.empty() ? collapse : misfit);
    trust.collapsed.push_back(misfit.empty() && !collapse.empty());
  }
  return trust;
}

ordered_json trust_json(const Trust& trust, const CaseResult& result) {
  ordered_json slices = ordered_json::array(), withheld = ordered_json::array();
  const auto told = trust.told();
  for (std::size_t i = 0; i < trust.fits.size(); ++i) {
    const PriorFit& fit = trust.fits[i];
    ordered_json slice = {{"slice", result.slices[i].number}, {"fits", trust.reasons[i].empty()}, {"reduced_chi2", fit.reduced_chi2}};
    // Where the measurement shows nothing of the denoiser's error, the figure is noise over noise.
    slice.update({{"error_inflation", shows_the_error(fit) ? ordered_json(fit.error_inflation) : ordered_json(nullptr)}, {"visible_share", std::max(0.0, fit.visible_share)}, {"sigma", fit.sigma}});
    if (!trust.reasons[i].empty()) slice["reason"] = trust.reasons[i];
    if (trust.collapsed[i]) slice["collapsed"] = true;
    slices.push_back(slice);
    if (!told[i]) withheld.push_back(result.slices[i].number);
  }
  return {{"fits", trust.all_fit()}, {"forced", trust.forced && !trust.all_fit()}, {"uncertainty_withheld_in_slices", withheld}, {"slices", slices}};
}

void write_volumes(const fs::path& folder, const ResultVolumes& volumes, const ImageGeometry& geometry, IntensityUnit unit) {
  write_nifti(folder / "mean.nii.gz", Image{volumes.mean, geometry, unit});
  write_nifti(folder / "pseudo_inverse.nii.gz", Image{volumes.pseudo_inverse, geometry, unit});
  write_samples(folder, volumes.samples, geometry, unit);
}

/// The map with `withheld` in the slices whose uncertainty is not told.
at::Tensor told_map(const fs::path& scratch, const at::Tensor& map, const std::vector<bool>& told, double withheld) {
  if (std::find(told.begin(), told.end(), false) == told.end()) return map;
  const at::Tensor pixels = scratch_tensor(scratch, map.sizes(), at::kFloat);
  for (std::size_t i = 0; i < told.size(); ++i) {
    const auto slice = static_cast<std::int64_t>(i);
    if (told[i]) pixels[slice].copy_(map[slice]);
    else pixels[slice].fill_(withheld);
  }
  return pixels;
}

using ProbabilityMaps = std::vector<std::pair<double, at::Tensor>>;

/// For each threshold the probability to exceed it, [slice, C, H, W].
ProbabilityMaps probability_maps(const fs::path& scratch, const ResultVolumes& volumes, const std::vector<double>& thresholds) {
  ProbabilityMaps maps;
  for (const double threshold : thresholds) {
    const at::Tensor map = scratch_tensor(scratch, volumes.mean.sizes(), at::kFloat);
    for (std::int64_t slice = 0; slice < map.size(0); ++slice) map[slice].copy_(probability_above(volumes.samples.select(1, slice), threshold));
    maps.emplace_back(threshold, map);
  }
  return maps;
}

/// The maps that say how uncertain the image is. Slices where that is withheld hold what no map can say: a standard deviation and a probability of -1,
/// an interval whose lower bound is above its upper one.
void write_uncertainty(const fs::path& folder, const ResultVolumes& volumes, const ProbabilityMaps& probabilities, const Trust& trust, const ImageGeometry& geometry, IntensityUnit unit) {
  if (!trust.any_told()) return;
  const std::vector<bool> told = trust.told();
  const auto write = [&](const std::string& name, const at::Tensor& map, double withheld) {
    write_nifti(folder / (name + ".nii.gz"), Image{told_map(folder, map, told, withheld), geometry, unit});
  };
  write("standard_deviation", volumes.standard_deviation, -1.0);
  write("interval_lower", volumes.lower, 1.0);
  write("interval_upper", volumes.upper, -1.0);
  for (const auto& [threshold, map] : probabilities) write("probability_above_" + threshold_text(threshold), map, -1.0);
}

void write_pictures(const fs::path& folder, const ResultVolumes& volumes, const at::Tensor& truth, const Trust& trust, const ImageGeometry& geometry, IntensityUnit unit) {
  const std::int64_t middle = volumes.mean.size(0) / 2;
  const GreyWindow window = grey_window(truth.defined() ? truth[middle] : volumes.mean[middle], unit);
  const auto write = [&](const char* name, const at::Tensor& slice, GreyWindow grey) { write_preview(folder / name, slice, geometry, grey); };
  write("mean.png", volumes.mean[middle], window);
  write("sample_1.png", volumes.samples[0][middle], window);
  write("pseudo_inverse.png", volumes.pseudo_inverse[middle], window);
  if (trust.told()[static_cast<std::size_t>(middle)])
    write("standard_deviation.png", volumes.standard_deviation[middle], grey_window(volumes.standard_deviation[middle], IntensityUnit::kArbitrary));
  if (truth.defined()) write("truth.png", truth[middle], window);
}

struct ValueToJson {
  ordered_json operator()(const at::Tensor& tensor) const { return {{"shape", tensor.sizes().vec()}, {"dtype", c10::toString(tensor.scalar_type())}}; }
  template <class T>
  ordered_json operator()(const T& value) const {
    return value;
  }
};

ordered_json operator_json(const Measurement& measurement, const PluginRegistry& registry) {
  const PluginInfo& plugin = registry.plugin_of(measurement.operator_name);
  ordered_json parameters = ordered_json::object();
  for (const auto& [key, value] : measurement.parameters.all()) parameters[key] = std::visit(ValueToJson{}, value);
  return {{"name", measurement.operator_name},
          {"plugin", {{"id", plugin.id}, {"version", plugin.version}, {"libtorch", plugin.libtorch}, {"sha256", plugin.sha256}}},
          {"parameters", parameters}};
}

ordered_json slices_json(const CaseResult& result) {
  ordered_json slices = ordered_json::array();
  for (const auto& slice : result.slices)
    slices.push_back({{"slice", slice.number},
                      {"seed", slice.seed},
                      {"scale", slice.scale},
                      {"samples", slice.reduced_chi2.size()},
                      {"interval_level", slice.interval_level},
                      {"reduced_chi2", slice.reduced_chi2},
                      {"nfe", slice.report.nfe},
                      {"seconds", slice.report.seconds},
                      {"network_seconds", slice.report.network_seconds},
                      {"levels_left_out", slice.report.levels_left_out},
                      {"samples_left_out", slice.report.samples_left_out},
                      {"effective_share", slice.report.effective_share},
                      {"sigmas", slice.report.sigmas},
                      {"misfit_trace", slice.report.misfit_trace},
                      {"inflation_trace", slice.report.inflation_trace},
                      {"solve_iterations", slice.report.solve_iterations}});
  return slices;
}

ordered_json run_json(const std::vector<std::string>& command, const Case& input, const CaseResult& result, Session& session) {
  const Measurement& measurement = input.measurement;
  const SessionOptions& options = session.options();
  std::int64_t nfe = 0;
  double seconds = 0;
  for (const auto& slice : result.slices) {
    nfe += slice.report.nfe;
    seconds += slice.report.seconds;
  }
  ordered_json run = run_header(command);
  run["origin"] = origin_name(measurement.origin);
  if (measurement.origin == MeasurementOrigin::kSimulated) run["label"] = kSimulatedLabel;
  run["operator"] = operator_json(measurement, session.registry());
  run["prior"] = prior_json(result.prior);
  run["sampler"] = sampler_json(options.sampler);
  run["device"] = session.device().str();
  run["precision"] = precision_name(result.precision);
  run["threads"] = at::get_num_threads();
  run["unit"] = unit_name(measurement.unit);
  run["sigma_y"] = {{"value", measurement.sigma_y}, {"source", input.sigma_y_source}};
  double level = 1.0;                          // a deadline may leave a slice fewer samples
  for (const auto& slice : result.slices) level = std::min(level, slice.interval_level);
  run["interval_level"] = level;
  run["interrupted"] = result.interrupted;
  run["samples_kept"] = result.slices.front().samples.size(0);
  run["nfe"] = nfe;
  run["seconds"] = seconds;
  run["slices"] = slices_json(result);
  run["notes"] = input.notes;
  return run;
}

double mean_chi2(const ordered_json& run) {
  double sum = 0;
  std::size_t n = 0;
  for (const auto& slice : run["slices"])
    for (const auto& value : slice["reduced_chi2"]) {
      sum += value.is_number() ? value.get<double>() : std::nan("");
      ++n;
    }
  return sum / static_cast<double>(n);
}

}  // namespace

ordered_json run_header(const std::vector<std::string>& command) {
  return {{"program", {{"name", "postrec"}, {"version", program_version()}, {"libtorch", libtorch_version()}, {"purpose", "research software, not a medical device"}}},
          {"finished", utc_time()},
          {"command", command}};
}

std::string distrust_text(const ordered_json& fit) {
  std::string numbers, reason;
  bool collapsed = false;
  for (const auto& slice : fit["slices"]) {
    if (slice["fits"].get<bool>()) continue;
    numbers += (numbers.empty() ? "" : ", ") + slice["slice"].dump();
    if (!reason.empty()) continue;
    reason = slice["reason"].get<std::string>();
    collapsed = slice.value("collapsed", false);
  }
  if (numbers.empty()) return "";
  const std::string where = (collapsed ? "the samples do not show the uncertainty of slice(s) " : "the prior does not fit slice(s) ") + numbers + ": " + reason;
  return fit["forced"].get<bool>() ? where + ". The uncertainty is told because of --force and is not to be trusted"
                                   : where + ". The uncertainty there is withheld (standard deviation, intervals, probabilities); the samples are kept, but their spread is "
                                             "not to be trusted. --force gives all of it";
}

ordered_json prior_json(const PriorInfo& prior) {
  return {{"name", prior.name}, {"sha256", prior.sha256}, {"licence", prior.licence}, {"trained_on", prior.trained_on}};
}

ordered_json sampler_json(const SamplerOptions& options) {
  return {{"method", options.method},       {"solver", options.solver},       {"settings", options.settings},   {"samples", options.n_samples},
          {"steps", options.n_steps},       {"nfe", options.nfe},             {"batch_size", options.batch_size}, {"seed", options.seed},
          {"process", options.process},     {"levels", options.levels},       {"sigma_max", options.sigma_max}, {"sigma_min", options.sigma_min},
          {"tolerance", options.solve.tolerance}};
}

void write_samples(const fs::path& folder, const at::Tensor& samples, const ImageGeometry& geometry, IntensityUnit unit) {
  // The first sample also alone: most programs read 3-D files only. A 4-D NIfTI has no room for colour, so there each sample is a file.
  const bool grey = samples.size(2) == 1;
  if (grey) write_nifti_samples(folder / "samples.nii.gz", samples, geometry);
  const std::int64_t n_files = grey ? 1 : samples.size(0);
  for (std::int64_t k = 0; k < n_files; ++k) write_nifti(folder / ("sample_" + std::to_string(k + 1) + ".nii.gz"), Image{samples[k], geometry, unit});
}

std::string report_text(const ordered_json& run) {
  std::string text;
  if (run.contains("label")) text += run["label"].get<std::string>() + "\n";
  text += "operator " + run["operator"]["name"].get<std::string>() + ", prior " + run["prior"]["name"].get<std::string>() + ", " +
          std::to_string(run["slices"].size()) + " slice(s), " + std::to_string(run["samples_kept"].get<std::int64_t>()) + " sample(s) each";
  text += run["interrupted"].get<bool>() ? ", INTERRUPTED before the rest\n" : "\n";
  text += "sigma_y " + formatted("%.4g", run["sigma_y"]["value"].get<double>()) + " (" + run["sigma_y"]["source"].get<std::string>() + "), reduced chi-square " +
          formatted("%.3f", mean_chi2(run)) + " (about 1 when right), " + formatted("%.1f", run["seconds"].get<double>()) + " s\n";
  if (const std::string distrust = distrust_text(run["prior_fit"]); !distrust.empty()) text += "WARNING: " + distrust + "\n";
  if (run.contains("quality")) text += quality_table(run["quality"]);
  if (run.contains("regions")) text += region_text(run["regions"]);
  if (run["prior_fit"]["uncertainty_withheld_in_slices"].size() < run["slices"].size())
    text += "intervals hold a further sample with probability " + formatted("%.3f", run["interval_level"].get<double>()) + "\n";
  for (const auto& note : run["notes"]) text += "note: " + note.get<std::string>() + "\n";
  return text + "Research software, not a medical device: not for diagnosis.\n";
}

std::optional<bool> is_interrupted_result(const fs::path& folder) {
  std::ifstream file(folder / "run.json");
  const ordered_json run = ordered_json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!run.is_object() || !run.contains("interrupted") || !run["interrupted"].is_boolean()) return std::nullopt;
  return run["interrupted"].get<bool>();
}

bool uncertainty_withheld(const ordered_json& run) {
  return run.contains("prior_fit") && !run["prior_fit"].value("uncertainty_withheld_in_slices", ordered_json::array()).empty();
}

ordered_json write_result(const fs::path& folder, const std::vector<std::string>& command, const Case& input, const CaseResult& result, Session& session,
                          const Questions& questions, const DicomOutput* dicom) {
  const Measurement& measurement = input.measurement;
  const ImageGeometry geometry = geometry_from_slice(measurement.geometry, input.slices.front().index);
  const ResultVolumes& volumes = result.volumes;
  const at::Tensor truth = finished_truth(input, result);
  const Trust trust = trust_of(result, questions.force);
  write_volumes(folder, volumes, geometry, measurement.unit);
  const ProbabilityMaps probabilities = probability_maps(folder, volumes, questions.thresholds);
  write_uncertainty(folder, volumes, probabilities, trust, geometry, measurement.unit);
  write_pictures(folder, volumes, truth, trust, geometry, measurement.unit);

  ordered_json run = run_json(command, input, result, session);
  run["prior_fit"] = trust_json(trust, result);
  if (truth.defined()) {
    ImagesToJudge images = {volumes.mean, volumes.samples[0], volumes.pseudo_inverse, volumes.lower, volumes.upper, session.options().interval_level, volumes.samples.size(0)};
    images.standard_deviation = volumes.standard_deviation;
    run["quality"] = judge(images, truth, measurement.unit);
  }
  if (!questions.regions.empty()) run["regions"] = region_answers(questions, volumes.samples, truth, session.options().interval_level, trust.told());
  for (const auto& region : run.value("regions", ordered_json::array()))
    if (const std::string empty = empty_region_text(region); !empty.empty()) console().warning(empty);
  if (dicom != nullptr) {
    const DicomMaps maps = {volumes.mean, volumes.standard_deviation, probabilities, trust.told()};
    run["dicom"] = write_dicom(folder / "dicom", *dicom, maps, run);
  }
  if (const std::string distrust = distrust_text(run["prior_fit"]); !distrust.empty()) console().warning(distrust);
  write_text_atomically(folder / "report.txt", report_text(run));
  const ReportPictures pictures = {volumes.mean, volumes.standard_deviation, volumes.pseudo_inverse, volumes.samples, truth, geometry, measurement.unit};
  write_text_atomically(folder / "report.html", report_page(run, pictures, input.reported_name));
  write_text_atomically(folder / "run.json", run.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  return run;
}

}  // namespace postrec
