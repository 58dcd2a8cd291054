#include "loaded_plugin.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "dynamic_library.hpp"
#include "host_call.hpp"
#include "manifest.hpp"
#include "plugin_operator.hpp"
#include "postrec/sha256.hpp"

namespace postrec {
namespace {

constexpr std::size_t kMaximumCount = 1000;  // of operators, parameters or choices: more is a descriptor read wrongly

[[noreturn]] void refuse(const std::string& what, const std::string& hint) { throw Error(ErrorKind::kUnavailable, what, hint); }

std::string text_of(const char* text) { return text ? text : ""; }

/// The head that every struct of the boundary has.
template <class Struct>
void check_head(const Struct* object, std::uint32_t minimum_size, const std::string& what) {
  if (!object) refuse(what + " is null", "rebuild the plugin with postrec/abi.h");
  const std::uint32_t major = object->abi_version >> 16, minor = object->abi_version & 0xffff;
  if (major != POSTREC_ABI_MAJOR || minor > POSTREC_ABI_MINOR)
    refuse(what + " has ABI version " + std::to_string(major) + "." + std::to_string(minor),
           "this program takes " + std::to_string(POSTREC_ABI_MAJOR) + ".0 to " + std::to_string(POSTREC_ABI_MAJOR) + "." +
               std::to_string(POSTREC_ABI_MINOR));
  if (object->struct_size < minimum_size)
    refuse(what + " has " + std::to_string(object->struct_size) + " bytes", "version 1.0 has at least " + std::to_string(minimum_size));
}

template <class Pointer>
void check_array(const Pointer* array, std::size_t n, const std::string& what) {
  if (n > kMaximumCount) refuse(what + " number " + std::to_string(n), "at most " + std::to_string(kMaximumCount));
  if (n > 0 && !array) refuse(what + " are null", "rebuild the plugin with postrec/abi.h");
}

ParameterType parameter_type(std::int32_t code, const std::string& what) {
  switch (code) {
    case POSTREC_BOOLEAN: return ParameterType::kBoolean;
    case POSTREC_INTEGER: return ParameterType::kInteger;
    case POSTREC_REAL: return ParameterType::kReal;
    case POSTREC_TEXT: return ParameterType::kText;
    case POSTREC_CHOICE: return ParameterType::kChoice;
    case POSTREC_REAL_LIST: return ParameterType::kRealList;
    case POSTREC_TENSOR: return ParameterType::kTensor;
  }
  refuse(what + " has the unknown type " + std::to_string(code), "see postrec/abi.h");
}

ParameterSpec read_parameter(const postrec_parameter_spec* abi, const std::string& owner) {
  check_head(abi, POSTREC_PARAMETER_SPEC_SIZE_1_0, "a parameter of " + owner);
  ParameterSpec spec;
  spec.key = text_of(abi->key);
  const std::string what = "parameter '" + spec.key + "' of " + owner;
  if (!is_lower_hyphen(spec.key)) refuse(what + " has a bad key", "it must be lower-hyphen, as pixel-mm");
  spec.type = parameter_type(abi->type, what);
  spec.unit = text_of(abi->unit);
  spec.default_text = text_of(abi->default_text);
  spec.required = abi->required != 0;
  spec.help = text_of(abi->help);
  if (abi->has_minimum) spec.minimum = abi->minimum;
  if (abi->has_maximum) spec.maximum = abi->maximum;
  if (std::isnan(spec.minimum.value_or(0)) || std::isnan(spec.maximum.value_or(0)))
    refuse(what + " has a NaN in its range", "give a number");
  check_array(abi->choices, abi->n_choices, "the choices of " + what);
  for (std::size_t i = 0; i < abi->n_choices; ++i) spec.choices.push_back(text_of(abi->choices[i]));
  if (!spec.default_text.empty()) parse_parameter(spec, spec.default_text);  // throws when the default does not fit
  return spec;
}

void check_functions(const postrec_operator_type& abi, const std::string& what) {
  const std::pair<bool, const char*> functions[] = {{abi.create, "create"},   {abi.destroy, "destroy"},      {abi.traits, "traits"},
                                                    {abi.domain, "domain"},   {abi.codomain, "codomain"},    {abi.forward, "forward"},
                                                    {abi.adjoint, "adjoint"}, {abi.norm_bound, "norm_bound"}};
  for (const auto& [present, name] : functions)
    if (!present) refuse(what + " has no function '" + name + "'", "only normal, normal_solve and pseudo_inverse may be null");
}

OperatorType read_type(const postrec_operator_type* abi, const std::string& plugin, const std::shared_ptr<const PluginHooks>& hooks) {
  check_head(abi, POSTREC_OPERATOR_TYPE_SIZE_1_0, "an operator type of " + plugin);
  OperatorType type;
  type.name = text_of(abi->name);
  type.summary = text_of(abi->summary);
  const std::string what = "operator '" + type.name + "' of " + plugin;
  if (!is_lower_hyphen(type.name)) refuse(what + " has a bad name", "it must be lower-hyphen, as gaussian-blur");
  if (!(abi->devices & (POSTREC_DEVICE_CPU | POSTREC_DEVICE_CUDA))) refuse(what + " works on no known device", "set devices");
  type.devices = {.cpu = (abi->devices & POSTREC_DEVICE_CPU) != 0, .cuda = (abi->devices & POSTREC_DEVICE_CUDA) != 0};
  check_functions(*abi, what);
  check_array(abi->parameters, abi->n_parameters, "the parameters of " + what);
  std::set<std::string> keys;
  for (std::size_t i = 0; i < abi->n_parameters; ++i) {
    type.parameters.push_back(read_parameter(abi->parameters[i], what));
    if (!keys.insert(type.parameters.back().key).second)
      refuse(what + " declares '" + type.parameters.back().key + "' twice", "declare each parameter once");
  }
  // A copy of what was declared, because the type itself may be moved or copied by its owner.
  OperatorType declared = type;
  type.make = [abi, declared, hooks](const Parameters& given) -> std::unique_ptr<Operator> {
    return std::make_unique<PluginOperator>(*abi, declared, check_parameters(declared, given), hooks);
  };
  return type;
}

void compare(const std::string& member, const std::string& library, const std::string& manifest) {
  if (library != manifest)
    refuse("the library says " + member + " '" + library + "', its manifest '" + manifest + "'",
           "postrec_add_plugin() must be told the same");
}

const postrec_plugin* call_entry(const PluginInfo& info) {
  if (const std::string hash = sha256_file(info.library); hash != info.sha256)
    refuse("the library has sha256 " + hash + ", its manifest says " + info.sha256, "reinstall the plugin");
  const DynamicLibrary library(info.library);
  const auto entry = reinterpret_cast<postrec_plugin_entry>(library.symbol(POSTREC_PLUGIN_ENTRY));
  if (!entry)
    refuse("the library does not export " POSTREC_PLUGIN_ENTRY, "is it a plugin for ABI major " + std::to_string(POSTREC_ABI_MAJOR) + "?");
  const postrec_plugin* plugin = nullptr;
  run_plugin(POSTREC_PLUGIN_ENTRY, [&](postrec_error* error) { return entry(POSTREC_ABI_VERSION, &plugin, error); });
  return plugin;
}

}  // namespace

LoadedPlugin::LoadedPlugin(const PluginInfo& info, std::shared_ptr<const PluginHooks> hooks) {
  const postrec_plugin* plugin = call_entry(info);
  check_head(plugin, POSTREC_PLUGIN_SIZE_1_0, "the descriptor");
  compare("LibTorch", text_of(plugin->libtorch_version), info.libtorch);
  compare("id", text_of(plugin->id), info.id);
  compare("version", text_of(plugin->version), info.version);
  check_array(plugin->operator_types, plugin->n_operator_types, "the operator types");
  std::set<std::string> names;
  for (std::size_t i = 0; i < plugin->n_operator_types; ++i) {
    types_.push_back(read_type(plugin->operator_types[i], "plugin '" + info.id + "'", hooks));
    if (!names.insert(types_.back().name).second) refuse("operator '" + types_.back().name + "' is declared twice", "declare each once");
  }
  if (names != std::set<std::string>(info.operators.begin(), info.operators.end()))
    refuse("the library offers other operators than its manifest says", "postrec_add_plugin() must be told the same");
}

const OperatorType* LoadedPlugin::find(const std::string& operator_name) const {
  const auto found = std::find_if(types_.begin(), types_.end(), [&](const OperatorType& type) { return type.name == operator_name; });
  return found == types_.end() ? nullptr : &*found;
}

}  // namespace postrec
