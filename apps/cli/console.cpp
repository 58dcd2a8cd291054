#include "cli/console.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace postrec {
namespace {

void write_line(const std::string& line) {
  // One call, so that lines of several threads do not mix.
  const std::string text = line + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void write_json(const nlohmann::ordered_json& object) {
  write_line(object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace

Console& console() {
  static Console instance;
  return instance;
}

std::string one_line(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    if (!control) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

void Console::information(const std::string& text) const {
  if (quiet) return;
  json() ? write_json({{"level", "information"}, {"message", text}}) : write_line("postrec: " + one_line(text));
}

void Console::warning(const std::string& text) const {
  json() ? write_json({{"level", "warning"}, {"message", text}}) : write_line("postrec: warning: " + one_line(text));
}

void Console::error(int exit_code, const std::string& message, const std::string& hint) const {
  if (json()) {
    write_json({{"level", "error"}, {"exit_code", exit_code}, {"message", one_line(message)}, {"hint", one_line(hint)}});
  } else {
    write_line("postrec: error: " + one_line(hint.empty() ? message : message + "; " + hint));
  }
}

}  // namespace postrec
