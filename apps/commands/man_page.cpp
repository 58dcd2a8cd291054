#include "commands/man_page.hpp"

#include <algorithm>
#include <sstream>

#include "cli/exit_codes.hpp"
#include "cli/version.hpp"
#include "cli/wrapped_text.hpp"
#include "commands/all_command_texts.hpp"
#include "commands/commands.hpp"

namespace postrec {
namespace {

constexpr std::size_t kExampleWidth = 70;      // a page has 80 columns and indents

/// Text for roff: backslashes, hyphens and accents stand for themselves, so that options can be copied.
std::string roff(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '\\': result += "\\e"; break;
      case '-': result += "\\-"; break;
      case '\'': result += "\\(aq"; break;
      case '`': result += "\\(ga"; break;
      case '^': result += "\\(ha"; break;
      case '~': result += "\\(ti"; break;
      default: result += c;
    }
  }
  return result;
}

/// The same as lines of their own, none of which can be taken for a request.
std::string roff_lines(const std::string& text) {
  std::istringstream stream(text);
  std::string result;
  for (std::string line; std::getline(stream, line);) {
    if (line.empty()) continue;
    line = roff(line);
    result += (line.front() == '.' ? "\\&" : "") + line + "\n";
  }
  return result;
}

/// Lines shown as they are.
std::string as_typed(const std::string& text) {
  std::istringstream stream(text);
  std::string result = ".PP\n.nf\n";
  for (std::string line; std::getline(stream, line);) result += "\\&" + roff(line) + "\n";
  return result + ".fi\n";
}

std::string in_capitals(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  return text;
}

std::string option_item(const OptionText& option) {
  std::string item = ".TP\n";
  if (option.letter) item += "\\fB\\-" + std::string(1, option.letter) + "\\fR, ";
  item += "\\fB\\-\\-" + roff(option.name) + "\\fR";
  if (!option.value.empty()) item += " \\fI" + roff(option.value) + "\\fR";
  return item + "\n" + roff_lines(option.help + (option.standard.empty() ? "" : " (default: " + option.standard + ")"));
}

/// `level`: the macro of its title.
std::string command_part(const CommandText& command, const std::string& level) {
  std::string part = level + " \"" + roff("postrec " + command.name + (command.operands.empty() ? "" : " " + command.operands) + " [options]") + "\"\n" + roff_lines(command.purpose);
  for (const OptionSection& section : command.sections) {
    if (!section.title.empty()) part += ".PP\n" + roff_lines("Options: " + section.title + ".");
    for (const OptionText& option : section.options) part += option_item(option);
    if (!section.more.empty()) part += as_typed(section.more);
  }
  return command.example.empty() ? part : part + ".PP\nExample:\n" + as_typed(wrapped_command(command.example, kExampleWidth));
}

std::string header(const std::string& name, const std::string& purpose) {
  return ".\\\" Made by: postrec help --man\n.TH " + in_capitals(roff(name)) + " 1 \"" POSTREC_RELEASE_DATE "\" \"PostRec " + program_version() + "\" \"User Commands\"\n.SH NAME\n" + roff(name) + " \\- " + roff(purpose) + "\n";
}

std::string exit_status() {
  std::string part = ".SH \"EXIT STATUS\"\n";
  for (const ExitCode& known : exit_codes()) part += ".TP\n" + std::to_string(known.code) + "\n" + roff_lines(known.meaning);
  return part;
}

std::string footer() {
  return exit_status() + ".SH ENVIRONMENT\n.TP\nPOSTREC_PRIOR_PATH\n" + roff_lines("folders to look for priors in, with colons between them") + ".TP\nPOSTREC_PLUGIN_PATH\n" +
         roff_lines("folders to look for operator plugins in, with colons between them") + ".SH NOTES\nResearch software, not a medical device: not for diagnosis.\n";
}

}  // namespace

std::string man_page(const std::vector<CommandText>& texts) {
  std::string page = header("postrec", "posterior sampling for medical image reconstruction");
  page += ".SH SYNOPSIS\n.B postrec\n.I COMMAND\n[options]\n.SH DESCRIPTION\n" +
          roff_lines("Reconstructs medical scans from incomplete measurements by sampling the posterior of the image: samples, their mean and their uncertainty.") + ".SH COMMANDS\n";
  for (const auto& command : commands()) page += ".TP\n\\fB" + roff(command.name) + "\\fR\n" + roff_lines(command.summary);
  for (const CommandText& text : texts) page += command_part(text, ".SS");
  return page + footer();
}

std::string man_page_of(const std::string& command, const std::vector<CommandText>& texts) {
  std::string page = header("postrec-" + command, command_summary(command)) + ".SH DESCRIPTION\n";
  for (const CommandText& text : texts)
    if (text.name == command || text.name.starts_with(command + " ")) page += command_part(text, ".SS");
  return page + footer();
}

}  // namespace postrec
