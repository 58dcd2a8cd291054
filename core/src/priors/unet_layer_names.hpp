#pragma once

#include <cstdint>
#include <string>

namespace postrec {

// How the layers of a UNet are called in its file, those at a level, 0 the finest, and what takes in the conditions.

constexpr const char* kConditionLayer = "embedding_condition.weight";

inline std::string level_name(const char* way, std::int64_t level) { return way + std::to_string(level); }
inline std::string block_name(const char* way, std::int64_t level, std::int64_t i) { return level_name(way, level) + ".block" + std::to_string(i); }

}  // namespace postrec
