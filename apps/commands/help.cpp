#include <iomanip>
#include <iostream>

#include "cli/exit_codes.hpp"
#include "cli/version.hpp"
#include "commands/all_command_texts.hpp"
#include "commands/commands.hpp"
#include "commands/completion.hpp"
#include "commands/man_page.hpp"
#include "postrec/error.hpp"
#include "postrec/nearest_name.hpp"

namespace postrec {
namespace {

void print_exit_codes() {
  std::cout << "Exit codes of postrec (those of sysexits.h where it has one):\n";
  for (const ExitCode& known : exit_codes()) std::cout << std::setw(5) << known.code << "  " << known.meaning << "\n";
  std::cout << "Every error is one line on stderr: \"postrec: error: what; what would be right\".\n";
}

void print_overview() {
  std::cout << "Usage: postrec COMMAND ...\nPosterior sampling for medical image reconstruction.\n\nCommands:\n";
  for (const auto& command : commands()) {
    const std::string name = command.name;
    std::cout << "  " << name << std::string(13 - name.size(), ' ') << command.summary << "\n";
  }
  std::cout << "\npostrec COMMAND --help shows the options of a command, postrec --version the version,\n"
               "postrec help --man a manual page, postrec help --completion bash (or zsh) a script for the shell.\n\nExample:\n"
               "  postrec reconstruct head.nii.gz --simulate --operator mri-fourier --noise 0.02 --output result\n\n"
            << version_text();
}

std::vector<std::string> topics() {
  std::vector<std::string> names = {"exit-codes"};
  for (const auto& command : commands()) names.emplace_back(command.name);
  return names;
}

/// postrec help --man [COMMAND]
void print_man_page(const std::vector<std::string>& arguments) {
  if (arguments.size() == 1) {
    std::cout << man_page(all_command_texts());
    return;
  }
  const std::string& name = arguments[1];
  if (arguments.size() > 2 || command_summary(name).empty())
    throw Error(ErrorKind::kUsage, "there is no manual page on '" + name + "'", "write postrec help --man, or postrec help --man COMMAND");
  std::cout << man_page_of(name, all_command_texts());
}

/// postrec help --completion bash|zsh
void print_completion(const std::vector<std::string>& arguments) {
  const std::string shell = arguments.size() == 2 ? arguments[1] : "";
  if (shell != "bash" && shell != "zsh") throw Error(ErrorKind::kUsage, "--completion '" + shell + "' is not known", "write postrec help --completion bash, or zsh");
  const std::vector<CommandText> texts = all_command_texts();
  std::cout << (shell == "bash" ? bash_completion(texts) : zsh_completion(texts));
}

}  // namespace

int run_help(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments.front() == "--help" || arguments.front() == "-h" || arguments.front() == "help") {
    print_overview();
    return 0;
  }
  const std::string& topic = arguments.front();
  if (topic == "exit-codes") {
    print_exit_codes();
    return 0;
  }
  if (topic == "--man") {
    print_man_page(arguments);
    return 0;
  }
  if (topic == "--completion") {
    print_completion(arguments);
    return 0;
  }
  for (const auto& command : commands())
    if (topic == command.name) return command.run({"--help"});
  throw Error(ErrorKind::kUsage, "there is no help on '" + topic + "'", nearest_hint(topic, topics()));
}

}  // namespace postrec
