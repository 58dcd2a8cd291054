#include "postrec/prior_file.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "priors/architecture.hpp"
#include "priors/learned_prior.hpp"
#include "safetensors.hpp"

namespace postrec {
namespace {

constexpr const char* kFormat = "postrec-prior/2";
constexpr const char* kOldFormat = "postrec-prior/1";  // Gaussians only, without channels and content_sha256
constexpr const char* kWeightPrefix = "network/";
const std::vector<std::string> kMeasured = {"error_sigmas", "error_table", "envelope_activities", "envelope", "correction_frequencies", "correction"};
constexpr std::pair<PriorIntensity, const char*> kIntensities[] = {
    {PriorIntensity::kUnit, "unit"}, {PriorIntensity::kPercentile, "percentile"}, {PriorIntensity::kRelativeWater, "relative-water"},
    {PriorIntensity::kByte, "byte"}};
constexpr std::pair<Prediction, const char*> kPredictions[] = {
    {Prediction::kImage, "image"}, {Prediction::kNoise, "noise"}, {Prediction::kVelocity, "velocity"}, {Prediction::kScore, "score"}};
constexpr std::pair<ModuleInput, const char*> kInputs[] = {{ModuleInput::kVarianceExploding, "ve"}, {ModuleInput::kVariancePreserving, "vp"}};
constexpr std::pair<SpectralBasis, const char*> kBases[] = {{SpectralBasis::kDft, "dft"}, {SpectralBasis::kDct, "dct"}};

template <class Value, std::size_t N>
const char* text_of(const std::pair<Value, const char*> (&names)[N], Value value) {
  for (const auto& [candidate, name] : names)
    if (candidate == value) return name;
  throw Error(ErrorKind::kInternal, "a prior has a value without a name", "");
}

std::string text_of(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

bool is_blank(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isspace(c) != 0; });
}

[[noreturn]] void refuse(const std::string& what, const std::string& hint) { throw Error(ErrorKind::kBadData, "it " + what, hint); }

/// The content of one prior file, with errors that say what it lacks; load_prior adds the file.
class Metadata {
 public:
  explicit Metadata(const SafeTensors& content) : content_(content) {}

  const SafeTensors& content() const { return content_; }

  const std::string& text(const std::string& key) const {
    const auto found = content_.metadata.find(key);
    if (found == content_.metadata.end()) refuse("has no metadata '" + key + "'", "write it with postrec train");
    return found->second;
  }

  const std::string& filled_text(const std::string& key) const {
    const std::string& value = text(key);
    if (is_blank(value)) refuse("has an empty metadata '" + key + "'", "a prior must say it");
    return value;
  }

  double real(const std::string& key) const {
    const std::string& value = text(key);
    double number = 0.0;
    const auto [end, status] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (status != std::errc() || end != value.data() + value.size() || !std::isfinite(number))
      refuse("has metadata " + key + "='" + value + "'", "it must be a number");
    return number;
  }

  template <class Value, std::size_t N>
  Value choice(const std::string& key, const std::pair<Value, const char*> (&names)[N]) const {
    const std::string& value = text(key);
    std::string known;
    for (const auto& [candidate, name] : names) {
      if (value == name) return candidate;
      known += std::string(known.empty() ? "" : ", ") + name;
    }
    refuse("has metadata " + key + "='" + value + "'", "known are " + known);
  }

  bool has_tensor(const std::string& name) const { return content_.tensors.count(name) > 0; }

  at::Tensor tensor(const std::string& name) const {
    const auto found = content_.tensors.find(name);
    if (found == content_.tensors.end()) refuse("has no tensor '" + name + "'", "write it with postrec train");
    return found->second;
  }

  /// The tensors whose names start so, without it.
  Weights tensors_below(const std::string& prefix) const {
    Weights found;
    for (const auto& [name, tensor] : content_.tensors)
      if (name.rfind(prefix, 0) == 0) found[name.substr(prefix.size())] = tensor;
    return found;
  }

  /// Refuses tensors that are neither among `names` nor below `prefix`.
  void require_no_other_tensor(const std::vector<std::string>& names, const std::string& prefix = "") const {
    for (const auto& [name, tensor] : content_.tensors) {
      const bool below = !prefix.empty() && name.rfind(prefix, 0) == 0;
      if (!below && std::find(names.begin(), names.end(), name) == names.end()) refuse("has an unknown tensor '" + name + "'", "write it with postrec train");
    }
  }

 private:
  const SafeTensors& content_;
};

/// How many names "a, b" holds; 0 when one of them is empty.
std::int64_t count_of_names(const std::string& channels) {
  std::int64_t n = 0;
  std::istringstream stream(channels + ",");
  for (std::string name; std::getline(stream, name, ',');) {
    if (is_blank(name)) return 0;
    ++n;
  }
  return n;
}

std::string usual_channels(SpectralBasis basis, std::int64_t channels, PriorIntensity intensity) {
  if (basis == SpectralBasis::kDct && channels == 3) return "red, green, blue";
  const std::string one = basis == SpectralBasis::kDft ? "real, imaginary" : intensity == PriorIntensity::kRelativeWater ? "attenuation" : "intensity";
  std::string all = one;
  for (std::int64_t c = 1; c < channels; ++c) all += ", " + one;
  return all;
}

std::int64_t real_channels(SpectralBasis basis, std::int64_t channels) { return channels * (basis == SpectralBasis::kDft ? 2 : 1); }

PriorInfo info_of(const Metadata& file, bool is_old) {
  PriorInfo info;
  info.name = file.filled_text("name");
  info.licence = file.filled_text("licence");
  info.trained_on = file.filled_text("trained_on");
  info.intensity = file.choice("intensity", kIntensities);
  info.sha256 = file.content().file_sha256;
  if (!is_old) info.channels = file.filled_text("channels");
  const bool may_lack_training = file.text("kind") == "gaussian" && file.content().metadata.count("training") == 0;
  if (!may_lack_training) info.training = file.filled_text("training");
  return info;
}

void require_channel_names(const PriorInfo& info, SpectralBasis basis, std::int64_t channels) {
  const std::int64_t n = real_channels(basis, channels);
  if (count_of_names(info.channels) != n) refuse("has channels='" + info.channels + "'", "it must name " + std::to_string(n) + " channels");
}

GaussianPrior gaussian_of(const Metadata& file, const PriorInfo& info) {
  GaussianPrior prior(file.choice("basis", kBases), file.tensor("spectrum"), file.tensor("mean"), file.real("pixel_mm"), info);
  if (!info.channels.empty()) require_channel_names(info, prior.basis(), prior.spectrum().size(0));
  return prior;
}

ErrorTable errors_of(const Metadata& file) {
  const at::Tensor sigmas = file.tensor("error_sigmas");
  if (sigmas.dim() != 1) refuse("has error_sigmas that are no list", "write it with postrec train");
  const at::Tensor levels = sigmas.to(at::kDouble);
  std::optional<ErrorEnvelope> envelope;       // files from before it have none
  if (file.has_tensor("envelope_activities") || file.has_tensor("envelope")) envelope.emplace(file.tensor("envelope_activities"), file.tensor("envelope"));
  std::optional<DenoiserCorrection> correction;  // nor this
  if (file.has_tensor("correction_frequencies") || file.has_tensor("correction"))
    correction.emplace(file.choice("basis", kBases), file.tensor("correction_frequencies"), file.tensor("correction"));
  return ErrorTable(file.choice("basis", kBases), {levels.const_data_ptr<double>(), levels.const_data_ptr<double>() + levels.numel()}, file.tensor("error_table"),
                    std::move(envelope), std::move(correction));
}

SigmaRange range_of(const Metadata& file) { return {file.real("sigma_min"), file.real("sigma_max")}; }

std::unique_ptr<Prior> network_prior_of(const Metadata& file, PriorInfo info) {
  std::vector<std::string> names = kMeasured;
  names.insert(names.end(), {"spectrum", "mean"});
  file.require_no_other_tensor(names, kWeightPrefix);
  UNet network(architecture_of(file.text("architecture")), file.tensors_below(kWeightPrefix));
  DenoisingNetwork denoiser(gaussian_of(file, info), std::move(network));
  return std::make_unique<NetworkPrior>(std::move(denoiser), errors_of(file), range_of(file), std::move(info));
}

std::unique_ptr<Prior> gaussian_prior_of(const Metadata& file, PriorInfo info, double pixel_mm) {
  file.require_no_other_tensor({"spectrum", "mean"});
  const GaussianPrior prior = gaussian_of(file, info);
  return std::make_unique<GaussianPrior>(pixel_mm > 0.0 && prior.pixel_mm() > 0.0 ? prior.at_pixel_size(pixel_mm) : prior);
}

void require_content_hash(const Metadata& file) {
  if (file.text(kContentHash) != content_sha256(file.content()))
    refuse("does not hold what was written into it: its content differs from its content_sha256", "copy or train it again");
}

/// The module's file: a bare name, beside the prior's own.
std::filesystem::path module_path_of(const Metadata& file, const std::filesystem::path& path) {
  const std::filesystem::path name = file.filled_text("module");
  if (name.filename() != name || name == "." || name == "..") refuse("has module='" + name.string() + "'", "it must be the name of a file beside it");
  return path.parent_path() / name;
}

std::unique_ptr<Prior> torchscript_prior_of(const Metadata& file, const std::filesystem::path& path, PriorInfo info, CodePolicy policy) {
  file.require_no_other_tensor(kMeasured);
  const ErrorTable errors = errors_of(file);
  const SigmaRange range = range_of(file);
  const ModuleConvention convention{file.choice("prediction", kPredictions), file.choice("input", kInputs), errors.basis(), errors.eigenvalues().size(1)};
  require_channel_names(info, convention.basis, convention.channels);
  check_learned_prior(info.name, errors, convention.basis, convention.channels, range);
  const std::filesystem::path module = module_path_of(file, path);
  const std::string sha256 = file.filled_text("module_sha256");
  require_content_hash(file);
  if (policy == CodePolicy::kRefuse)
    throw Error(ErrorKind::kUnavailable, "it is a program, the TorchScript module '" + module.filename().string() + "', which can do whatever you can",
                "give --allow-code if you trust where it comes from");
  return std::make_unique<TorchScriptPrior>(TorchScriptModule(module, convention, sha256), errors, range, std::move(info));
}

std::unique_ptr<Prior> prior_of(const Metadata& file, const std::filesystem::path& path, double pixel_mm, CodePolicy policy) {
  const std::string& format = file.text("format");
  const std::string& kind = file.text("kind");
  const bool is_old = format == kOldFormat && kind == "gaussian";
  if (kind != "gaussian" && kind != "network" && kind != "torchscript") refuse("is of kind '" + kind + "'", "this program knows gaussian, network and torchscript");
  if (format != kFormat && !is_old) refuse("has format '" + format + "'", std::string("this program reads ") + kFormat);
  PriorInfo info = info_of(file, is_old);
  if (kind == "torchscript") return torchscript_prior_of(file, path, std::move(info), policy);
  auto prior = kind == "network" ? network_prior_of(file, std::move(info)) : gaussian_prior_of(file, std::move(info), pixel_mm);
  if (!is_old) require_content_hash(file);
  return prior;
}

/// The facts that files of every kind hold.
SafeTensors content_with_facts(const PriorInfo& info, const char* kind, SpectralBasis basis, std::int64_t channels) {
  require_complete(info, kind != std::string("gaussian"));
  const std::string names = info.channels.empty() ? usual_channels(basis, channels, info.intensity) : info.channels;
  if (count_of_names(names) != real_channels(basis, channels))
    throw Error(ErrorKind::kBadData, "prior '" + info.name + "' has channels '" + names + "'", "name " + std::to_string(real_channels(basis, channels)));
  SafeTensors content;
  content.metadata = {{"format", kFormat}, {"kind", kind}, {"basis", text_of(kBases, basis)}, {"intensity", text_of(kIntensities, info.intensity)},
                      {"licence", info.licence}, {"trained_on", info.trained_on}, {"name", info.name}, {"channels", names}};
  if (!info.training.empty()) content.metadata["training"] = info.training;
  return content;
}

void add_gaussian(SafeTensors& content, const GaussianPrior& gaussian) {
  content.tensors["spectrum"] = gaussian.spectrum();
  content.tensors["mean"] = gaussian.mean();
  content.metadata["pixel_mm"] = text_of(gaussian.pixel_mm());
}

void add_measured(SafeTensors& content, const ErrorTable& errors, SigmaRange range) {
  content.tensors["error_sigmas"] = at::tensor(errors.sigmas(), at::kDouble).to(at::kFloat);
  content.tensors["error_table"] = errors.eigenvalues();
  if (errors.envelope()) {
    content.tensors["envelope_activities"] = errors.envelope()->activities();
    content.tensors["envelope"] = errors.envelope()->deviations();
  }
  if (errors.correction()) {
    content.tensors["correction_frequencies"] = errors.correction()->frequencies();
    content.tensors["correction"] = errors.correction()->shares();
  }
  content.metadata["sigma_min"] = text_of(range.minimum);
  content.metadata["sigma_max"] = text_of(range.maximum);
}

void write(const std::filesystem::path& path, SafeTensors content) {
  content.metadata[kContentHash] = content_sha256(content);
  write_text_atomically(path, safetensors_bytes(content));
}

}  // namespace

void require_complete(const PriorInfo& info, bool is_learned) {
  const auto require = [&](const std::string& text, const char* what) {
    if (is_blank(text))
      throw Error(ErrorKind::kBadData, "prior '" + info.name + "' does not say " + what, "a prior without it is refused");
  };
  require(info.name, "its name");
  require(info.licence, "its licence");
  require(info.trained_on, "its training data");
  if (is_learned) require(info.training, "how it was trained");
}

void require_beside(const std::filesystem::path& prior, const std::filesystem::path& module) {
  if (std::filesystem::absolute(prior).parent_path().lexically_normal() != std::filesystem::absolute(module).parent_path().lexically_normal())
    throw Error(ErrorKind::kUsage, "prior " + quoted_path(prior) + " does not lie beside its module " + quoted_path(module), "put both into one folder");
}

std::unique_ptr<Prior> load_prior(const std::filesystem::path& path, double pixel_mm, CodePolicy policy) {
  const SafeTensors content = read_safetensors(path);
  try {
    return prior_of(Metadata(content), path, pixel_mm, policy);
  } catch (const Error& error) {
    throw Error(error.kind(), "prior " + quoted_path(path) + " is refused: " + printable(error.message()), printable(error.hint()));
  }
}

void save_prior(const std::filesystem::path& path, const GaussianPrior& prior) {
  SafeTensors content = content_with_facts(prior.info(), "gaussian", prior.basis(), prior.spectrum().size(0));
  add_gaussian(content, prior);
  write(path, std::move(content));
}

void save_prior(const std::filesystem::path& path, const NetworkPrior& prior) {
  const GaussianPrior& gaussian = prior.network().gaussian();
  const UNet& network = prior.network().network();
  SafeTensors content = content_with_facts(prior.info(), "network", gaussian.basis(), gaussian.spectrum().size(0));
  add_gaussian(content, gaussian);
  add_measured(content, prior.errors(), prior.range());
  for (const auto& [name, weight] : network.weights()) content.tensors[kWeightPrefix + name] = weight.detach();
  content.metadata["architecture"] = architecture_text(network.config());
  write(path, std::move(content));
}

void save_prior(const std::filesystem::path& path, const TorchScriptPrior& prior) {
  const ModuleConvention& convention = prior.module().convention();
  SafeTensors content = content_with_facts(prior.info(), "torchscript", convention.basis, convention.channels);
  add_measured(content, prior.errors(), prior.range());
  require_beside(path, prior.module().path());
  content.metadata["module"] = prior.module().path().filename().string();
  content.metadata["module_sha256"] = prior.module().sha256();
  content.metadata["prediction"] = text_of(kPredictions, convention.prediction);
  content.metadata["input"] = text_of(kInputs, convention.input);
  write(path, std::move(content));
}

}  // namespace postrec
