#include "manifest.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace postrec {
namespace {

using nlohmann::json;

// Far more than a manifest needs, and a bound on what a hostile one can make us hold.
constexpr std::size_t kMaximumBytes = 1 << 16;

bool is_name_character(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; }

// Manifests are printed on terminals, which obey control characters.
bool is_printable(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

class Reader {
 public:
  Reader(const json& root, const std::filesystem::path& path) : root_(root), path_(path) {}

  [[noreturn]] void refuse(const std::string& what, const std::string& hint) const {
    throw Error(ErrorKind::kConfiguration, "manifest '" + path_.string() + "': " + what, hint);
  }

  std::string text(const char* key) const {
    const json& value = member(key);
    if (!value.is_string()) refuse(std::string("'") + key + "' is not a text", "give it as \"...\"");
    return checked(key, value.get<std::string>());
  }

  std::vector<std::string> names(const char* key) const {
    const json& value = member(key);
    if (!value.is_array() || value.empty()) refuse(std::string("'") + key + "' is not a list of names", "give it as [\"...\"]");
    std::vector<std::string> result;
    for (const json& element : value) {
      if (!element.is_string()) refuse(std::string("'") + key + "' holds something that is not a text", "give it as [\"...\"]");
      result.push_back(checked(key, element.get<std::string>()));
    }
    return result;
  }

 private:
  const json& member(const char* key) const {
    const auto found = root_.find(key);
    if (found == root_.end()) refuse(std::string("'") + key + "' is missing", "postrec_add_plugin() writes a complete manifest");
    return *found;
  }

  std::string checked(const char* key, const std::string& value) const {
    if (value.size() > 1000 || !is_printable(value))
      refuse(std::string("'") + key + "' is too long or holds control characters", "at most 1000 printable bytes");
    return value;
  }

  const json& root_;
  const std::filesystem::path& path_;
};

bool is_sha256(const std::string& text) { return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos; }

void check(const PluginInfo& info, const std::string& library, const Reader& reader) {
  if (!is_plugin_id(info.id)) reader.refuse("'id' is '" + info.id + "'", "it must be reverse-domain, as org.example.blur");
  if (info.version.empty()) reader.refuse("'version' is empty", "give it as 1.0.0");
  if (!is_sha256(info.sha256)) reader.refuse("'sha256' is '" + info.sha256 + "'", "it must be 64 lower-case hexadecimal digits");
  if (library.empty() || library.front() == '.' || library.find('/') != std::string::npos)
    reader.refuse("'library' is '" + library + "'", "it must be the name of a file in the same folder");
  std::set<std::string> seen;
  for (const std::string& name : info.operators) {
    if (!is_lower_hyphen(name)) reader.refuse("operator name '" + name + "'", "it must be lower-hyphen, as gaussian-blur");
    if (!seen.insert(name).second) reader.refuse("operator '" + name + "' is listed twice", "list each once");
  }
}

}  // namespace

bool is_lower_hyphen(const std::string& text) {
  return !text.empty() && text.front() >= 'a' && text.front() <= 'z' && text.back() != '-' &&
         std::all_of(text.begin(), text.end(), is_name_character);
}

bool is_plugin_id(const std::string& text) {
  std::istringstream parts(text + ".");
  std::size_t n_parts = 0;
  for (std::string part; std::getline(parts, part, '.'); ++n_parts)
    if (part.empty() || !std::all_of(part.begin(), part.end(), is_name_character)) return false;
  return n_parts >= 2;
}

PluginInfo parse_manifest(const std::string& text, const std::filesystem::path& path) {
  json root;
  try {
    root = json::parse(text);
  } catch (const json::exception& e) {
    throw Error(ErrorKind::kConfiguration, "manifest '" + path.string() + "' is not JSON", e.what());
  }
  const Reader reader(root, path);
  if (!root.is_object()) reader.refuse("it is not a JSON object", "postrec_add_plugin() writes one");
  PluginInfo info;
  info.id = reader.text("id");
  info.version = reader.text("version");
  info.licence = reader.text("licence");
  info.abi = reader.text("abi");
  info.libtorch = reader.text("libtorch");
  info.sha256 = reader.text("sha256");
  info.operators = reader.names("operators");
  const std::string library = reader.text("library");
  check(info, library, reader);
  info.library = path.parent_path() / library;
  return info;
}

PluginInfo read_manifest(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaximumBytes + 1, '\0');
  if (!file || !std::filesystem::is_regular_file(path))
    throw Error(ErrorKind::kNoInput, "cannot open the manifest '" + path.string() + "'", "give a readable file");
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaximumBytes)
    throw Error(ErrorKind::kConfiguration, "manifest '" + path.string() + "' is longer than 64 KiB", "is it a manifest?");
  return parse_manifest(text, path);
}

}  // namespace postrec
