#include "report/report_page_names.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr std::array kKnownEndings = {".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".cfl", ".hdr", ".h5", ".mrd", ".json", ".safetensors"};

std::string last_part(const fs::path& path) { return path.has_filename() ? path.filename().string() : path.parent_path().filename().string(); }

bool holds(const char* characters, char c) { return std::string_view(characters).find(c) != std::string_view::npos; }

/// Whether an opening quote stands before `at`: one behind a word closes.
bool is_quoted(const std::string& text, std::size_t at) { return at > 0 && holds("'\"", text[at - 1]) && (at == 1 || holds(" (=[:", text[at - 2])); }

/// Where the path that begins at `at` ends: at its closing quote, or at the first blank, quote, comma, semicolon, colon or bracket.
std::size_t end_of_path(const std::string& text, std::size_t at) {
  const std::size_t end = is_quoted(text, at) ? text.find(text[at - 1], at) : text.find_first_of(" '\",;:)]", at);
  return end == std::string::npos ? text.size() : end;
}

bool begins_path(const std::string& text, std::size_t at) {
  if (is_quoted(text, at)) return text.substr(at, end_of_path(text, at) - at).find('/') != std::string::npos;
  if (at > 0 && !holds(" (=[", text[at - 1])) return false;
  return text.compare(at, 1, "/") == 0 || text.compare(at, 2, "./") == 0 || text.compare(at, 3, "../") == 0 || text.compare(at, 2, "~/") == 0;
}

/// What the message says in the place of `path`; files below it go with it. A name without a folder is only replaced in quotes: it may be a common word.
void replace_path(std::string& text, const std::string& path, const std::string& shown) {
  if (path.empty()) return;
  for (std::size_t at = text.find(path); at != std::string::npos; at = text.find(path, at)) {
    const std::size_t behind = at + path.size();
    const bool quoted = at > 0 && (text[at - 1] == '\'' || text[at - 1] == '"') && behind < text.size() && text[behind] == text[at - 1];
    if (!quoted && path.find('/') == std::string::npos) {
      at = behind;
      continue;
    }
    const bool below = behind < text.size() && (text[behind] == '/' || path.back() == '/');
    text.replace(at, (below ? end_of_path(text, at) : behind) - at, shown);
    at += shown.size();
  }
}

}  // namespace

std::string reported_name(const fs::path& input) {
  std::string name = last_part(input), lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool known = std::any_of(kKnownEndings.begin(), kKnownEndings.end(), [&](const char* ending) { return lower.ends_with(ending); });
  std::error_code failure;
  const bool measurement = fs::is_regular_file(input / "measurement.json", failure);
  const bool folder = fs::is_directory(input, failure);
  return measurement || (known && !folder) ? name : "";
}

std::string without_paths(const std::string& text, const std::vector<fs::path>& inputs) {
  std::string result = text;
  for (const fs::path& input : inputs) {
    const std::string name = reported_name(input);
    const std::string shown = name.empty() ? "the input" : name;
    for (const fs::path& path : {fs::absolute(input), input, fs::path(last_part(input))}) replace_path(result, path.string(), shown);
  }
  for (std::size_t at = 0; at < result.size(); ++at) {
    if (!begins_path(result, at)) continue;
    const std::size_t end = end_of_path(result, at);
    const std::string name = last_part(result.substr(at, end - at));
    result.replace(at, end - at, name);
    at += name.size();
  }
  return result;
}

}  // namespace postrec
