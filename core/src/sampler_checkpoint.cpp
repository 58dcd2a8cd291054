#include "sampler_checkpoint.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "batched_vectors.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/network_prior.hpp"
#include "postrec/random.hpp"
#include "postrec/sha256.hpp"
#include "safetensors.hpp"

namespace postrec {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "postrec-samples/1";
constexpr const char* kStatePrefix = "method.";

std::string digest(const at::Tensor& x) {
  const at::Tensor values = real_view(x).cpu().contiguous();
  return sha256_hex(values.const_data_ptr(), static_cast<std::size_t>(values.nbytes()));
}

// Doubles to the last bit: JSON's shortest decimal that reads back as the same number.
json doubles(const at::Tensor& x) {
  const at::Tensor values = x.contiguous();
  return std::vector<double>(values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
}

json record_json(const LevelRecord& record) {
  return {{"misfit", record.misfit}, {"iterations", record.solve.iterations}, {"converged", record.solve.converged},
          {"residual", record.solve.worst_residual}, {"inflation", record.inflation}, {"effective_share", record.effective_share}};
}

LevelRecord record_from(const json& text) {
  LevelRecord record;
  record.misfit = text.at("misfit").get<std::vector<double>>();
  record.solve.iterations = text.at("iterations").get<int>();
  record.solve.converged = text.at("converged").get<bool>();
  record.solve.worst_residual = text.at("residual").get<double>();
  record.inflation = text.at("inflation").get<std::vector<double>>();
  record.effective_share = text.at("effective_share").get<double>();
  return record;
}

json report_json(const SamplerReport& report) {
  return {{"nfe", report.nfe}, {"seconds", report.seconds}, {"network_seconds", report.network_seconds}, {"sigmas", report.sigmas},
          {"misfit", report.misfit_trace}, {"inflation", report.inflation_trace}, {"iterations", report.solve_iterations}, {"effective_share", report.effective_share}, {"cut", report.levels_left_out}};
}

SamplerReport report_from(const json& text) {
  SamplerReport report;
  report.nfe = text.at("nfe").get<std::int64_t>();
  report.seconds = text.at("seconds").get<double>();
  report.network_seconds = text.at("network_seconds").get<double>();
  report.sigmas = text.at("sigmas").get<std::vector<double>>();
  report.misfit_trace = text.at("misfit").get<std::vector<double>>();
  report.inflation_trace = text.at("inflation").get<std::vector<double>>();
  report.solve_iterations = text.at("iterations").get<std::vector<int>>();
  report.effective_share = text.at("effective_share").get<std::vector<double>>();
  report.levels_left_out = text.at("cut").get<bool>();
  return report;
}

/// Which classifier it is, as far as this run asks it: its gradient at an image of noise.
at::Tensor answer_to_noise(const Classifier& classifier, const Prior& prior, const std::vector<std::int64_t>& image_shape, const SamplerOptions& options) {
  const auto asked = options.settings.find("class");
  const auto class_index = asked == options.settings.end() ? 0 : static_cast<std::int64_t>(asked->second);
  const SigmaRange range = prior.range();
  const at::Tensor noise = RandomStreams(0, 0, 1).normal(0, image_shape, prior.domain().dtype);
  return classifier.log_probability(noise, std::sqrt(range.minimum * range.maximum), std::min(class_index, classifier.n_classes() - 1)).gradient;
}

void put(SafeTensors& content, json& types, const std::string& name, const at::Tensor& x) {
  if (x.scalar_type() == at::kDouble) {        // a few numbers, such as weights
    types[name] = {{"shape", x.sizes().vec()}, {"values", doubles(x)}};
    return;
  }
  types[name] = x.is_complex() ? "complex" : "real";
  content.tensors[name] = real_view(x).cpu().contiguous();
}

at::Tensor take(const SafeTensors& content, const json& types, const std::string& name) {
  const json& type = types.at(name);
  if (type.is_object())
    return at::tensor(type.at("values").get<std::vector<double>>(), at::kDouble).view(type.at("shape").get<std::vector<std::int64_t>>());
  const at::Tensor x = content.tensors.at(name);
  return type == "complex" ? at::view_as_complex(x) : x;
}

}  // namespace

std::optional<SamplerState> SamplerCheckpoint::load() const {
  if (!std::filesystem::exists(path_)) return std::nullopt;
  const SafeTensors content = read_safetensors(path_);
  const auto found = content.metadata.find("format");
  if (found == content.metadata.end() || found->second != kFormat)
    throw Error(ErrorKind::kBadData, quoted_path(path_) + " is not a checkpoint of samples", "remove it, or give another name");
  if (const auto identity = content.metadata.find("identity"); identity == content.metadata.end() || identity->second != identity_)
    throw Error(ErrorKind::kConfiguration, quoted_path(path_) + " is the checkpoint of a run with another measurement, prior or options",
                "go on with those, or remove it");
  if (contradicts_its_hash(content)) throw Error(ErrorKind::kBadData, quoted_path(path_) + " is damaged: it does not hold what was written into it", "remove it and begin again");
  try {
    const json progress = json::parse(content.metadata.at("progress"));
    const json& types = progress.at("tensors");
    SamplerState state;
    state.report = report_from(progress.at("report"));
    if (types.contains("finished")) state.finished = take(content, types, "finished");
    if (!types.contains("x")) return state;
    state.x = take(content, types, "x");
    for (const auto& [name, type] : types.items())
      if (name.rfind(kStatePrefix, 0) == 0) state.method[name.substr(std::string(kStatePrefix).size())] = take(content, types, name);
    state.levels = progress.at("levels").get<std::vector<double>>();
    state.level = progress.at("level").get<std::int64_t>();
    state.nfe = progress.at("nfe").get<std::int64_t>();
    for (const json& record : progress.at("records")) state.records.push_back(record_from(record));
    return state;
  } catch (const std::exception& failure) {    // the file is whole, but not as this program writes it
    throw Error(ErrorKind::kBadData, quoted_path(path_) + " is damaged: " + printable(failure.what()), "remove it and begin again");
  }
}

void SamplerCheckpoint::save(const SamplerState& state) const {
  SafeTensors content;
  json types = json::object(), records = json::array();
  if (state.finished.defined()) put(content, types, "finished", state.finished);
  if (state.x.defined()) put(content, types, "x", state.x);
  for (const auto& [name, value] : state.method) put(content, types, kStatePrefix + name, value);
  for (const LevelRecord& record : state.records) records.push_back(record_json(record));
  const json progress = {{"report", report_json(state.report)}, {"tensors", types}, {"levels", state.levels}, {"level", state.level},
                         {"nfe", state.nfe}, {"records", records}};
  content.metadata = {{"format", kFormat}, {"identity", identity_}, {"progress", progress.dump()}};
  content.metadata[kContentHash] = content_sha256(content);
  const std::string bytes = safetensors_bytes(content);
  write_atomically(path_, [&](const std::filesystem::path& temporary) { write_bytes(temporary, bytes.data(), bytes.size()); });
}

std::string run_identity(const Prior& prior, const GaussianLikelihood* likelihood, const std::vector<std::int64_t>& image_shape, const SamplerOptions& options) {
  json identity = {{"format", kFormat}, {"prior", prior.info().name}, {"prior_sha256", prior.info().sha256}, {"shape", image_shape},
                   {"method", options.method}, {"solver", options.solver}, {"settings", options.settings}, {"samples", options.n_samples},
                   {"batch", options.batch_size}, {"steps", options.n_steps}, {"nfe", options.nfe}, {"process", options.process},
                   {"levels", options.levels}, {"sigma_max", options.sigma_max}, {"sigma_min", options.sigma_min}, {"seed", options.seed},
                   {"tolerance", options.solve.tolerance}, {"iterations", options.solve.max_iterations}};
  if (likelihood) {
    identity["sigma_y"] = likelihood->sigma_y();
    identity["y"] = digest(likelihood->y());
    identity["adjoint"] = digest(likelihood->op().adjoint(likelihood->y().unsqueeze(0)));
  }
  const auto* network = dynamic_cast<const NetworkPrior*>(&prior);
  if (network && network->precision() != NetworkPrecision::kFloat32) identity["precision"] = precision_name(network->precision());
  if (options.classifier) identity["classifier"] = digest(answer_to_noise(*options.classifier, prior, image_shape, options));
  const std::string text = identity.dump();
  return sha256_hex(text.data(), text.size());
}

}  // namespace postrec
