#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands/commands.hpp"
#include "common/console.hpp"
#include "common/options.hpp"
#include "common/progress.hpp"
#include "common/seeds.hpp"
#include "common/simulation.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/prior_file.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr double kAlmostEmpty = 0.1;  // of the mean magnitude of the scan's fullest slice

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
      ("name", po::value<std::string>()->default_value("")->value_name("TEXT"), "of the prior; default: the file's")                            //
      ("licence", po::value<std::string>()->default_value("")->value_name("TEXT"), "of the prior")                                              //
      ("trained-on", po::value<std::string>()->default_value("")->value_name("TEXT"), "the scans in words");
  add_run_options(options);
  add_common_options(options);
  return options;
}

TrainOptions train_options(const CommandOptions& options) {
  options.choice("kind", {"gaussian"});
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

bool is_scan_file(const fs::path& path) {
  const std::string name = path.filename().string();
  const auto ends_with = [&](const std::string& end) { return name.size() > end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0; };
  return ends_with(".nii") || ends_with(".nii.gz") || ends_with(".nrrd") || ends_with(".mha") || ends_with(".mhd") || ends_with(".png");
}

/// A folder stands for the scan files in it, sorted by name; without any it is a DICOM series itself.
std::vector<fs::path> scan_paths(const std::vector<std::string>& operands) {
  std::vector<fs::path> paths;
  for (const auto& operand : operands) {
    std::vector<fs::path> inside;
    std::error_code failure;
    for (const auto& entry : fs::directory_iterator(operand, failure))
      if (is_scan_file(entry.path())) inside.push_back(entry.path());
    std::sort(inside.begin(), inside.end());
    if (inside.empty()) inside.emplace_back(operand);
    paths.insert(paths.end(), inside.begin(), inside.end());
  }
  return paths;
}

/// Fits one scan after the other and counts.
class Trainer {
 public:
  explicit Trainer(TrainOptions options) : options_(options) {}

  void add_scan(const fs::path& path) {
    Scan scan = read_scan(path);
    Image& image = scan.image;
    if (options_.unit) image.unit = *options_.unit;
    const at::Tensor physical = IntensityScale::make(image.unit, scan_intensity(image.unit), image.pixels).stored_to_physical(image.pixels);
    const at::Tensor fullness = physical.abs().mean(at::IntArrayRef({1, 2, 3}));
    const double enough = kAlmostEmpty * fullness.max().item<double>();
    for (std::int64_t slice = 0; slice < physical.size(0); ++slice)
      if (fullness[slice].item<double>() > enough) add_slice(physical[slice], image.unit, image.geometry.spacing_mm[0], path);
  }

  std::int64_t n_slices() const { return n_slices_; }

  GaussianPrior finish(PriorInfo info) const {
    if (!fit_) throw Error(ErrorKind::kBadData, "there is no slice to train on", "every scan is empty");
    return fit_->finish(std::move(info));
  }

 private:
  PriorIntensity scan_intensity(IntensityUnit unit) const {
    return unit == IntensityUnit::kHounsfield ? options_.intensity : options_.intensity == PriorIntensity::kPercentile ? PriorIntensity::kUnit : options_.intensity;
  }

  void add_slice(const at::Tensor& physical, IntensityUnit unit, double pixel_mm, const fs::path& path) {
    // Each slice by its own scale, as reconstruct does.
    const at::Tensor model = IntensityScale::make(unit, options_.intensity, physical).physical_to_model(physical);
    if (!fit_) {
      channels_ = model.size(0);
      fit_.emplace(options_.basis, channels_, options_.table_size, options_.pixel_mm);
    }
    if (model.size(0) != channels_)
      throw Error(ErrorKind::kBadData, "'" + path.string() + "' has " + std::to_string(model.size(0)) + " channels, the scans before it " + std::to_string(channels_),
                  "train on scans of one kind");
    fit_->add(with_phase(model, phase_of(model), options_.basis == SpectralBasis::kDft ? at::kComplexFloat : at::kFloat), pixel_mm);
    ++n_slices_;
  }

  at::Tensor phase_of(const at::Tensor& model) const {
    if (options_.basis != SpectralBasis::kDft || !options_.smooth_phase) return {};
    return smooth_phase_rad(derive_seed(options_.seed, n_slices_, SeedPurpose::kPhase), model.size(1), model.size(2));
  }

  TrainOptions options_;
  std::optional<GaussianFit> fit_;
  std::int64_t channels_ = 0;
  std::int64_t n_slices_ = 0;
};

/// What the prior was made from, with what only the program knows.
std::string training_text(const std::string& given, const TrainOptions& options, std::int64_t n_scans, std::int64_t n_slices) {
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

  const auto paths = scan_paths(options.operands());
  Trainer trainer(how);
  {
    Progress progress(static_cast<std::int64_t>(paths.size()));
    for (std::size_t i = 0; i < paths.size(); ++i) {
      trainer.add_scan(paths[i]);
      progress.finish_part(static_cast<std::int64_t>(i));
    }
  }
  const auto given = options.get<std::string>("name");
  PriorInfo info;
  info.name = given.empty() ? output.stem().string() : given;
  info.licence = options.get<std::string>("licence");
  info.trained_on = training_text(options.get<std::string>("trained-on"), how, static_cast<std::int64_t>(paths.size()), trainer.n_slices());
  info.intensity = how.intensity;
  save_prior(output, trainer.finish(info));

  if (console().json()) {
    const nlohmann::ordered_json line = {{"output", output.string()}, {"name", info.name}, {"scans", paths.size()}, {"slices", trainer.n_slices()}};
    std::cout << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  } else if (!console().quiet) {
    std::cout << "prior '" << info.name << "' of " << info.trained_on << ", written to " << output.string() << "\n";
  }
  return 0;
}

}  // namespace postrec
