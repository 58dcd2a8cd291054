#pragma once

#include <cstdint>
#include <filesystem>

#include "batch/batch_plan.hpp"

namespace postrec {

/// Roughly how many bytes of memory a process needs for this case, from the sizes of its files alone (they are taken for 16-bit pixels; a .gz says its unpacked size in its last bytes).
/// Without what a network needs.
std::uint64_t estimated_memory(const std::filesystem::path& root, const BatchCase& each, std::int64_t n_samples);

}  // namespace postrec
