#pragma once

#include <c10/util/ArrayRef.h>

#include <cstdint>
#include <string>

namespace postrec {

/// A shape in a message: "[2, 3, 5]".
inline std::string shape_text(c10::IntArrayRef shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

}  // namespace postrec
