#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "case/seeds.hpp"
#include "case/simulation.hpp"
#include "cli/console.hpp"
#include "cli/interrupt.hpp"
#include "cli/progress.hpp"
#include "commands/commands.hpp"
#include "options/options.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/prior_file.hpp"
#include "training/network_options.hpp"
#include "training/prior_measurement.hpp"
#include "training/training_split.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct TrainOptions {
  SpectralBasis basis = SpectralBasis::kDft;
  SliceOptions slices;
  bool smooth_phase = true;
  double pixel_mm = 1.0;
  std::int64_t table_size = 256;
  std::uint64_t seed = 0;
};

CommandOptions declared_options() {
  CommandOptions options("train", "SCAN...", 1, 100000, "Fits a prior to slices of scans: files, DICOM folders, or folders of files.",
                         "postrec train scans/ --basis dct --intensity relative-water --unit hu --name body-ct\n"
                         "    --licence \"CC BY 3.0\" --trained-on \"87 slices\" --output body-ct.safetensors");
  options.add()("output", po::value<std::string>()->value_name("FILE"), "the prior, .safetensors (required)")                                     //
      ("kind", po::value<std::string>()->default_value("gaussian")->value_name("KIND"), "gaussian: a stationary Gaussian, exact denoiser; network: a trained U-Net") //
      ("basis", po::value<std::string>()->default_value("dft")->value_name("BASIS"), "dft: complex images; dct: real ones")                     //
      ("intensity", po::value<std::string>()->default_value("percentile")->value_name("SCALE"), "percentile, relative-water, byte or unit")           //
      ("unit", po::value<std::string>()->default_value("auto")->value_name("UNIT"), "of the scans: auto, hu or arbitrary")                      //
      ("phase", po::value<std::string>()->default_value("smooth")->value_name("KIND"), "for dft: smooth or zero phase on real scans")           //
      ("reduce", po::value<std::int64_t>()->default_value(1)->value_name("N"), "take the means of NxN pixels, which hide JPEG's blocks")        //
      ("pixel-mm", po::value<double>()->default_value(1.0)->value_name("X"), "pixel size that the table is for")                                //
      ("table-size", po::value<std::int64_t>()->default_value(256)->value_name("N"), "rows and columns of the table")                           //
      ("name", po::value<std::string>()->default_value("")->value_name("TEXT"), "of the prior; default: the file's")                            //
      ("licence", po::value<std::string>()->default_value("")->value_name("TEXT"), "of the prior (required)")                                   //
      ("trained-on", po::value<std::string>()->default_value("")->value_name("TEXT"), "the scans in words");
  add_on_existing_option(options, "the output");
  add_module_options(options);
  add_run_options(options);
  add_common_options(options);
  add_network_options(options);
  return options;
}

TrainOptions train_options(const CommandOptions& options) {
  TrainOptions result;
  result.basis = options.choice("basis", {"dft", "dct"}) == "dft" ? SpectralBasis::kDft : SpectralBasis::kDct;
  const std::string intensity = options.choice("intensity", {"percentile", "relative-water", "byte", "unit"});
  result.slices.intensity = intensity == "percentile" ? PriorIntensity::kPercentile
                            : intensity == "byte"     ? PriorIntensity::kByte
                            : intensity == "unit"     ? PriorIntensity::kUnit
                                                      : PriorIntensity::kRelativeWater;
  const std::string unit = options.choice("unit", {"auto", "hu", "arbitrary"});
  if (unit != "auto") result.slices.unit = unit == "hu" ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;
  result.slices.reduce = options.get<std::int64_t>("reduce");
  if (result.slices.reduce < 1 || result.slices.reduce > 64) throw Error(ErrorKind::kUsage, "--reduce is " + std::to_string(result.slices.reduce), "it must be 1 to 64");
  result.smooth_phase = options.choice("phase", {"smooth", "zero"}) == "smooth";
  result.pixel_mm = options.get<double>("pixel-mm");
  if (!(result.pixel_mm > 0 && result.pixel_mm < 1e6)) throw Error(ErrorKind::kUsage, "--pixel-mm is " + std::to_string(result.pixel_mm), "it must be positive");
  result.table_size = options.get<std::int64_t>("table-size");
  if (result.table_size < 8 || result.table_size > 4096)
    throw Error(ErrorKind::kUsage, "--table-size is " + std::to_string(result.table_size), "it must be 8 to 4096");
  result.seed = options.get<std::uint64_t>("seed");
  return result;
}

/// All slices of the scans, with a bar.
std::vector<TrainingSlice> read_all(const std::vector<fs::path>& paths, const TrainOptions& how, const ScanSubjects& subjects = {}) {
  std::vector<TrainingSlice> slices;
  Progress progress(static_cast<std::int64_t>(paths.size()));
  for (std::size_t i = 0; i < paths.size(); ++i) {
    std::vector<TrainingSlice> found = read_training_slices(paths[i], how.slices, subjects);
    if (found.empty()) console().warning(quoted_path(paths[i]) + " is empty: nothing of it is used");
    for (TrainingSlice& slice : found) {
      if (!slices.empty()) require_same_channels(slice, slices.front(), paths[i]);
      slices.push_back(std::move(slice));
    }
    progress.finish_part(static_cast<std::int64_t>(i));
  }
  if (slices.empty()) throw Error(ErrorKind::kBadData, "there is no slice to train on", "every scan is empty");
  return slices;
}

/// `in_pixels`: the spectrum over cycles per pixel whatever the pixel size, as a network sees images.
GaussianPrior fit_gaussian(const std::vector<TrainingSlice>& slices, const TrainOptions& how, PriorInfo info, bool in_pixels) {
  GaussianFit fit(how.basis, slices.front().image.size(0), how.table_size, in_pixels ? 0.0 : how.pixel_mm);
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const at::Tensor& image = slices[i].image;
    const bool phased = how.basis == SpectralBasis::kDft && how.smooth_phase;
    const at::Tensor phase = phased ? smooth_phase_rad(derive_seed(how.seed, static_cast<std::int64_t>(i), SeedPurpose::kPhase), image.size(1), image.size(2)) : at::Tensor();
    fit.add(with_phase(image, phase, how.basis == SpectralBasis::kDft ? at::kComplexFloat : at::kFloat), in_pixels ? 0.0 : slices[i].pixel_mm);
  }
  return fit.finish(std::move(info));
}

std::vector<fs::path> validation_paths(const CommandOptions& options) {
  return options.has("validation") ? training_paths(options.get<std::vector<std::string>>("validation")) : std::vector<fs::path>();
}

/// `slices` and those of --validation, if any, on two sides, with what is wrong about that.
TrainingSplit split_slices(std::vector<TrainingSlice> slices, std::vector<TrainingSlice> given, const CommandOptions& options) {
  TrainingSplit split;
  if (!given.empty()) require_same_channels(given.front(), slices.front(), given.front().scan);
  if (options.has("subjects")) {
    const auto subjects = read_subjects(options.get<std::string>("subjects"));
    assign_subjects(slices, subjects);
    assign_subjects(given, subjects);
  }
  const double share = options.get<double>("validation-share");
  if (!(share > 0 && share < 1)) throw Error(ErrorKind::kUsage, "--validation-share is " + std::to_string(share), "it must lie between 0 and 1");
  if (given.empty()) {
    split = split_by_subject(std::move(slices), share);
    std::set<std::string> held_out;
    for (const TrainingSlice& slice : split.validation) held_out.insert(slice.subject);
    console().information(std::to_string(split.validation.size()) + " of " + std::to_string(split.validation.size() + split.training.size()) + " slices, of " +
                          std::to_string(held_out.size()) + " subject(s), are held out to judge by; --subjects or --validation say whose");
  } else {
    split = {std::move(slices), std::move(given)};
  }
  for (const auto& [training, validation] : shared_subjects(split)) {
    const std::string what = quoted_path(training) + " and " + quoted_path(validation) + " are of one subject, on both sides of the split";
    if (options.has("subjects")) throw Error(ErrorKind::kUsage, what, "keep a subject on one side");
    console().warning(what + ", as their names have it; say with --subjects whose they are");
  }
  for (const Duplicate& pair : duplicates_across(split))
    console().warning("of the " + std::to_string(pair.n_slices) + " validation slices of " + quoted_path(pair.validation_scan) + " " + std::to_string(pair.n_same) +
                      " have the same pixels as slices of " + quoted_path(pair.training_scan) + ", which is trained on, and " + std::to_string(pair.n_alike) + " look like them");
  return split;
}

/// What the prior was made from, with what only the program knows.
std::string scans_text(const std::string& given, const TrainOptions& options, std::size_t n_scans, std::size_t n_slices) {
  const std::string counted = std::to_string(n_slices) + " slices of " + std::to_string(n_scans) + " scans";
  const std::string phase = options.basis == SpectralBasis::kDct ? "" : options.smooth_phase ? ", smooth synthetic phase" : ", zero phase";
  return (given.empty() ? "" : given + "; ") + counted + phase;
}

fs::path output_file(const CommandOptions& options) {
  if (!options.has("output")) throw Error(ErrorKind::kUsage, "--output is missing", "give the name of a .safetensors file");
  const fs::path output = options.get<std::string>("output");
  if (output.extension() != ".safetensors")
    throw Error(ErrorKind::kUsage, "--output '" + output.string() + "' is not a .safetensors file", "give a name that ends so");
  require_new_file(options, "output");
  return output;
}

/// Trains, measures and writes a network.
void train_and_save(const CommandOptions& options, const TrainOptions& how, TrainingOptions training, const TrainingRun& run, const TrainingSplit& split, PriorInfo& info, const fs::path& output) {
  if (training.augmentation.max_log_gamma > 0.0 || training.augmentation.smooth_phase) {
    require_magnitudes(split.training);
    require_magnitudes(split.validation);
  }
  info.trained_on = scans_text(options.get<std::string>("trained-on"), how, count_scans(split.training), split.training.size());
  info.training = training_text(training);
  if (!run.start_from.empty()) info.training += "; fine-tuned from " + run.start_from.filename().string();
  training.begun_with = {{"from", start_text(run)}, {"validation", images_text(images_of(split.validation))}};
  fit_crops(training, split.training);
  const GaussianPrior gaussian = fit_gaussian(split.training, how, info, /*in_pixels=*/true);
  catch_interrupts();
  save_prior(output, measured_prior(train_network(training, gaussian, split, run), training, split.validation, info));
}

void report_prior(const fs::path& output, const char* kind, const PriorInfo& info, std::size_t n_scans, std::size_t n_slices) {
  if (console().json()) {
    const nlohmann::ordered_json line = {{"output", output.string()}, {"kind", kind}, {"name", info.name}, {"scans", n_scans}, {"slices", n_slices}};
    std::cout << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  } else if (!console().quiet) {
    std::cout << kind << " prior '" << info.name << "' of " << info.trained_on << ", written to " << output.string() << "\n";
  }
}

/// --remeasure: what the numbers are, the prior knows.
int remeasure(const CommandOptions& options) {
  options.refuse_given({"basis", "intensity", "pixel-mm", "table-size"}, "with --remeasure");
  for (const char* option : {"kind", "measure"})
    if (options.is_given(option)) throw Error(ErrorKind::kUsage, std::string("--") + option + " is given with --remeasure", "the prior that is measured anew is a network");
  for (const char* option : {"licence", "trained-on", "name"})
    if (!options.get<std::string>(option).empty()) throw Error(ErrorKind::kUsage, std::string("--") + option + " is given with --remeasure", "what the prior says of itself stays");
  const fs::path path = options.get<std::string>("remeasure"), output = options.get<std::string>("output");
  const auto loaded = load_prior(path);
  const auto* prior = dynamic_cast<const NetworkPrior*>(loaded.get());
  if (!prior) throw Error(ErrorKind::kUsage, "--remeasure " + quoted_path(path) + " is not a network prior", "a Gaussian one needs no measurement; a module, --measure");
  TrainOptions how = train_options(options);
  how.basis = prior->network().gaussian().basis();
  how.slices.intensity = prior->info().intensity;
  if (how.basis == SpectralBasis::kDft && !options.is_given("phase"))
    throw Error(ErrorKind::kUsage, "--phase is missing", "say smooth or zero as the prior was trained: " + prior->info().trained_on);
  const auto paths = training_paths(options.operands());
  const auto slices = read_all(paths, how);
  catch_interrupts();
  save_prior(output, remeasured_prior(*prior, slices, how.smooth_phase, how.seed));
  report_prior(output, "network", prior->info(), count_scans(slices), slices.size());
  return 0;
}

}  // namespace

int run_train(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  apply_threads(options);
  const TrainOptions how = train_options(options);
  const bool is_network = options.choice("kind", {"gaussian", "network"}) == "network";
  const fs::path output = output_file(options);
  options.require_group("kind", "network");
  if (options.has("remeasure")) return remeasure(options);
  const auto given = options.get<std::string>("name");
  PriorInfo info;
  info.name = given.empty() ? output.stem().string() : given;
  info.licence = options.get<std::string>("licence");
  info.intensity = how.slices.intensity;
  if (info.licence.empty()) throw Error(ErrorKind::kUsage, "--licence is missing", "say under which licence the prior may be used");
  const bool is_measured = options.has("measure");
  if (is_measured) require_measurable(options, output);
  else options.refuse_given({"prediction", "input"}, "without --measure");
  if (is_network || is_measured) options.refuse_given({"pixel-mm"}, "with a network, which counts in pixels");
  PriorInfo complete = info;                   // of scans the program itself says how many they were
  complete.trained_on = is_measured ? options.get<std::string>("trained-on") : "scans";
  require_complete(complete, /*is_learned=*/false);  // how it was trained is said here, too
  std::optional<TrainingOptions> training;
  TrainingRun run;
  if (is_network) {
    training = network_options(options, how.basis, how.smooth_phase, how.slices.intensity);
    run = training_run(options, output);
  }

  const auto paths = training_paths(options.operands()), judged_by = is_network ? validation_paths(options) : std::vector<fs::path>();
  std::vector<fs::path> all_paths = paths;
  all_paths.insert(all_paths.end(), judged_by.begin(), judged_by.end());
  const ScanSubjects subjects(all_paths);
  auto slices = read_all(paths, how, subjects);
  const std::size_t n_slices = slices.size(), n_scans = count_scans(slices);
  if (is_measured) {
    info.trained_on = options.get<std::string>("trained-on");
    const TorchScriptModule module = module_to_measure(options, how.basis, slices.front().image.size(0));
    save_prior(output, measured_prior(module, slices, how.smooth_phase, how.seed, info));
  } else if (is_network) {
    auto given = judged_by.empty() ? std::vector<TrainingSlice>() : read_all(judged_by, how, subjects);
    train_and_save(options, how, *training, run, split_slices(std::move(slices), std::move(given), options), info, output);
  } else {
    info.trained_on = scans_text(options.get<std::string>("trained-on"), how, n_scans, n_slices);
    save_prior(output, fit_gaussian(slices, how, info, /*in_pixels=*/false));
  }

  report_prior(output, is_measured ? "module" : is_network ? "network" : "gaussian", info, n_scans, n_slices);
  return 0;
}

}  // namespace postrec
