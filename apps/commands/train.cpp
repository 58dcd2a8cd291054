#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands/commands.hpp"
#include "common/console.hpp"
#include "common/network_training.hpp"
#include "common/options.hpp"
#include "common/progress.hpp"
#include "common/seeds.hpp"
#include "common/simulation.hpp"
#include "common/training_scans.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/prior_file.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

struct TrainOptions {
  SpectralBasis basis = SpectralBasis::kDft;
  PriorIntensity intensity = PriorIntensity::kPercentile;
  std::optional<IntensityUnit> unit;
  bool smooth_phase = true;
  double pixel_mm = 1.0;
  std::int64_t table_size = 256;
  std::uint64_t seed = 0;
};

CommandOptions declared_options() {
  CommandOptions options("train", "SCAN...", 1, 100000, "Fits a prior to all slices of scans (files, DICOM folders, or folders of files).",
                         "postrec train scans/ --basis dct --intensity relative-water --unit hu --name body-ct\n"
                         "    --licence \"CC BY 3.0\" --trained-on \"87 slices\" --output body-ct.safetensors");
  options.add()("output", po::value<std::string>()->value_name("FILE"), "the prior, .safetensors (required)")                                     //
      ("on-existing", po::value<std::string>()->default_value("fail")->value_name("HOW"), "when it exists: fail or overwrite")                  //
      ("kind", po::value<std::string>()->default_value("gaussian")->value_name("KIND"), "gaussian: a stationary Gaussian, exact denoiser")      //
      ("basis", po::value<std::string>()->default_value("dft")->value_name("BASIS"), "dft: complex images; dct: real ones")                     //
      ("intensity", po::value<std::string>()->default_value("percentile")->value_name("SCALE"), "percentile, relative-water or unit")           //
      ("unit", po::value<std::string>()->default_value("auto")->value_name("UNIT"), "of the scans: auto, hu or arbitrary")                      //
      ("phase", po::value<std::string>()->default_value("smooth")->value_name("KIND"), "for dft: smooth or zero phase on real scans")           //
      ("pixel-mm", po::value<double>()->default_value(1.0)->value_name("X"), "pixel size that the table is for")                                //
      ("table-size", po::value<std::int64_t>()->default_value(256)->value_name("N"), "rows and columns of the table")                           //
      ("steps", po::value<std::int64_t>()->default_value(20000)->value_name("N"), "network: training steps")                                    //
      ("decay-steps", po::value<std::int64_t>()->default_value(4000)->value_name("N"), "network: the last of them, with a falling learning rate") //
      ("learning-rate", po::value<double>()->default_value(1e-3)->value_name("X"), "network: of AdamW")                                         //
      ("checkpoint", po::value<std::string>()->value_name("FILE"), "network: default is the output's name with .checkpoint")                     //
      ("resume", "network: go on from the checkpoint")                                                                                         //
      ("name", po::value<std::string>()->default_value("")->value_name("TEXT"), "of the prior; default: the file's")                            //
      ("licence", po::value<std::string>()->default_value("")->value_name("TEXT"), "of the prior")                                              //
      ("trained-on", po::value<std::string>()->default_value("")->value_name("TEXT"), "the scans in words");
  add_run_options(options);
  add_common_options(options);
  return options;
}

TrainOptions train_options(const CommandOptions& options) {
  TrainOptions result;
  result.basis = options.choice("basis", {"dft", "dct"}) == "dft" ? SpectralBasis::kDft : SpectralBasis::kDct;
  const std::string intensity = options.choice("intensity", {"percentile", "relative-water", "unit"});
  result.intensity = intensity == "percentile" ? PriorIntensity::kPercentile : intensity == "unit" ? PriorIntensity::kUnit : PriorIntensity::kRelativeWater;
  const std::string unit = options.choice("unit", {"auto", "hu", "arbitrary"});
  if (unit != "auto") result.unit = unit == "hu" ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;
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
std::vector<TrainingSlice> read_all(const std::vector<fs::path>& paths, const TrainOptions& how) {
  std::vector<TrainingSlice> slices;
  Progress progress(static_cast<std::int64_t>(paths.size()));
  for (std::size_t i = 0; i < paths.size(); ++i) {
    for (TrainingSlice& slice : read_training_slices(paths[i], how.intensity, how.unit)) {
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

TrainingOptions network_options(const CommandOptions& options, const TrainOptions& how) {
  TrainingOptions training;
  training.n_steps = options.get<std::int64_t>("steps");
  training.n_decay_steps = std::min(options.get<std::int64_t>("decay-steps"), training.n_steps);
  training.learning_rate = options.get<double>("learning-rate");
  training.seed = how.seed;
  training.augmentation.smooth_phase = how.basis == SpectralBasis::kDft && how.smooth_phase;
  if (how.intensity == PriorIntensity::kPercentile) {
    training.augmentation.max_log_gain = 0.2;
    training.augmentation.max_log_gamma = 0.3;
  }
  return training;
}

TrainingRun training_run(const CommandOptions& options, const fs::path& output) {
  TrainingRun run;
  run.checkpoint = options.has("checkpoint") ? fs::path(options.get<std::string>("checkpoint")) : fs::path(output.string() + ".checkpoint");
  run.log = run.checkpoint.string() + ".log";
  run.resume = options.has("resume");
  return run;
}

/// What the prior was made from, with what only the program knows.
std::string training_text(const std::string& given, const TrainOptions& options, std::size_t n_scans, std::size_t n_slices) {
  const std::string counted = std::to_string(n_slices) + " slices of " + std::to_string(n_scans) + " scans";
  const std::string phase = options.basis == SpectralBasis::kDct ? "" : options.smooth_phase ? ", smooth synthetic phase" : ", zero phase";
  return (given.empty() ? "" : given + "; ") + counted + phase;
}

void require_new_file(const fs::path& output, const CommandOptions& options) {
  const bool overwrite = options.choice("on-existing", {"fail", "overwrite"}) == "overwrite";
  if (output.extension() != ".safetensors")
    throw Error(ErrorKind::kUsage, "--output '" + output.string() + "' is not a .safetensors file", "give a name that ends so");
  if (!overwrite && fs::exists(output))
    throw Error(ErrorKind::kCannotCreate, "--output '" + output.string() + "' exists", "give another name or --on-existing overwrite");
  const fs::path parent = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(parent)) throw Error(ErrorKind::kCannotCreate, "there is no folder '" + parent.string() + "' for --output", "make it first");
}

}  // namespace

int run_train(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  apply_threads(options);
  const TrainOptions how = train_options(options);
  if (!options.has("output")) throw Error(ErrorKind::kUsage, "--output is missing", "give the name of a .safetensors file");
  const fs::path output = options.get<std::string>("output");
  require_new_file(output, options);

  const auto paths = training_paths(options.operands());
  const auto slices = read_all(paths, how);
  const auto given = options.get<std::string>("name");
  PriorInfo info;
  info.name = given.empty() ? output.stem().string() : given;
  info.licence = options.get<std::string>("licence");
  info.trained_on = training_text(options.get<std::string>("trained-on"), how, paths.size(), slices.size());
  info.intensity = how.intensity;
  const bool is_network = options.choice("kind", {"gaussian", "network"}) == "network";
  const GaussianPrior gaussian = fit_gaussian(slices, how, info, is_network);
  if (is_network) {
    train_network(network_options(options, how), gaussian, slices, training_run(options, output));
  } else {
    save_prior(output, gaussian);
  }

  if (console().json()) {
    const nlohmann::ordered_json line = {{"output", output.string()}, {"name", info.name}, {"scans", paths.size()}, {"slices", slices.size()}};
    std::cout << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  } else if (!console().quiet) {
    std::cout << "prior '" << info.name << "' of " << info.trained_on << ", written to " << output.string() << "\n";
  }
  return 0;
}

}  // namespace postrec
