#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "postrec/host/plugin_registry.hpp"
#include "postrec/image.hpp"
#include "postrec/network_precision.hpp"
#include "postrec/prior.hpp"
#include "postrec/prior_file.hpp"
#include "postrec/sampler.hpp"
#include "run/checkpoint_folder.hpp"

namespace postrec {

struct SessionOptions {
  PluginSearch plugins;
  std::string prior;                           ///< a file or the name of one that ships; empty: the one for the kind of image
  CodePolicy code = CodePolicy::kRefuse;       ///< whether the prior may be a program
  SamplerOptions sampler;                      ///< its seed is the user's; each slice derives its own
  double interval_level = 0.9;
  std::string device = "auto";                 ///< cpu, cuda, auto
  std::string precision = "auto";              ///< of the prior's network: float32, tf32, bfloat16, auto
  double deadline_s = 0.0;                     ///< for all slices together, from the making of the session; 0: none
  CheckpointFolder* checkpoints = nullptr;     ///< for the state of slices at work; null: none
};

/// What the cases of one run share: the plugins, the options and the device to compute on.
class Session {
 public:
  /// Throws Error: kUsage (a sampler option), kUnavailable (device, precision).
  explicit Session(SessionOptions options);

  PluginRegistry& registry() { return registry_; }
  const SessionOptions& options() const { return options_; }
  c10::Device device() const { return device_; }

  /// The prior for images of this kind and pixel size, in the session's precision. Throws Error: kUnavailable (no such name), kConfiguration (it is for other
  /// images), and what load_prior and in_precision throw.
  std::unique_ptr<Prior> prior(const TensorSpec& domain, IntensityUnit unit, double pixel_mm) const;

  /// The options of one slice: those of the user with the slice's own seed, its checkpoint, its share of the time that is left
  /// for it and the `n_left` - 1 after it, and what the slices before it learned of the device's memory.
  SamplerOptions sampler_options(std::int64_t slice_number, std::int64_t n_left = 1) const;

 private:
  SessionOptions options_;
  PluginRegistry registry_;
  c10::Device device_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// A warning for each plugin and each of their folders that was refused: an operator of the same name may take its place.
void warn_of_refused_plugins(const PluginRegistry& registry);

/// "cpu", "cuda" or "auto", which is CUDA where there is a device that works. Throws Error(kUnavailable) for CUDA without one. LibTorch then no longer takes TF32 for float32
/// by itself, as it does in convolutions unless told. Another device of LibTorch by its name, which the command line does not offer: operators of plugins work for it on the host.
c10::Device compute_device(const std::string& wanted);

/// "float32", "tf32", "bfloat16" or "auto": float32 on the CPU and on CUDA tf32, which adds next to nothing to a denoiser's error (core/README.md).
/// Throws Error(kUnavailable) for tf32 and bfloat16 on the CPU.
NetworkPrecision network_precision(const std::string& wanted, const c10::Device& device);

/// The prior with its network, if it has one, in that precision. Throws Error: as network_precision; kUsage when tf32 or bfloat16 is wanted of a prior without one.
std::unique_ptr<Prior> in_precision(std::unique_ptr<Prior> prior, const std::string& wanted, const c10::Device& device);

/// In which its network is evaluated; priors without one compute in float32.
NetworkPrecision precision_of(const Prior& prior);

/// The file of a prior: `name` itself when it looks like a file, otherwise NAME.safetensors in the folders of POSTREC_PRIOR_PATH or in
/// share/postrec/priors beside the program. Throws Error(kUnavailable) that lists the known names.
std::filesystem::path find_prior(const std::string& name);

/// Sets the number of threads of the whole process; 0 leaves one per core.
void set_threads(int n_threads);

}  // namespace postrec
