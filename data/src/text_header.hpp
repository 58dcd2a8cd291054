#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace postrec {

/// The lines "key: value" (NRRD) or "Key = Value" (MetaImage) at the head of an image file.
struct TextHeader {
  std::filesystem::path path;
  std::map<std::string, std::string> entries;  ///< keys in lower case without blanks
  std::uint64_t n_bytes = 0;                   ///< up to where attached data begin

  bool has(const std::string& key) const { return entries.count(key) != 0; }
  std::string text(const std::string& key, const std::string& otherwise = {}) const;

  /// Throw Error(kBadData) that names file, key and value.
  std::vector<std::int64_t> integers(const std::string& key) const;
  std::int64_t integer(const std::string& key) const;
  std::vector<double> numbers(const std::string& key) const;
  [[noreturn]] void refuse(const std::string& key, const std::string& hint) const;
};

/// Reads lines until `is_last(key, value)` or an empty line. Throws Error(kBadData) when a header has no end within 1 MiB.
TextHeader read_text_header(const std::filesystem::path& path, char separator, const std::string& last_key);

std::string trimmed(const std::string& text);
std::string lower(std::string text);

}  // namespace postrec
