#include "commands/all_command_texts.hpp"

#include <iostream>
#include <sstream>

#include "commands/commands.hpp"

namespace postrec {
namespace {

/// Sends the help of CommandOptions into a list while it lives, and what is printed into a text.
class Collecting {
 public:
  explicit Collecting(std::vector<CommandText>& texts) : output_(std::cout.rdbuf(printed_.rdbuf())) { command_text_collector() = &texts; }
  ~Collecting() {
    command_text_collector() = nullptr;
    std::cout.rdbuf(output_);
  }
  Collecting(const Collecting&) = delete;
  Collecting& operator=(const Collecting&) = delete;

  std::string printed() const { return printed_.str(); }

 private:
  std::ostringstream printed_;
  std::streambuf* output_;
};

/// A command that prints its help by itself has that text alone.
void collect(const std::string& name, const Command& command, const std::vector<std::string>& words, std::vector<CommandText>& texts) {
  const std::size_t before = texts.size();
  std::string printed;
  {
    const Collecting collecting(texts);
    command.run(words);
    printed = collecting.printed();
  }
  if (texts.size() == before) texts.push_back({name, "", "", "", {{"", {}, printed}}});
}

}  // namespace

std::vector<CommandText> all_command_texts() {
  std::vector<CommandText> texts;
  for (const auto& command : commands()) {
    if (command.run == run_help) continue;
    if (command.words.empty()) collect(command.name, command, {"--help"}, texts);
    for (const std::string word : command.words) collect(command.name + (" " + word), command, {word, "--help"}, texts);
  }
  return texts;
}

std::string command_summary(const std::string& name) {
  for (const auto& command : commands())
    if (name == command.name) return command.summary;
  return "";
}

}  // namespace postrec
