#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "case/operator_parameters.hpp"
#include "cli/console.hpp"
#include "commands/commands.hpp"
#include "options/options.hpp"
#include "postrec/conformance.hpp"
#include "postrec/nearest_name.hpp"
#include "run/session.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

CommandOptions declared_options() {
  CommandOptions options("plugins", "list | describe OPERATOR | check OPERATOR|LIBRARY", 1, 2,
                         "list: the plugins and what was refused. describe: the devices and parameters of an operator.\n"
                         "check: the laws that every operator keeps, on one or on all of a library (exit code 69 when one is broken).",
                         "postrec plugins check mri-fourier");
  options.add()("set", boost::program_options::value<std::vector<std::string>>()->composing()->value_name("KEY=VALUE"),
                "check: a parameter that the operator needs (repeatable)")
      ("device", boost::program_options::value<std::string>()->default_value("auto")->value_name("DEVICE"),
       "check: cpu, cuda or auto, every device that the operator names and that is here");
  add_plugin_options(options);
  add_common_options(options);
  return options;
}

void print_json(const ordered_json& value) { std::cout << value.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << "\n"; }

ordered_json info_json(const PluginInfo& plugin) {
  return {{"id", plugin.id},   {"version", plugin.version}, {"operators", plugin.operators}, {"licence", plugin.licence},
          {"abi", plugin.abi}, {"libtorch", plugin.libtorch}, {"sha256", plugin.sha256},     {"library", plugin.library.string()}};
}

int list(const PluginRegistry& registry) {
  if (console().json()) {
    ordered_json plugins = ordered_json::array(), problems = ordered_json::array();
    for (const auto& plugin : registry.plugins()) plugins.push_back(info_json(plugin));
    for (const auto& problem : registry.problems()) problems.push_back({{"path", problem.path.string()}, {"reason", problem.reason}});
    print_json({{"plugins", plugins}, {"problems", problems}});
    return 0;
  }
  for (const auto& plugin : registry.plugins())
    std::cout << joined(plugin.operators, ", ") << "\n    " << plugin.id << " " << plugin.version << ", " << plugin.licence << ", abi " << plugin.abi
              << (plugin.libtorch.empty() ? "" : ", LibTorch " + plugin.libtorch) << "\n    " << plugin.library.string() << "\n    sha256 " << plugin.sha256 << "\n";
  if (registry.plugins().empty()) std::cout << "no plugin was found\n";
  for (const auto& problem : registry.problems()) console().warning("refused '" + problem.path.string() + "': " + problem.reason);
  return 0;
}

const char* type_name(ParameterType type) {
  switch (type) {
    case ParameterType::kBoolean: return "true or false";
    case ParameterType::kInteger: return "integer";
    case ParameterType::kReal: return "number";
    case ParameterType::kText: return "text";
    case ParameterType::kChoice: return "choice";
    case ParameterType::kRealList: return "numbers";
    case ParameterType::kTensor: return "file";
  }
  return "";
}

/// "[0, 1]", "at least 0", "full, random": what a value may be.
std::string range_text(const ParameterSpec& spec) {
  const auto number = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return std::string(text);
  };
  if (!spec.choices.empty()) return joined(spec.choices, ", ");
  if (spec.minimum && spec.maximum) return number(*spec.minimum) + " to " + number(*spec.maximum);
  if (spec.minimum) return "at least " + number(*spec.minimum);
  if (spec.maximum) return "at most " + number(*spec.maximum);
  return "";
}

bool is_scan_parameter(const std::string& key) { return std::find(kScanParameters.begin(), kScanParameters.end(), key) != kScanParameters.end(); }

ordered_json parameter_json(const ParameterSpec& spec) {
  return {{"key", spec.key},           {"type", type_name(spec.type)},  {"unit", spec.unit},
          {"default", spec.default_text}, {"required", spec.required},   {"range", range_text(spec)},
          {"from_scan", is_scan_parameter(spec.key)}, {"help", spec.help}};
}

void print_parameter(const ParameterSpec& spec) {
  std::string facts = type_name(spec.type);
  if (!spec.unit.empty()) facts += " in " + spec.unit;
  if (const std::string range = range_text(spec); !range.empty()) facts += ", " + range;
  if (!spec.default_text.empty()) facts += ", default " + spec.default_text;
  if (is_scan_parameter(spec.key)) {
    facts += ", filled from the scan or the data";
  } else if (spec.required) {
    facts += ", required";
  }
  std::cout << "  " << spec.key << "  (" << facts << ")\n      " << spec.help << "\n";
}

/// Of the devices that an operator may name, those where this one works.
std::vector<std::string> device_names(const DeviceSupport& devices) {
  std::vector<std::string> names;
  if (devices.cpu) names.emplace_back("cpu");
  if (devices.cuda) names.emplace_back("cuda");
  return names;
}

int describe(PluginRegistry& registry, const std::string& name) {
  const OperatorType& type = registry.operator_type(name);
  const PluginInfo& plugin = registry.plugin_of(name);
  const std::vector<std::string> devices = device_names(type.devices);
  if (console().json()) {
    ordered_json parameters = ordered_json::array();
    for (const auto& spec : type.parameters) parameters.push_back(parameter_json(spec));
    print_json({{"operator", type.name}, {"summary", type.summary}, {"plugin", info_json(plugin)}, {"devices", devices}, {"parameters", parameters}});
    return 0;
  }
  std::cout << type.name << ": " << type.summary << "\nfrom plugin " << plugin.id << " " << plugin.version << "\nworks on " << joined(devices, " and ") << "\n\nParameters, each set by --set key=value:\n";
  for (const auto& spec : type.parameters) print_parameter(spec);
  return 0;
}

ordered_json law_json(const LawResult& law) {
  return {{"law", law.law}, {"applies", law.applies}, {"passed", law.passed}, {"error", law.error}, {"tolerance", law.tolerance}, {"detail", law.detail}};
}

void print_law(const LawResult& law) {
  std::printf("  %-7s %-22s %10.3g  (at most %.3g)  %s\n", !law.applies ? "n/a" : law.passed ? "ok" : "BROKEN", law.law.c_str(), law.error, law.tolerance,
              law.detail.c_str());
}

struct CheckRequest {
  std::vector<std::pair<std::string, std::string>> settings;
  std::string device;                          ///< cpu, cuda, auto
};

/// Where `type` is checked; nowhere when it does not work on the device that was asked for.
DevicesToCheck chosen_devices(const OperatorType& type, const std::string& wanted) {
  DevicesToCheck devices = devices_to_check(type);
  if (wanted == "auto") return devices;
  std::erase_if(devices.here, [&](at::Device device) { return device.type() != at::Device(wanted).type(); });
  devices.missing.clear();
  return devices;
}

std::vector<std::string> names_of(const std::vector<at::Device>& devices) {
  std::vector<std::string> names;
  for (const at::Device& device : devices) names.push_back(device.str());
  return names;
}

void print_devices(const DevicesToCheck& devices) {
  std::printf("  checked on %s", joined(names_of(devices.here), " and ").c_str());
  for (const auto& name : devices.missing) std::printf("; %s: not checked, no such device here", name.c_str());
  std::printf("\n");
}

/// True when every law that applies holds.
bool check_one(PluginRegistry& registry, const std::string& name, const CheckRequest& request) {
  const OperatorType& type = registry.operator_type(name);
  const DevicesToCheck devices = chosen_devices(type, request.device);
  if (devices.here.empty() && request.device != "auto")
    throw Error(ErrorKind::kUnavailable, "operator '" + name + "' does not work on " + request.device, "leave --device out: it is checked where it works");
  Parameters base;
  apply_settings(base, type, request.settings);
  const auto laws = check_operator_type(type, base, devices.here);
  const bool passed = !laws.empty() && std::all_of(laws.begin(), laws.end(), [](const LawResult& law) { return law.passed || !law.applies; });
  if (console().json()) {
    ordered_json results = ordered_json::array();
    for (const auto& law : laws) results.push_back(law_json(law));
    print_json({{"operator", name}, {"passed", passed}, {"devices", names_of(devices.here)}, {"devices_not_here", devices.missing}, {"laws", results}});
  } else {
    std::printf("%s: %s\n", name.c_str(), passed ? "keeps every law" : "BREAKS a law");
    print_devices(devices);
    for (const auto& law : laws) print_law(law);
    std::fflush(stdout);
  }
  return passed;
}

/// The operators of the one plugin that the registry was given, by its library or manifest.
std::vector<std::string> operators_of_file(const PluginRegistry& registry, const fs::path& file) {
  if (!registry.plugins().empty()) return registry.plugins().front().operators;
  const PluginProblem& problem = registry.problems().front();
  if (fs::exists(problem.path)) throw Error(ErrorKind::kUnavailable, "'" + file.string() + "' was refused: " + problem.reason);
  throw Error(ErrorKind::kUnavailable, "there is no plugin manifest beside '" + file.string() + "'", "build the plugin with postrec_add_plugin(), which writes it");
}

int check(const PluginSearch& search, const std::string& what, const CheckRequest& request) {
  const bool is_file = what.find('/') != std::string::npos || fs::path(what).extension() == ".so" || fs::path(what).extension() == ".json";
  if (is_file && !fs::exists(what)) throw Error(ErrorKind::kNoInput, "there is no file '" + what + "'", "give the library of a plugin, or the name of an operator");
  PluginSearch where = search;
  if (is_file) where.files = {what}, where.folders.clear();
  PluginRegistry registry(where);
  compute_device(request.device);  // it must be here; and float32 is to be float32
  std::vector<std::string> names = is_file ? operators_of_file(registry, what) : std::vector<std::string>{what}, broken;
  // What works on no device here ends the command, so the others come first.
  std::stable_partition(names.begin(), names.end(),
                        [&](const auto& name) { return !chosen_devices(registry.operator_type(name), request.device).here.empty(); });
  for (const auto& name : names)
    if (!check_one(registry, name, request)) broken.push_back(name);
  if (!broken.empty()) throw Error(ErrorKind::kUnavailable, "operator " + joined(broken, ", ") + " breaks a law", "see the table");
  return 0;
}

void require_words(const CommandOptions& options, std::size_t n, const std::string& usage) {
  if (options.operands().size() != n) throw Error(ErrorKind::kUsage, "postrec plugins " + options.operands().front() + " takes other words", usage);
}

}  // namespace

int run_plugins(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  const auto& words = options.operands();
  const PluginSearch search = plugin_search(options);
  if (words[0] == "list") {
    require_words(options, 1, "write postrec plugins list");
    return list(PluginRegistry(search));
  }
  if (words[0] == "describe") {
    require_words(options, 2, "write postrec plugins describe OPERATOR");
    PluginRegistry registry(search);
    return describe(registry, words[1]);
  }
  if (words[0] == "check") {
    require_words(options, 2, "write postrec plugins check OPERATOR or LIBRARY");
    return check(search, words[1], {settings_of(options, "set"), wanted_device(options)});
  }
  throw Error(ErrorKind::kUsage, "postrec plugins '" + words[0] + "' is not known", nearest_hint(words[0], {"list", "describe", "check"}));
}

}  // namespace postrec
