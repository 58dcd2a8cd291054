#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "postrec/host/plugin_registry.hpp"
#include "temp_folder.hpp"

namespace postrec::test {

/// Where the plugins of tests/plugin are built.
inline std::filesystem::path plugin_folder(const std::string& name) {
  return std::filesystem::path(POSTREC_BINARY_DIR) / "tests/plugins" / name;
}

inline PluginSearch search_in(std::vector<std::filesystem::path> folders) {
  PluginSearch search;
  search.folders = std::move(folders);
  return search;
}

/// A folder that is deleted at the end, to put files into.
class TemporaryFolder : public TempFolder {
 public:
  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path() / name, std::ios::binary) << content;
    return path() / name;
  }

  /// A built plugin, library and manifest.
  void copy_plugin(const std::string& name) const {
    for (const char* suffix : {".so", ".postrec.json"})
      std::filesystem::copy_file(plugin_folder(name) / (name + suffix), path() / (name + suffix),
                                 std::filesystem::copy_options::overwrite_existing);
  }
};

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::runtime_error("'" + from + "' does not occur");
  return text.replace(at, from.size(), to);
}

/// Runs `body`, expects an Error of this kind whose one-line text contains `part`.
template <class Body>
void expect_error(ErrorKind kind, const std::string& part, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "no Error; expected one about '" << part << "'";
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), static_cast<int>(kind)) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << "'" << part << "' is not in: " << e.what();
    for (const unsigned char c : std::string(e.what())) EXPECT_GE(c, 0x20) << e.what();
  }
}

}  // namespace postrec::test
