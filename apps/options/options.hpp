#pragma once

#include <boost/program_options.hpp>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "case/case.hpp"
#include "options/command_text.hpp"
#include "run/output_folder.hpp"
#include "run/session.hpp"

namespace postrec {

/// The options of one sub-command: declared, parsed from the command line and a config file, shown as help that fits a screen.
///
/// A config file (--config) holds `option = value` lines and `#` comments; an option that repeats stands on several lines. What the command
/// line says wins. Every mistake is an Error(kUsage), in a config file an Error(kConfiguration), and names the nearest known option.
class CommandOptions {
 public:
  /// `operands`: how the help shows the words without a dash ("INPUT"); between `min_operands` and `max_operands` of them are wanted.
  CommandOptions(std::string command, std::string operands, std::size_t min_operands, std::size_t max_operands, std::string purpose,
                 std::string example);

  boost::program_options::options_description_easy_init add() { return visible_.add_options(); }

  /// A group of options that have a meaning only with `--option value`, and a help of their own: `postrec COMMAND --option value --help`.
  boost::program_options::options_description_easy_init add_group(const std::string& title, const std::string& option, const std::string& value);

  /// A group of options that has a help of its own, `postrec COMMAND --help-NAME`, so that the main one fits a screen. `more` is shown below them.
  boost::program_options::options_description_easy_init add_topic(const std::string& name, const std::string& title, std::string more);

  /// False when --help was asked for and printed, or collected (command_text.hpp). Also sets the console's format and quietness.
  bool parse(const std::vector<std::string>& arguments);

  bool has(const std::string& option) const { return values_.count(option) != 0; }
  /// Whether somebody gave it, on the command line or in the config file.
  bool is_given(const std::string& option) const { return has(option) && !values_[option].defaulted(); }
  /// Throws Error(kUsage) when an option of the group for `option value` is given although that is not.
  void require_group(const std::string& option, const std::string& value) const;
  /// Throws Error(kUsage) when one of `options` is given: "--NAME is given WHEN".
  void refuse_given(const std::vector<std::string>& options, const std::string& when) const;
  /// Throws Error(kUsage) when any other option is given, but --config, --quiet, --log-format.
  void refuse_all_but(const std::vector<std::string>& options, const std::string& when) const;
  template <class T>
  T get(const std::string& option) const {
    return values_[option].as<T>();
  }
  /// The value if it is one of `choices`, else Error(kUsage).
  std::string choice(const std::string& option, const std::vector<std::string>& choices) const;
  const std::vector<std::string>& operands() const { return operand_values_; }

 private:
  struct Group {
    std::string option;
    std::string value;
    boost::program_options::options_description options;
  };

  struct Topic {
    std::string name;
    std::string title;
    boost::program_options::options_description options;
    std::string more;
  };

  std::string help() const;
  CommandText text() const;
  bool print_topic() const;
  boost::program_options::options_description known_options() const;
  void parse_command_line(const std::vector<std::string>& arguments);
  void parse_config_file(const std::string& path);
  void require_operands() const;
  std::vector<std::string> option_names() const;

  std::string command_;
  std::string operands_;
  std::size_t min_operands_;
  std::size_t max_operands_;
  std::string purpose_;
  std::string example_;
  boost::program_options::options_description visible_;
  std::list<Group> groups_;
  std::list<Topic> topics_;
  boost::program_options::variables_map values_;
  std::vector<std::string> operand_values_;
};

/// Groups of options that several commands share, and what they say. Values are checked here, before any computing.
void add_plugin_options(CommandOptions& options);
PluginSearch plugin_search(const CommandOptions& options);

/// The key=value pairs of --set, or of another option like it. Values of the command line stand before those of the config file, so the first of a key wins.
std::vector<std::pair<std::string, std::string>> settings_of(const CommandOptions& options, const std::string& option);

/// --allow-code: whether a prior may be a program (TorchScript).
void add_code_option(CommandOptions& options);
CodePolicy code_policy(const CommandOptions& options);

/// --device: where to compute, for compute_device().
void add_device_option(boost::program_options::options_description_easy_init options);
std::string wanted_device(const CommandOptions& options);

/// --precision: in which numbers the network of a prior is evaluated. `options`: those of the command, or of a topic.
void add_precision_option(boost::program_options::options_description_easy_init options);
std::string wanted_precision(const CommandOptions& options);

/// How a case was measured, or is to be simulated.
void add_measurement_options(CommandOptions& options);
CaseOptions case_options(const CommandOptions& options, bool simulate);

/// --seed and --threads; the latter takes effect at once.
void add_run_options(CommandOptions& options);
void apply_threads(const CommandOptions& options);

/// --on-existing of an option that names a file.
void add_on_existing_option(CommandOptions& options, const std::string& of);
/// Before a long computation: the file that `option` names may be made, or be replaced with --on-existing overwrite. Throws Error(kCannotCreate).
void require_new_file(const CommandOptions& options, const std::string& option);

void add_output_options(CommandOptions& options);
/// The folder of --output, ready to be written into. What is there is replaced with --on-existing overwrite, or when `replaceable`.
OutputFolder required_output(const CommandOptions& options, const std::vector<std::filesystem::path>& inputs, const std::vector<std::string>& marker_files, bool replaceable = false);

/// --config, --quiet, --log-format, --help: every command has them.
void add_common_options(CommandOptions& options);

}  // namespace postrec
