#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace postrec {

/// --size "HxW" -> {H, W}, each of `smallest` to 8192. Throws Error(kUsage).
std::pair<std::int64_t, std::int64_t> image_size(const std::string& text, std::int64_t smallest = 1);

}  // namespace postrec
