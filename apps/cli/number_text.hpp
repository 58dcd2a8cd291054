#pragma once

#include <cstdlib>
#include <optional>
#include <string>

namespace postrec {

/// A text that is a number to its end; nothing for another.
inline std::optional<double> number_of_text(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  return text.empty() || *end != '\0' ? std::nullopt : std::optional(value);
}

}  // namespace postrec
