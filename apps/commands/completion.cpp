#include "commands/completion.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <sstream>

#include "commands/commands.hpp"

namespace postrec {
namespace {

/// The words that stand for themselves among operands: "list", "describe", "check" of "list | describe OPERATOR | check OPERATOR".
std::vector<std::string> plain_operands(const std::string& operands) {
  std::vector<std::string> words;
  std::istringstream stream(operands);
  bool first = true;                           // of an alternative
  for (std::string word; stream >> word; first = word == "|")
    if (first && std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::islower(c) || c == '-'; })) words.push_back(word);
  return words;
}

enum class ValueKind { kNone, kFile, kFolder, kOther };

ValueKind kind_of(const OptionText& option) {
  constexpr std::array kFiles = {"FILE", "X|FILE", "PRIOR", "IMAGE", "SCAN", "MODULE", "NAME=FILE"};
  if (option.value.empty()) return ValueKind::kNone;
  if (option.value.find("DIR") != std::string::npos) return ValueKind::kFolder;
  return std::find(kFiles.begin(), kFiles.end(), option.value) != kFiles.end() ? ValueKind::kFile : ValueKind::kOther;
}

std::string names_of(const CommandText& command, ValueKind kind, bool all = false) {
  std::string names;
  for (const OptionSection& section : command.sections)
    for (const OptionText& option : section.options)
      if (all || kind_of(option) == kind) names += (names.empty() ? "--" : " --") + option.name;
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// Names of all commands, and first words of `command`.
std::string command_names() {
  std::string names;
  for (const auto& command : commands()) names += (names.empty() ? "" : " ") + std::string(command.name);
  return names;
}

std::vector<std::string> topics_of_help() {
  std::vector<std::string> topics = {"exit-codes"};
  for (const auto& command : commands()) topics.emplace_back(command.name);
  return topics;
}

/// Text between single quotes of a shell.
std::string in_quotes(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return "'" + result + "'";
}

/// Text inside the brackets of _arguments.
std::string in_brackets(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

std::string zsh_arguments(const CommandText& command) {
  std::string text = "_arguments -s";
  for (const OptionSection& section : command.sections)
    for (const OptionText& option : section.options) {
      std::string spec = "--" + option.name + (option.value.empty() ? "" : "=") + "[" + in_brackets(option.help) + "]";
      if (!option.value.empty()) {
        const ValueKind kind = kind_of(option);
        spec += ":" + in_brackets(option.value) + ":" + (kind == ValueKind::kFile ? "_files" : kind == ValueKind::kFolder ? "_files -/" : " ");
      }
      text += " \\\n        " + in_quotes("*" + spec);
      if (option.letter) text += " \\\n        " + in_quotes("-" + std::string(1, option.letter) + "[" + in_brackets(option.help) + "]");
    }
  const auto words = plain_operands(command.operands);
  if (!words.empty()) text += " \\\n        " + in_quotes("1:word:(" + joined(words) + ")");
  return text + " \\\n        '*:file:_files'\n";
}

/// Sub-commands are two words of the command line.
std::string pattern_of(const CommandText& command) { return "'" + command.name + "'"; }

std::string first_words(const Command& command) {
  std::vector<std::string> words(command.words.begin(), command.words.end());
  return joined(words);
}

}  // namespace

std::string bash_completion(const std::vector<CommandText>& texts) {
  std::string script = "# Completion of postrec for bash. Made by: postrec help --completion bash\n"
                       "_postrec() {\n"
                       "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} name=${COMP_WORDS[1]} options= files= folders= others= words= value\n"
                       "  # bash breaks words at =, so --prior=x are three of them\n"
                       "  [[ $current == '=' ]] && current=\n"
                       "  [[ $previous == '=' ]] && previous=${COMP_WORDS[COMP_CWORD-2]}\n"
                       "  COMPREPLY=()\n"
                       "  if (( COMP_CWORD == 1 )); then\n"
                       "    COMPREPLY=($(compgen -W '" + command_names() + " --help --version' -- \"$current\"))\n"
                       "    return\n"
                       "  fi\n"
                       "  case $name in\n";
  for (const auto& command : commands()) {
    if (command.words.empty()) continue;
    script += "    " + std::string(command.name) + ")\n      if (( COMP_CWORD == 2 )); then\n        COMPREPLY=($(compgen -W '" + first_words(command) + " --help' -- \"$current\"))\n        return\n      fi\n"
              "      name=\"$name ${COMP_WORDS[2]}\" ;;\n";
  }
  script += "    help) words='" + joined(topics_of_help()) + "' options='--man --completion' ;;\n  esac\n  case $name in\n";
  for (const CommandText& command : texts)
    script += "    " + pattern_of(command) + ")\n      options='" + names_of(command, {}, /*all=*/true) + "'\n      files='" + names_of(command, ValueKind::kFile) + "'\n      folders='" +
              names_of(command, ValueKind::kFolder) + "'\n      others='" + names_of(command, ValueKind::kOther) + "'\n      words='" + joined(plain_operands(command.operands)) + "' ;;\n";
  return script + "  esac\n"
                  "  if [[ \" $files \" == *\" $previous \"* ]]; then\n"
                  "    compopt -o filenames 2>/dev/null\n"
                  "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
                  "  elif [[ \" $folders \" == *\" $previous \"* ]]; then\n"
                  "    compopt -o filenames 2>/dev/null\n"
                  "    COMPREPLY=($(compgen -d -- \"$current\"))\n"
                  "  elif [[ \" $others \" == *\" $previous \"* ]]; then\n"
                  "    return\n"
                  "  elif [[ $current == -* ]]; then\n"
                  "    COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
                  "  elif [[ -n $words ]]; then\n"
                  "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
                  "  else\n"
                  "    compopt -o filenames 2>/dev/null\n"
                  "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
                  "  fi\n"
                  "}\n"
                  "complete -F _postrec postrec\n";
}

std::string zsh_completion(const std::vector<CommandText>& texts) {
  std::string script = "#compdef postrec\n# Completion of postrec for zsh. Made by: postrec help --completion zsh\n_postrec() {\n  local -a names\n  names=(\n";
  for (const auto& command : commands()) script += "    " + in_quotes(std::string(command.name) + ":" + in_brackets(command.summary)) + "\n";
  script += "  )\n  if (( CURRENT == 2 )); then\n    _describe command names\n    return\n  fi\n  local name=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $name in\n";
  for (const auto& command : commands()) {
    if (command.words.empty()) continue;
    script += "    " + std::string(command.name) + ")\n      if (( CURRENT == 2 )); then\n        compadd " + first_words(command) +
              "\n        return\n      fi\n      name=\"$name $words[2]\"\n      shift words\n      (( CURRENT-- )) ;;\n";
  }
  script += "    help) compadd " + joined(topics_of_help()) + " ;;\n  esac\n  case $name in\n";
  for (const CommandText& command : texts) script += "    " + pattern_of(command) + ")\n      " + zsh_arguments(command) + "      ;;\n";
  return script + "  esac\n}\n_postrec \"$@\"\n";
}

}  // namespace postrec
