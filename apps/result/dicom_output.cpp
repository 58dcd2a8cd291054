#include "result/dicom_output.hpp"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "cli/version.hpp"
#include "postrec/error.hpp"
#include "result/questions.hpp"
#include "result/result_folder.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;
using nlohmann::ordered_json;

constexpr const char* kMore =
    "\nThe objects go to DIR/dicom: mean/0001.dcm and on, standard_deviation.dcm, probability_above_X.dcm.\n"
    "They keep patient, study and place of the source and say that they are derived, by what, and that\n"
    "they are for research only. data/README.md has the attributes.\n"
    "\nExample:\n"
    "  postrec reconstruct ct_series --simulate --operator ct-radon --set n-views=90 --noise 1 --dicom\n"
    "    --output result\n";

Derivation derivation_of(const ordered_json& run, bool from_source) {
  Derivation derivation;
  derivation.software_version = program_version();
  derivation.model_sha256 = run["prior"]["sha256"].get<std::string>();
  derivation.simulated = run.contains("label");
  derivation.from_source = from_source;
  const auto& sampler = run["sampler"];
  derivation.description = "Posterior sampling reconstruction (PostRec " + program_version() + "), research use only. " +
                           (derivation.simulated ? "SIMULATED: the measurement was computed from an image. " : "") + "Operator " +
                           run["operator"]["name"].get<std::string>() + ", method " + sampler["method"].get<std::string>() + ", " +
                           std::to_string(run["samples_kept"].get<std::int64_t>()) + " samples, seed " + std::to_string(sampler["seed"].get<std::uint64_t>()) +
                           ", prior SHA-256 " + derivation.model_sha256;
  derivation.run = program_version() + run["operator"].dump() + run["prior"].dump() + sampler.dump() + run["sigma_y"].dump();
  return derivation;
}

/// The slices that are told, and where they lie.
DerivedVolume told_slices(const at::Tensor& pixels, const std::vector<bool>& told, std::int64_t first) {
  DerivedVolume volume;
  std::vector<std::int64_t> kept;
  for (std::size_t i = 0; i < told.size(); ++i)
    if (told[i]) kept.push_back(static_cast<std::int64_t>(i));
  for (const auto slice : kept) volume.source_slices.push_back(first + slice);
  volume.pixels = kept.size() == told.size() ? pixels : pixels.index_select(0, at::tensor(kept, at::kLong));
  return volume;
}

ordered_json entry(const std::string& name, const DerivedVolume& volume, const char* kind) {
  return {{"name", name}, {"as", kind}, {"slices", volume.source_slices}};
}

}  // namespace

void add_dicom_options(CommandOptions& options) {
  options.add_topic("dicom", "DICOM output", kMore)                                                                                                              //
      ("dicom", po::bool_switch(), "also write derived DICOM objects: the input is a DICOM series, or --dicom-source is given")                                   //
      ("dicom-source", po::value<std::string>()->value_name("PATH"), "the series whose patient, study and place they have (implies --dicom); on the result's grid")  //
      ("uncertainty-as", po::value<std::string>()->default_value("parametric-map")->value_name("KIND"),
       "parametric-map: float, one object; scaled16: an image series, for viewers that show no floats");
}

fs::path dicom_source_path(const CommandOptions& options) {
  options.choice("uncertainty-as", {"parametric-map", "scaled16"});
  const bool given = options.has("dicom-source");
  if (!given && !options.get<bool>("dicom")) {
    options.refuse_given({"uncertainty-as"}, "without --dicom");
    return {};
  }
  const fs::path path = given ? fs::path(options.get<std::string>("dicom-source")) : fs::path(options.operands().front());
  if (given && !fs::exists(path)) throw Error(ErrorKind::kNoInput, "--dicom-source '" + path.string() + "' does not exist", "give the folder of a DICOM series");
  if ((given || options.get<bool>("simulate")) && holds_dicom(path)) return path;
  if (given) throw Error(ErrorKind::kUsage, "--dicom-source '" + path.string() + "' holds no DICOM file", "give the folder of a DICOM series");
  throw Error(ErrorKind::kUsage, "--dicom is given, but the input is no DICOM series", "give --dicom-source, the series whose patient, study and place the objects have");
}

DicomOutput dicom_output(const CommandOptions& options, const fs::path& source, Case& input, PluginRegistry& registry) {
  DicomOutput output;
  output.source = read_dicom_source(source);
  output.parametric_maps = options.get<std::string>("uncertainty-as") == "parametric-map";
  std::error_code failure;
  output.from_source = options.get<bool>("simulate") && fs::equivalent(source, options.operands().front(), failure);
  for (const auto& warning : output.source.warnings)
    if (std::find(input.notes.begin(), input.notes.end(), warning) == input.notes.end()) input.notes.push_back(warning);
  const bool hounsfield = input.measurement.unit == IntensityUnit::kHounsfield;
  if (hounsfield != (output.source.modality == "CT"))
    throw Error(ErrorKind::kUsage, std::string("the DICOM source is ") + output.source.modality + " and the result is " + (hounsfield ? "" : "not ") + "in HU",
                "CT goes with --unit hu, MR without");
  const Measurement& measurement = input.measurement;
  const TensorSpec domain = make_operator(registry, measurement, input.slices.front().index)->domain();
  if (domain.shape.size() != 3 || domain.shape[0] != 1)
    throw Error(ErrorKind::kUsage, "the result has several channels", "DICOM objects are written of gray images");
  output.first_slice = first_source_slice(output.source, geometry_from_slice(measurement.geometry, input.slices.front().index),
                                          static_cast<std::int64_t>(input.slices.size()), domain.shape[1], domain.shape[2]);
  return output;
}

ordered_json write_dicom(const fs::path& folder, const DicomOutput& output, const DicomMaps& maps, const ordered_json& run) {
  const Derivation derivation = derivation_of(run, output.from_source);
  const bool untrusted = run["prior_fit"]["forced"].get<bool>();  // told because of --force alone
  Derivation of_maps = derivation;
  // Of a long text the end is cut, so the slices stand there.
  if (untrusted) of_maps.description = "NOT TO BE TRUSTED, told because of --force. " + derivation.description + ". " + distrust_text(run["prior_fit"]);
  ordered_json written = ordered_json::array();
  DerivedVolume mean = told_slices(maps.mean, std::vector<bool>(static_cast<std::size_t>(maps.mean.size(0)), true), output.first_slice);
  mean.title = "Posterior mean";
  write_derived_series(folder / "mean", output.source, mean, derivation);
  written.push_back(entry("mean", mean, "image-series"));

  const auto write_map = [&](const std::string& name, DerivedVolume volume) {
    if (output.parametric_maps) write_parametric_map(folder / (name + ".dcm"), output.source, volume, of_maps);
    else write_derived_series(folder / name, output.source, volume, of_maps);
    written.push_back(entry(name, volume, output.parametric_maps ? "parametric-map" : "scaled16"));
  };
  if (std::find(maps.told.begin(), maps.told.end(), true) == maps.told.end()) return written;
  DerivedVolume deviation = told_slices(maps.standard_deviation, maps.told, output.first_slice);
  deviation.title = untrusted ? "Untrusted standard deviation" : "Posterior standard deviation";
  deviation.quantity = DerivedQuantity::kStandardDeviation;
  deviation.number = 2;
  write_map("standard_deviation", deviation);
  int number = 3;
  for (const auto& [threshold, pixels] : maps.probabilities) {
    DerivedVolume probability = told_slices(pixels, maps.told, output.first_slice);
    probability.title = (untrusted ? "Untrusted probability above " : "Probability above ") + threshold_text(threshold);
    probability.quantity = DerivedQuantity::kProbability;
    probability.number = number++;
    write_map("probability_above_" + threshold_text(threshold), probability);
  }
  return written;
}

}  // namespace postrec
