#include "cli/wrapped_text.hpp"

#include <algorithm>
#include <sstream>
#include <vector>

namespace postrec {
namespace {

/// Where a line that is too long ends: at its last blank within `width`, or at the first one there is; npos: it is one word.
std::size_t break_of(const std::string& line, std::size_t indent, std::size_t width) {
  const std::size_t within = line.rfind(' ', width);
  return within != std::string::npos && within > indent ? within : line.find(' ', std::max(width, indent));
}

/// The words of a command, each option with its value.
std::vector<std::string> pieces_of(const std::string& command) {
  std::istringstream stream(command);
  std::vector<std::string> pieces;
  bool in_quotes = false;
  for (std::string word; stream >> word;) {
    const bool begins = !in_quotes && (pieces.empty() || word.front() == '-');
    if (begins) {
      pieces.push_back(word);
    } else {
      pieces.back() += " " + word;
    }
    in_quotes ^= std::count(word.begin(), word.end(), '"') % 2 == 1;
  }
  return pieces;
}

}  // namespace

std::string wrapped(const std::string& text, std::size_t width) {
  std::string result;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    const std::size_t indent = std::min(line.find_first_not_of(' '), line.size());
    while (line.size() > width) {
      const std::size_t cut = break_of(line, indent, width);
      if (cut == std::string::npos) break;
      result += line.substr(0, cut) + "\n";
      line = std::string(indent, ' ') + line.substr(cut + 1);
    }
    result += line;
    if (end < text.size()) result += "\n";
    at = end + 1;
  }
  return result;
}

std::string wrapped_command(const std::string& command, std::size_t width) {
  std::string result, line;
  for (const std::string& piece : pieces_of(command)) {
    constexpr std::size_t kBackslash = 2;
    if (!line.empty() && line.size() + 1 + piece.size() + kBackslash > width) {
      result += line + " \\\n";
      line = "   ";                            // and the blank before the piece
    }
    line += (line.empty() ? "  " : " ") + piece;
  }
  return result + line;
}

}  // namespace postrec
