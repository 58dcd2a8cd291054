#include "postrec/host/plugin_registry.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <sstream>

#include "host_call.hpp"
#include "loaded_plugin.hpp"
#include "manifest.hpp"
#include "postrec/nearest_name.hpp"
#include "trust.hpp"

namespace fs = std::filesystem;

namespace postrec {
namespace {

bool is_manifest(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.size() > std::string(kManifestSuffix).size() && name.ends_with(kManifestSuffix);
}

/// The manifest beside NAME.so is NAME.postrec.json.
fs::path manifest_of(const fs::path& file) {
  return is_manifest(file) ? file : file.parent_path() / (file.stem().string() + kManifestSuffix);
}

/// In alphabetical order, so that the winner of a conflict does not depend on the file system.
std::vector<fs::path> manifests_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (is_manifest(entry->path())) found.push_back(entry->path());
  if (error)
    throw Error(ErrorKind::kNoInput, "cannot read the plugin folder '" + folder.string() + "': " + error.message(),
                "give a readable folder");
  std::sort(found.begin(), found.end());
  return found;
}

/// "1.0" fits when the major is ours and the minor not newer.
bool abi_fits(const std::string& abi) {
  unsigned major = 0, minor = 0;
  char dot = 0, rest = 0;
  std::istringstream text(abi);
  return (text >> major >> dot >> minor) && dot == '.' && !(text >> rest) && major == POSTREC_ABI_MAJOR && minor <= POSTREC_ABI_MINOR;
}

void check_fits(const PluginInfo& info) {
  if (!abi_fits(info.abi))
    throw Error(ErrorKind::kUnavailable, "plugin '" + info.id + "' is for ABI version " + info.abi,
                "this program has " + std::to_string(POSTREC_ABI_MAJOR) + "." + std::to_string(POSTREC_ABI_MINOR));
  if (!info.libtorch.empty() && info.libtorch != host_libtorch_version())
    throw Error(ErrorKind::kUnavailable, "plugin '" + info.id + "' was built with LibTorch " + info.libtorch,
                "rebuild it with " + host_libtorch_version() + ", which this program has");
}

}  // namespace

std::vector<fs::path> PluginSearch::default_folders(const std::vector<fs::path>& extra) {
  std::vector<fs::path> folders;
  for (const fs::path& folder : extra) folders.push_back(fs::absolute(folder));
  if (const char* variable = std::getenv("POSTREC_PLUGIN_PATH")) {
    std::istringstream parts(variable);
    for (std::string part; std::getline(parts, part, ':');)
      if (!part.empty()) folders.emplace_back(part);
  }
  folders.push_back((fs::read_symlink("/proc/self/exe").parent_path() / "../lib/postrec/plugins").lexically_normal());
  return folders;
}

struct PluginRegistry::Impl {
  struct State {
    std::unique_ptr<LoadedPlugin> loaded;
    std::string refusal;
  };

  std::vector<PluginInfo> infos;
  std::vector<PluginProblem> problems;
  std::map<std::string, std::size_t> index_of_operator;
  std::set<std::string> ids;
  std::shared_ptr<const PluginHooks> hooks;
  std::mutex mutex;
  std::vector<State> states;

  template <class Body>
  void reporting_problems(const fs::path& path, Body&& body) {
    try {
      body();
    } catch (const Error& e) {
      problems.push_back({path, e.what()});
    }
  }

  void add_folder(const fs::path& folder, const std::set<std::string>* allowed) {
    if (folder.is_relative())
      throw Error(ErrorKind::kConfiguration, "the plugin folder '" + folder.string() + "' is relative", "give an absolute path");
    check_trusted(folder);
    for (const fs::path& manifest : manifests_in(folder)) reporting_problems(manifest, [&] { add(manifest, allowed); });
  }

  void add(const fs::path& manifest, const std::set<std::string>* allowed) {
    check_trusted(manifest);
    const PluginInfo info = read_manifest(manifest);
    check_fits(info);
    check_trusted(info.library);
    if (allowed && !allowed->count(info.sha256))
      throw Error(ErrorKind::kUnavailable, "plugin '" + info.id + "' with sha256 " + info.sha256 + " is not in the allow file",
                  "add it there");
    refuse_duplicates(info);
    ids.insert(info.id);
    for (const std::string& name : info.operators) index_of_operator[name] = infos.size();
    infos.push_back(info);
    states.emplace_back();
  }

  void refuse_duplicates(const PluginInfo& info) const {
    if (ids.count(info.id))
      throw Error(ErrorKind::kUnavailable, "plugin '" + info.id + "' was already found elsewhere", "the first in search order is taken");
    for (const std::string& name : info.operators)
      if (const auto found = index_of_operator.find(name); found != index_of_operator.end())
        throw Error(ErrorKind::kUnavailable,
                    "plugin '" + info.id + "' offers the operator '" + name + "' of '" + infos[found->second].id + "'",
                    "the first in search order is taken");
  }

  std::size_t index_of(const std::string& operator_name) const {
    const auto found = index_of_operator.find(operator_name);
    if (found != index_of_operator.end()) return found->second;
    std::vector<std::string> known;
    for (const auto& [name, index] : index_of_operator) known.push_back(name);
    throw Error(ErrorKind::kUnavailable, "no plugin offers the operator '" + operator_name + "'", nearest_hint(operator_name, known));
  }

  const LoadedPlugin& load(std::size_t index) {
    const std::lock_guard<std::mutex> lock(mutex);
    State& state = states[index];
    if (!state.loaded && state.refusal.empty()) {
      try {
        state.loaded = std::make_unique<LoadedPlugin>(infos[index], hooks);
      } catch (const Error& e) {
        state.refusal = e.what();
        problems.push_back({infos[index].library, state.refusal});
      }
    }
    if (!state.loaded) throw Error(ErrorKind::kUnavailable, "plugin '" + infos[index].library.string() + "' is refused: " + state.refusal);
    return *state.loaded;
  }
};

PluginRegistry::PluginRegistry(const PluginSearch& search) : impl_(std::make_unique<Impl>()) {
  impl_->hooks = std::make_shared<const PluginHooks>(search.hooks);
  std::set<std::string> allow_list;
  if (!search.allow_file.empty()) allow_list = read_allow_file(search.allow_file);
  const std::set<std::string>* allowed = search.allow_file.empty() ? nullptr : &allow_list;
  for (const fs::path& file : search.files) {
    const fs::path manifest = manifest_of(fs::absolute(file));
    impl_->reporting_problems(manifest, [&] {
      check_trusted(manifest.parent_path());
      impl_->add(manifest, allowed);
    });
  }
  for (const fs::path& folder : search.folders) impl_->reporting_problems(folder, [&] { impl_->add_folder(folder, allowed); });
}

PluginRegistry::~PluginRegistry() = default;

const std::vector<PluginInfo>& PluginRegistry::plugins() const { return impl_->infos; }

const std::vector<PluginProblem>& PluginRegistry::problems() const { return impl_->problems; }

const PluginInfo& PluginRegistry::plugin_of(const std::string& operator_name) const { return impl_->infos[impl_->index_of(operator_name)]; }

const OperatorType& PluginRegistry::operator_type(const std::string& operator_name) {
  // The library offers what its manifest says: LoadedPlugin checked that.
  return *impl_->load(impl_->index_of(operator_name)).find(operator_name);
}

std::shared_ptr<const Operator> PluginRegistry::make(const std::string& operator_name, const Parameters& parameters) {
  return operator_type(operator_name).make(parameters);
}

}  // namespace postrec
