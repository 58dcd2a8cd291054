#pragma once

#include <string>

namespace postrec {

enum class LogFormat { kText, kJson };

/// What the program says besides its results. Text lines start with "postrec: "; with --log-format json each line is one JSON object.
/// Everything goes to stderr, so that stdout holds results alone.
class Console {
 public:
  LogFormat format = LogFormat::kText;
  bool quiet = false;                          ///< no information and no progress; warnings and errors stay

  bool json() const { return format == LogFormat::kJson; }
  void information(const std::string& text) const;
  void warning(const std::string& text) const;
  void error(int exit_code, const std::string& message, const std::string& hint) const;
};

/// The one of this process: main and the options set it, everything else only speaks through it.
Console& console();

/// The text without line breaks and control characters: one error is one line, whatever a library put into it.
std::string one_line(const std::string& text);

}  // namespace postrec
