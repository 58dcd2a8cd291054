#include "postrec/torchscript_prior.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "../device_cache.hpp"
#include "../safetensors.hpp"
#include "learned_prior.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/out_of_memory.hpp"
#include "postrec/sha256.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kReasonLimit = 200;      // of LibTorch's explanations, which go on for pages

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || !fs::is_regular_file(path)) throw Error(ErrorKind::kNoInput, "cannot open the module " + quoted_path(path), "give a file of torch.jit.save");
  std::ostringstream content;
  content << file.rdbuf();
  return std::move(content).str();
}

/// Runs `body`, which is LibTorch's or somebody's program; whatever it throws becomes an Error on one line.
template <class Body>
auto guarded(const fs::path& path, const std::string& what, const std::string& hint, const Body& body) {
  std::string reason;
  bool no_memory = false;
  try {
    return body();
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& error) {
    reason = error.what_without_backtrace();
    no_memory = is_out_of_memory(error);
  } catch (const std::exception& error) {
    reason = error.what();
    no_memory = says_out_of_memory(reason);
  }
  if (no_memory) throw Error(ErrorKind::kOutOfMemory, "there is not enough memory for module " + quoted_path(path), "take fewer samples at once, or smaller images");
  throw Error(ErrorKind::kBadData, "module " + quoted_path(path) + " " + what + ": " + printable(reason.substr(0, kReasonLimit)), hint);
}

}  // namespace

struct TorchScriptModule::Compiled {
  torch::jit::Module module;
  DeviceCache<torch::jit::Module> copies;

  torch::jit::Module on(const c10::Device& device) {
    return device.is_cpu() ? module : copies.get(device, [&] { return module.deepcopy(device); });
  }
};

TorchScriptModule::TorchScriptModule(const fs::path& path, ModuleConvention convention, const std::string& sha256)
    : path_(path), convention_(convention), compiled_(std::make_shared<Compiled>()) {
  std::string content = content_of(path);
  sha256_ = sha256_hex(content.data(), content.size());
  if (!sha256.empty() && sha256 != sha256_)
    throw Error(ErrorKind::kBadData, "module " + quoted_path(path) + " is not the one that was measured: its sha256 is " + sha256_.substr(0, 12) + "..., not " + printable(sha256.substr(0, 12)) + "...",
                "measure it again with postrec train --measure");
  guarded(path, "is not TorchScript", "export it with torch.jit.script or torch.jit.trace and torch.jit.save", [&] {
    std::istringstream stream(std::move(content));
    compiled_->module = torch::jit::load(stream, c10::Device(c10::kCPU));
    compiled_->module.eval();
    return 0;
  });
  if (!compiled_->module.find_method("forward")) throw Error(ErrorKind::kBadData, "module " + quoted_path(path) + " has no forward", "export a module with forward(x, sigma)");
}

at::Tensor TorchScriptModule::denoise(const at::Tensor& x_t, double sigma) const {
  return denoise_one_by_one(x_t, [&](const at::Tensor& images) { return denoise_images(images, sigma); });
}

at::Tensor TorchScriptModule::denoise_images(const at::Tensor& x_t, double sigma) const {
  const double scale = convention_.input == ModuleInput::kVarianceExploding ? 1.0 : 1.0 / std::sqrt(1.0 + sigma * sigma);
  const at::Tensor channels = to_channels(x_t).contiguous(), level = at::full({x_t.size(0)}, sigma, channels.options());
  const at::Tensor output = guarded(path_, "failed on images of " + std::to_string(x_t.size(2)) + "x" + std::to_string(x_t.size(3)), "its forward must take (x [B, C, H, W], sigma [B])", [&] {
    // Profiling would let the first calls compute in another order than the later ones.
    const torch::jit::GraphOptimizerEnabledGuard unoptimised(false);
    const c10::IValue answer = compiled_->on(channels.device()).forward({channels * scale, level});
    return answer.isTensor() ? answer.toTensor() : at::Tensor();
  });
  if (!output.defined() || output.sizes() != channels.sizes() || output.scalar_type() != at::kFloat)
    throw Error(ErrorKind::kBadData, "module " + quoted_path(path_) + " gives no float32 tensor of its input's shape", "its forward must give [B, C, H, W] for x [B, C, H, W]");
  return from_channels(image_from_prediction(convention_.prediction, channels, output, sigma, scale), x_t.is_complex());
}

TorchScriptPrior::TorchScriptPrior(TorchScriptModule module, ErrorTable errors, SigmaRange range, PriorInfo info)
    : module_(std::move(module)), errors_(std::move(errors)), range_(range), info_(std::move(info)) {
  check_learned_prior(info_.name, errors_, module_.convention().basis, module_.convention().channels, range_);
}

TensorSpec TorchScriptPrior::domain() const {
  return {{module_.convention().channels, -1, -1}, module_.convention().basis == SpectralBasis::kDft ? at::kComplexFloat : at::kFloat};
}

}  // namespace postrec
