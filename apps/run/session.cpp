#include "run/session.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "case/seeds.hpp"
#include "cli/console.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/nearest_name.hpp"
#include "postrec/prior_file.hpp"

namespace postrec {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSuffix = ".safetensors";

std::vector<fs::path> prior_folders() {
  std::vector<fs::path> folders;
  if (const char* path = std::getenv("POSTREC_PRIOR_PATH")) {
    std::istringstream stream(path);
    for (std::string folder; std::getline(stream, folder, ':');)
      if (!folder.empty()) folders.emplace_back(folder);
  }
  folders.push_back(fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "share/postrec/priors");
  return folders;
}

std::vector<std::string> prior_names() {
  std::vector<std::string> names;
  for (const auto& folder : prior_folders()) {
    std::error_code failure;
    for (const auto& entry : fs::directory_iterator(folder, failure))
      if (entry.path().extension() == kSuffix) names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void require_fit(const Prior& prior, const TensorSpec& domain) {
  const TensorSpec known = prior.domain();
  const auto kind = [](at::ScalarType dtype) { return at::isComplexType(dtype) ? std::string("complex") : std::string("real"); };
  if (known.dtype != domain.dtype)
    throw Error(ErrorKind::kConfiguration, "prior '" + prior.info().name + "' is for " + kind(known.dtype) + " images, the operator measures " + kind(domain.dtype) + " ones",
                "give a --prior for " + kind(domain.dtype) + " images" + (at::isComplexType(domain.dtype) ? "" : ", or say --unit hu of CT"));
  bool same = known.shape.size() == domain.shape.size();
  for (std::size_t i = 0; same && i < known.shape.size(); ++i) same = known.shape[i] == -1 || known.shape[i] == domain.shape[i];
  if (!same)
    throw Error(ErrorKind::kConfiguration, "prior '" + prior.info().name + "' is for images of another shape than the operator's",
                "channels, rows and columns must agree");
}

}  // namespace

Session::Session(SessionOptions options) : options_(std::move(options)), registry_(options_.plugins), device_(compute_device(options_.device)) {
  options_.sampler.validate();
  options_.sampler.device = device_;
  options_.sampler.batch_limit = std::make_shared<BatchLimit>();
  network_precision(options_.precision, device_);
  warn_of_refused_plugins(registry_);
}

std::unique_ptr<Prior> Session::prior(const TensorSpec& domain, IntensityUnit unit, double pixel_mm) const {
  const std::string by_kind = unit == IntensityUnit::kHounsfield ? "ct" : "brain-mr";
  auto prior = load_prior(find_prior(options_.prior.empty() ? by_kind : options_.prior), pixel_mm, options_.code);
  require_fit(*prior, domain);
  return in_precision(std::move(prior), options_.precision, device_);
}

SamplerOptions Session::sampler_options(std::int64_t slice_number, std::int64_t n_left) const {
  SamplerOptions options = options_.sampler;
  options.seed = derive_seed(options.seed, slice_number, SeedPurpose::kSampling);
  if (options_.checkpoints != nullptr) options.checkpoint = options_.checkpoints->file_of_slice(slice_number);
  if (options_.deadline_s > 0.0) {
    constexpr double kShortest = 1e-3;         // time is up: every slice still gets an answer
    const double left = options_.deadline_s - std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    options.deadline_s = std::max(kShortest, left / static_cast<double>(n_left));
  }
  return options;
}

void warn_of_refused_plugins(const PluginRegistry& registry) {
  for (const auto& problem : registry.problems()) console().warning("plugin refused: " + quoted_path(problem.path) + ": " + problem.reason);
}

namespace {

/// Why there is no CUDA to compute on; empty where there is. A GPU that is older than LibTorch's kernels counts as a device and cannot run any.
std::string why_no_cuda() {
  if (!at::hasCUDA()) return "no CUDA device was found";
  try {
    const float two = at::ones({1}, at::kCUDA).add_(1).item<float>();
    return two == 2.0f ? "" : "the CUDA device cannot add";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return "the CUDA device does not work: " + text.substr(0, text.find('\n'));
  }
}

}  // namespace

c10::Device compute_device(const std::string& wanted) {
  if (wanted != "auto" && wanted != "cpu" && wanted != "cuda") return c10::Device(wanted);
  if (wanted == "cpu" || (wanted == "auto" && !at::hasCUDA())) return at::kCPU;
  if (const std::string reason = why_no_cuda(); !reason.empty()) {
    if (wanted == "cuda") throw Error(ErrorKind::kUnavailable, "--device cuda: " + reason, "use --device cpu, or a LibTorch with CUDA on a machine with a GPU that it has kernels for");
    console().warning(reason + "; going on with --device cpu");
    return at::kCPU;
  }
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setDeterministicCuDNN(true);
  return at::kCUDA;
}

NetworkPrecision network_precision(const std::string& wanted, const c10::Device& device) {
  if (wanted == "auto") return device.is_cuda() ? NetworkPrecision::kTf32 : NetworkPrecision::kFloat32;
  for (const NetworkPrecision precision : {NetworkPrecision::kFloat32, NetworkPrecision::kTf32, NetworkPrecision::kBfloat16}) {
    if (wanted != precision_name(precision)) continue;
    if (precision != NetworkPrecision::kFloat32 && !device.is_cuda())
      throw Error(ErrorKind::kUnavailable, "--precision " + wanted + ": a CUDA device is needed", "leave it out: on the CPU networks are evaluated in float32");
    return precision;
  }
  throw Error(ErrorKind::kUsage, "--precision '" + wanted + "' is not known", "it must be auto, float32, tf32 or bfloat16");
}

std::unique_ptr<Prior> in_precision(std::unique_ptr<Prior> prior, const std::string& wanted, const c10::Device& device) {
  const NetworkPrecision precision = network_precision(wanted, device);
  if (precision == NetworkPrecision::kFloat32) return prior;
  if (const auto* network = dynamic_cast<const NetworkPrior*>(prior.get())) return std::make_unique<NetworkPrior>(network->in_precision(precision));
  if (wanted != "auto") throw Error(ErrorKind::kUsage, "--precision " + wanted + ": prior '" + prior->info().name + "' has no network of ours", "leave it out");
  return prior;
}

NetworkPrecision precision_of(const Prior& prior) {
  const auto* network = dynamic_cast<const NetworkPrior*>(&prior);
  return network ? network->precision() : NetworkPrecision::kFloat32;
}

fs::path find_prior(const std::string& name) {
  if (name.find('/') != std::string::npos || fs::path(name).extension() == kSuffix) {
    std::error_code failure;
    if (fs::exists(name, failure) && !fs::is_regular_file(name, failure))  // a pipe would be waited for
      throw Error(ErrorKind::kBadData, "prior '" + name + "' is no regular file", "give a .safetensors file");
    return name;
  }
  for (const auto& folder : prior_folders()) {
    const fs::path file = folder / (name + kSuffix);
    if (fs::exists(file)) return file;
  }
  const auto names = prior_names();
  throw Error(ErrorKind::kUnavailable, "there is no prior '" + name + "'", names.empty() ? "none is installed; give a .safetensors file" : nearest_hint(name, names));
}

void set_threads(int n_threads) {
  if (n_threads > 0) at::set_num_threads(n_threads);
}

}  // namespace postrec
