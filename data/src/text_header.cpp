#include "text_header.hpp"

#include <algorithm>
#include <sstream>

#include "input_file.hpp"
#include "postrec/error.hpp"

namespace postrec {

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  return first == std::string::npos ? std::string() : text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string TextHeader::text(const std::string& key, const std::string& otherwise) const {
  const auto found = entries.find(key);
  return found == entries.end() ? otherwise : found->second;
}

void TextHeader::refuse(const std::string& key, const std::string& hint) const {
  std::string value = has(key) ? text(key).substr(0, 60) : "missing";
  value = quoted_path(value);  // makes it one line
  throw Error(ErrorKind::kBadData, "the header of " + quoted_path(path) + " has " + key + " = " + value.substr(1, value.size() - 2), hint);
}

std::vector<double> TextHeader::numbers(const std::string& key) const {
  std::vector<double> values;
  std::istringstream words(text(key));
  for (std::string word; words >> word;) {
    try {
      std::size_t used = 0;
      values.push_back(std::stod(word, &used));
      if (used != word.size()) throw std::invalid_argument(word);
    } catch (const std::exception&) {
      refuse(key, "numbers were expected");
    }
  }
  if (values.empty()) refuse(key, "numbers were expected");
  return values;
}

std::vector<std::int64_t> TextHeader::integers(const std::string& key) const {
  std::vector<std::int64_t> values;
  for (const double value : numbers(key)) {
    // 2^53: beyond it a double no longer holds every integer.
    if (value != static_cast<double>(static_cast<std::int64_t>(std::clamp(value, -9007199254740992.0, 9007199254740992.0))))
      refuse(key, "whole numbers were expected");
    values.push_back(static_cast<std::int64_t>(value));
  }
  return values;
}

std::int64_t TextHeader::integer(const std::string& key) const {
  const auto values = integers(key);
  if (values.size() != 1) refuse(key, "one whole number was expected");
  return values[0];
}

TextHeader read_text_header(const std::filesystem::path& path, char separator, const std::string& last_key) {
  constexpr std::size_t kLimit = 1 << 20;
  const std::string bytes = read_head(path, kLimit);
  TextHeader header{path, {}, 0};
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = bytes.find('\n', begin);
    if (end == std::string::npos && bytes.size() == kLimit) break;
    const std::string line = trimmed(bytes.substr(begin, end - begin));
    begin = end == std::string::npos ? bytes.size() : end + 1;
    header.n_bytes = begin;
    if (line.empty()) return header;
    const std::size_t split = line.find(separator);
    if (line[0] == '#' || split == std::string::npos) continue;
    std::string key = lower(line.substr(0, split));
    key.erase(std::remove(key.begin(), key.end(), ' '), key.end());
    header.entries[key] = trimmed(line.substr(split + 1));
    if (key == last_key) return header;
  }
  if (bytes.size() == kLimit)
    throw Error(ErrorKind::kBadData, quoted_path(path) + " has a header without an end", "it is not an image, or damaged");
  return header;
}

}  // namespace postrec
