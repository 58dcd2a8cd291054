#pragma once

#include <filesystem>
#include <string>

#include "postrec/host/plugin_registry.hpp"

namespace postrec {

inline constexpr const char* kManifestSuffix = ".postrec.json";

/// Reads the text of a manifest; `path` is where it came from, and `library` of the result lies beside it.
/// Throws Error(kConfiguration) that names the file, the member and what would be right.
PluginInfo parse_manifest(const std::string& text, const std::filesystem::path& path);

/// Throws also Error(kNoInput) when the file cannot be read.
PluginInfo read_manifest(const std::filesystem::path& path);

/// "org.example.blur": lower-case letters, digits and hyphens in at least two parts.
bool is_plugin_id(const std::string& text);

/// "mri-fourier": lower-case letters, digits and hyphens, a letter first.
bool is_lower_hyphen(const std::string& text);

}  // namespace postrec
