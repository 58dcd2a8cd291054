#include "options/options.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>

#include "cli/console.hpp"
#include "cli/wrapped_text.hpp"
#include "options/noise_options.hpp"
#include "options/projection_options.hpp"
#include "postrec/nearest_name.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;

constexpr unsigned kHelpWidth = 100;
constexpr const char* kOperand = "operand";

/// Boost's errors as ours: what was wrong, and the nearest known option.
[[noreturn]] void throw_option_error(const po::error& error, ErrorKind kind, const std::string& where, const std::vector<std::string>& known,
                                     const std::string& command) {
  const std::string help = "see postrec " + command + " --help";
  if (const auto* unknown = dynamic_cast<const po::unknown_option*>(&error)) {
    const std::string name = unknown->get_option_name();
    const std::string bare = name.substr(std::min(name.find_first_not_of('-'), name.size()));
    const std::string near = nearest_name(bare, known);
    throw Error(kind, where + "unknown option '" + name + "'", near.empty() ? help : "did you mean '--" + near + "'?");
  }
  throw Error(kind, where + error.what(), help);
}

std::pair<std::string, std::string> key_value(const std::string& option, const std::string& text) {
  const auto equals = text.find('=');
  if (equals == 0 || equals == std::string::npos) throw Error(ErrorKind::kUsage, "--" + option + " '" + text + "' is not a setting", "write --" + option + " key=value");
  return {text.substr(0, equals), text.substr(equals + 1)};
}

void require_each_key_once(const std::vector<po::option>& typed) {
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& option : typed) {
    if ((option.string_key != "set" && option.string_key != "sampler-set") || option.value.empty()) continue;
    const std::string key = key_value(option.string_key, option.value.front()).first;
    if (!seen.emplace(option.string_key, key).second) throw Error(ErrorKind::kUsage, "--" + option.string_key + " " + key + " is given twice", "say it once");
  }
}

/// Boost reads "-1" as the largest of the numbers without a sign.
void require_no_sign(const std::vector<po::option>& options) {
  for (const auto& option : options)
    if (option.string_key == "seed" && !option.value.empty() && option.value.front().rfind("-", 0) == 0)
      throw Error(ErrorKind::kUsage, "--seed is " + option.value.front(), "it must be 0 or above");
}

double positive(const CommandOptions& options, const std::string& name) {
  const double value = options.get<double>(name);
  if (!(value > 0) || !std::isfinite(value)) throw Error(ErrorKind::kUsage, "--" + name + " is " + std::to_string(value), "it must be a positive number");
  return value;
}

/// The options of a group as data. Boost shows names as "-q [ --quiet ]" and values as "NAME (=standard)".
OptionSection section_of(const std::string& title, const po::options_description& group, const std::string& more = {}) {
  OptionSection section = {title, {}, more};
  for (const auto& option : group.options()) {
    OptionText& text = section.options.emplace_back();
    text.name = option->long_name();
    text.help = option->description();
    if (const std::string shown = option->format_name(); shown.find(" [ ") == 2) text.letter = shown[1];
    if (option->semantic()->max_tokens() == 0) continue;
    text.value = option->format_parameter();
    if (const auto standard = text.value.find(" (="); standard != std::string::npos) {
      text.standard = text.value.substr(standard + 3, text.value.size() - standard - 4);
      text.value.resize(standard);
    }
  }
  return section;
}

}  // namespace

CommandOptions::CommandOptions(std::string command, std::string operands, std::size_t min_operands, std::size_t max_operands, std::string purpose,
                               std::string example)
    : command_(std::move(command)), operands_(std::move(operands)), min_operands_(min_operands), max_operands_(max_operands),
      purpose_(std::move(purpose)), example_(std::move(example)), visible_("Options", kHelpWidth, kHelpWidth / 2) {}

po::options_description_easy_init CommandOptions::add_group(const std::string& title, const std::string& option, const std::string& value) {
  groups_.push_back({option, value, po::options_description(title, kHelpWidth, kHelpWidth / 2)});
  return groups_.back().options.add_options();
}

po::options_description_easy_init CommandOptions::add_topic(const std::string& name, const std::string& title, std::string more) {
  visible_.add_options()(("help-" + name).c_str(), ("more options: " + title).c_str());
  topics_.push_back({name, title, po::options_description("Options of " + title, kHelpWidth, kHelpWidth / 2), std::move(more)});
  return topics_.back().options.add_options();
}

po::options_description CommandOptions::known_options() const {
  po::options_description all;
  all.add(visible_);
  for (const Group& group : groups_) all.add(group.options);
  for (const Topic& topic : topics_) all.add(topic.options);
  return all;
}

std::vector<std::string> CommandOptions::option_names() const {
  std::vector<std::string> names;
  const po::options_description known = known_options();
  for (const auto& option : known.options()) names.push_back(option->long_name());
  return names;
}

std::string CommandOptions::help() const {
  std::ostringstream text;
  text << "Usage: postrec " << command_ << (operands_.empty() ? "" : " ") << operands_ << " [options]\n" << wrapped(purpose_, kHelpWidth) << "\n\n";
  for (const Group& group : groups_)
    if (get<std::string>(group.option) == group.value) {
      text << group.options << "\nAll other options: postrec " << command_ << " --help\n";
      return text.str();
    }
  text << visible_;
  for (const Group& group : groups_)
    text << "  More with --" << group.option << " " << group.value << ": postrec " << command_ << " --" << group.option << " " << group.value << " --help\n";
  text << "\nExample:\n" << wrapped_command(example_, kHelpWidth) << "\n";
  return text.str();
}

CommandText CommandOptions::text() const {
  CommandText text = {command_, operands_, purpose_, example_, {section_of("", visible_)}};
  for (const Group& group : groups_) text.sections.push_back(section_of("With --" + group.option + " " + group.value, group.options));
  for (const Topic& topic : topics_) text.sections.push_back(section_of(topic.title, topic.options, topic.more));
  return text;
}

bool CommandOptions::print_topic() const {
  for (const Topic& topic : topics_)
    if (has("help-" + topic.name)) {
      std::cout << topic.options << wrapped(topic.more, kHelpWidth) << "\nAll other options: postrec " << command_ << " --help\n";
      return true;
    }
  return false;
}

void CommandOptions::require_group(const std::string& option, const std::string& value) const {
  for (const Group& group : groups_) {
    if (group.option != option || group.value != value || get<std::string>(option) == value) continue;
    for (const auto& one : group.options.options())
      if (is_given(one->long_name())) throw Error(ErrorKind::kUsage, "--" + one->long_name() + " has no meaning without --" + option + " " + value, "give both or none");
  }
}

void CommandOptions::refuse_given(const std::vector<std::string>& options, const std::string& when) const {
  for (const auto& name : options)
    if (is_given(name)) throw Error(ErrorKind::kUsage, "--" + name + " is given " + when, "it has no meaning there; leave it out");
}

void CommandOptions::refuse_all_but(const std::vector<std::string>& options, const std::string& when) const {
  for (const auto& [name, value] : values_) {
    const bool common = name == "config" || name == "quiet" || name == "log-format" || name == kOperand;
    if (!common && std::find(options.begin(), options.end(), name) == options.end()) refuse_given({name}, when);
  }
}

bool CommandOptions::parse(const std::vector<std::string>& arguments) {
  parse_command_line(arguments);
  if (has("help")) {
    if (auto* texts = command_text_collector()) {
      texts->push_back(text());
    } else {
      std::cout << help();
    }
    return false;
  }
  if (print_topic()) return false;
  if (has("config")) parse_config_file(get<std::string>("config"));
  console().quiet = get<bool>("quiet");
  console().format = choice("log-format", {"text", "json"}) == "json" ? LogFormat::kJson : LogFormat::kText;
  require_operands();
  return true;
}

void CommandOptions::parse_command_line(const std::vector<std::string>& arguments) {
  po::options_description all;
  all.add(known_options()).add_options()(kOperand, po::value<std::vector<std::string>>(&operand_values_));
  po::positional_options_description positions;
  positions.add(kOperand, -1);
  try {
    using namespace po::command_line_style;
    // Abbreviated options are not guessed: a script that uses one would change its meaning when an option is added.
    const po::parsed_options parsed =
        po::command_line_parser(arguments).options(all).positional(positions).style(unix_style & ~allow_guessing).run();
    require_each_key_once(parsed.options);
    require_no_sign(parsed.options);
    po::store(parsed, values_);
    po::notify(values_);
  } catch (const po::error& error) {
    throw_option_error(error, ErrorKind::kUsage, "", option_names(), command_);
  }
}

void CommandOptions::parse_config_file(const std::string& path) {
  std::ifstream file(path);
  std::error_code failure;
  if (!file || std::filesystem::is_directory(path, failure)) throw Error(ErrorKind::kNoInput, "cannot open --config '" + path + "'", "give a file of option = value lines");
  try {
    const po::options_description known = known_options();  // to which `parsed` points
    const po::parsed_options parsed = po::parse_config_file(file, known);
    require_each_key_once(parsed.options);
    require_no_sign(parsed.options);
    for (const auto& option : parsed.options)
      if (option.string_key == "config" || option.string_key.rfind("help", 0) == 0)
        throw Error(ErrorKind::kConfiguration, "'" + path + "': '" + option.string_key + "' stands in a config file", "say it on the command line");
    po::store(parsed, values_);
  } catch (const po::error& error) {
    throw_option_error(error, ErrorKind::kConfiguration, "'" + path + "': ", option_names(), command_);
  }
}

void CommandOptions::require_operands() const {
  const std::size_t n = operand_values_.size();
  const std::string help = "see postrec " + command_ + " --help";
  if (n < min_operands_) throw Error(ErrorKind::kUsage, "postrec " + command_ + " needs " + operands_, help);
  if (n > max_operands_) throw Error(ErrorKind::kUsage, "postrec " + command_ + ": '" + operand_values_[max_operands_] + "' is one word too many", help);
  if (std::find(operand_values_.begin(), operand_values_.end(), "") != operand_values_.end())
    throw Error(ErrorKind::kUsage, "postrec " + command_ + ": an empty " + operands_ + " is given", help);
}

std::string CommandOptions::choice(const std::string& option, const std::vector<std::string>& choices) const {
  const auto value = get<std::string>(option);
  if (std::find(choices.begin(), choices.end(), value) == choices.end())
    throw Error(ErrorKind::kUsage, "--" + option + " '" + value + "' is not known", "it must be " + joined(choices, " or "));
  return value;
}

void add_plugin_options(CommandOptions& options) {
  options.add()("plugin-dir", po::value<std::vector<std::string>>()->composing()->value_name("DIR"), "also look for plugins here (repeatable)")  //
      ("plugin-allow", po::value<std::string>()->value_name("FILE"), "only plugins whose sha256 stands in this file");
}

std::vector<std::pair<std::string, std::string>> settings_of(const CommandOptions& options, const std::string& option) {
  std::vector<std::pair<std::string, std::string>> settings;
  std::set<std::string> seen;
  if (!options.has(option)) return settings;
  for (const auto& text : options.get<std::vector<std::string>>(option)) {
    const auto setting = key_value(option, text);
    if (seen.insert(setting.first).second) settings.push_back(setting);
  }
  return settings;
}

PluginSearch plugin_search(const CommandOptions& options) {
  std::vector<std::filesystem::path> extra;
  if (options.has("plugin-dir"))
    for (const auto& folder : options.get<std::vector<std::string>>("plugin-dir")) extra.emplace_back(folder);
  PluginSearch search;
  search.folders = PluginSearch::default_folders(extra);
  // Once, for a plugin may say it at each call. Of an interrupt plugins are not told: the program stops between levels and keeps what is finished.
  const auto said = std::make_shared<std::set<std::string>>();
  const auto mutex = std::make_shared<std::mutex>();
  search.hooks.log = [said, mutex](int level, const std::string& text) {
    const std::lock_guard lock(*mutex);
    if (level < 1 || !said->insert(text).second) return;
    level > 1 ? console().warning("a plugin says: " + text) : console().information("a plugin says: " + text);
  };
  if (options.has("plugin-allow")) search.allow_file = options.get<std::string>("plugin-allow");
  return search;
}

void add_code_option(CommandOptions& options) {
  options.add()("allow-code", po::bool_switch(), "allow a prior that is a program (TorchScript): only from who you trust");
}

CodePolicy code_policy(const CommandOptions& options) { return options.get<bool>("allow-code") ? CodePolicy::kAllow : CodePolicy::kRefuse; }

void add_device_option(po::options_description_easy_init options) {
  options("device", po::value<std::string>()->default_value("auto")->value_name("DEVICE"), "cpu, cuda or auto");
}

std::string wanted_device(const CommandOptions& options) { return options.choice("device", {"auto", "cpu", "cuda"}); }

void add_precision_option(po::options_description_easy_init options) {
  options("precision", po::value<std::string>()->default_value("auto")->value_name("NAME"), "of a prior's network: auto, float32; on CUDA tf32, bfloat16");
}

std::string wanted_precision(const CommandOptions& options) { return options.choice("precision", {"auto", "float32", "tf32", "bfloat16"}); }

void add_measurement_options(CommandOptions& options) {
  options.add()("operator", po::value<std::string>()->value_name("NAME"), "how it was measured; see postrec plugins list")                  //
      ("set", po::value<std::vector<std::string>>()->composing()->value_name("KEY=VALUE"), "a parameter of the operator (repeatable)")      //
      ("slice", po::value<std::int64_t>()->value_name("K"), "only this slice, counted from 0")                                            //
      ("unit", po::value<std::string>()->default_value("auto")->value_name("UNIT"), "of the intensities: auto, hu or arbitrary")            //
      ("sigma-y", po::value<double>()->value_name("X"), "noise, in the unit of the measurement; of raw k-space that of one average")                                           //
      ("noise", po::value<double>()->value_name("X"), "to simulate: noise over reference intensity")                                       //
      ("phase", po::value<std::string>()->default_value("zero")->value_name("KIND"), "to simulate complex images: zero or smooth")          //
      ("simulate-coils", po::value<std::int64_t>()->default_value(0)->value_name("N"), "to simulate: N synthetic receive coils");
  add_noise_options(options);
}

CaseOptions case_options(const CommandOptions& options, bool simulate) {
  CaseOptions result;
  result.input = options.operands().front();
  result.simulate = simulate;
  if (options.has("operator")) result.operator_name = options.get<std::string>("operator");
  result.settings = settings_of(options, "set");
  if (options.has("slice")) result.slice = options.get<std::int64_t>("slice");
  const std::string unit = options.choice("unit", {"auto", "hu", "arbitrary"});
  if (unit != "auto") result.unit = unit == "hu" ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;
  if (options.has("sigma-y")) result.sigma_y = positive(options, "sigma-y");
  if (options.has("noise")) result.noise = positive(options, "noise");
  result.smooth_phase = options.choice("phase", {"zero", "smooth"}) == "smooth";
  result.simulate_coils = options.get<std::int64_t>("simulate-coils");
  if (result.simulate_coils < 0 || result.simulate_coils > 1024)
    throw Error(ErrorKind::kUsage, "--simulate-coils is " + std::to_string(result.simulate_coils), "it must be 0 to 1024");
  result.noise_model = noise_options(options);
  result.projections = projection_options(options);
  result.seed = options.get<std::uint64_t>("seed");
  return result;
}

void add_run_options(CommandOptions& options) {
  options.add()("seed", po::value<std::uint64_t>()->default_value(0)->value_name("N"), "of all random numbers")  //
      ("threads", po::value<int>()->default_value(0)->value_name("N"), "0: as OMP_NUM_THREADS says, else one per core");
}

void apply_threads(const CommandOptions& options) {
  const int threads = options.get<int>("threads");
  if (threads < 0 || threads > 4096) throw Error(ErrorKind::kUsage, "--threads is " + std::to_string(threads), "it must be 0 to 4096");
  set_threads(threads);
}

void add_output_options(CommandOptions& options) {
  options.add()("output", po::value<std::string>()->value_name("DIR"), "where the result goes (required)")  //
      ("on-existing", po::value<std::string>()->default_value("fail")->value_name("HOW"), "when it exists: fail or overwrite");
}

void add_on_existing_option(CommandOptions& options, const std::string& of) {
  options.add()("on-existing", po::value<std::string>()->default_value("fail")->value_name("HOW"), ("when " + of + " exists: fail or overwrite").c_str());
}

void require_new_file(const CommandOptions& options, const std::string& option) {
  namespace fs = std::filesystem;
  const bool overwrite = options.choice("on-existing", {"fail", "overwrite"}) == "overwrite";
  const fs::path file = options.get<std::string>(option), parent = file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (!overwrite && fs::exists(file)) throw Error(ErrorKind::kCannotCreate, "--" + option + " '" + file.string() + "' exists", "give another name or --on-existing overwrite");
  if (!fs::is_directory(parent)) throw Error(ErrorKind::kCannotCreate, "there is no folder '" + parent.string() + "' for --" + option, "make it first");
}

OutputFolder required_output(const CommandOptions& options, const std::vector<std::filesystem::path>& inputs, const std::vector<std::string>& marker_files,
                             bool replaceable) {
  if (!options.has("output")) throw Error(ErrorKind::kUsage, "--output is missing", "give the name of a folder to write");
  const bool overwrite = options.choice("on-existing", {"fail", "overwrite"}) == "overwrite" || replaceable;
  return OutputFolder(options.get<std::string>("output"), overwrite ? OnExisting::kOverwrite : OnExisting::kFail, inputs, marker_files);
}

void add_common_options(CommandOptions& options) {
  options.add()("config", po::value<std::string>()->value_name("FILE"), "more options, one `option = value` a line")                          //
      ("quiet,q", po::bool_switch(), "no progress and no summary; what a command is to print stays")                                                                         //
      ("log-format", po::value<std::string>()->default_value("text")->value_name("FORMAT"), "of results and messages: text or json")       //
      ("help,h", "show this help");
}

}  // namespace postrec
