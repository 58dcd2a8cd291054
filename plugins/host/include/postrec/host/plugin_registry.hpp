#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "postrec/operator.hpp"

namespace postrec {

/// What a manifest says of a plugin, before its library is loaded.
struct PluginInfo {
  std::string id;                              ///< reverse-domain: "org.postrec.mri-fourier"
  std::string version;
  std::string licence;
  std::string abi;                             ///< "1.0"
  std::string libtorch;                        ///< "2.11.0", or empty when the plugin does not use LibTorch
  std::string sha256;                          ///< of the library
  std::vector<std::string> operators;          ///< names
  std::filesystem::path library;
};

/// A plugin that was found and not taken, with the reason.
struct PluginProblem {
  std::filesystem::path path;
  std::string reason;
};

/// What plugins may call while they work, from any thread. Exceptions that these functions throw are dropped.
struct PluginHooks {
  std::function<void(int level, const std::string& text)> log;  ///< level 0 debug, 1 information, 2 warning; empty: silence
  std::function<bool()> cancelled;                              ///< true asks a long call to stop; empty: never
};

struct PluginSearch {
  std::vector<std::filesystem::path> files;    ///< single plugins, by library or manifest, before the folders
  std::vector<std::filesystem::path> folders;  ///< in order; see default_folders()
  std::filesystem::path allow_file;            ///< sha256 hashes, one a line; empty: every plugin is allowed
  PluginHooks hooks;

  /// --plugin-dir folders first, then POSTREC_PLUGIN_PATH (separated by colons, absolute), then the folder installed (or built) beside the
  /// program, ../lib/postrec/plugins. Never the working directory.
  static std::vector<std::filesystem::path> default_folders(const std::vector<std::filesystem::path>& extra);
};

/// Finds plugins by their manifests and loads their libraries on first use. Libraries are never unloaded.
///
/// The first plugin of an id, and the first of an operator name, wins; later ones are problems. What may be loaded: see host/README.md.
/// The members may be called from several threads; a reference that problems() gave is valid until the next library is loaded.
class PluginRegistry {
 public:
  /// Throws Error(kNoInput or kConfiguration) for an allow file that cannot be read. Whatever is wrong with a plugin is in problems().
  explicit PluginRegistry(const PluginSearch& search);
  ~PluginRegistry();

  const std::vector<PluginInfo>& plugins() const;
  const std::vector<PluginProblem>& problems() const;

  /// The plugin that offers an operator. Throws Error(kUnavailable) that names the nearest known operator.
  const PluginInfo& plugin_of(const std::string& operator_name) const;

  /// Name, summary and parameters; loads the library. `make` of the result makes plugin operators.
  /// Throws Error(kUnavailable) when the plugin is refused, with the reason.
  const OperatorType& operator_type(const std::string& operator_name);

  /// Checks the parameters (fills defaults, refuses unknown keys naming the nearest known one), then makes the operator.
  /// Throws Error: kUnavailable, kConfiguration, or what the plugin reported.
  std::shared_ptr<const Operator> make(const std::string& operator_name, const Parameters& parameters);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The value of `text` for a parameter. Tensor parameters are not parsed here: the caller loads their file.
/// Throws Error(kConfiguration) that names key, value, type and range.
ParameterValue parse_parameter(const ParameterSpec& spec, const std::string& text);

/// Fills defaults, checks types and ranges. Throws Error(kConfiguration); an unknown key is answered with the nearest known one.
Parameters check_parameters(const OperatorType& type, const Parameters& given);

}  // namespace postrec
