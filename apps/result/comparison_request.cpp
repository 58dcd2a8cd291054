#include "result/comparison_request.hpp"

#include <algorithm>
#include <sstream>

#include "cli/number_text.hpp"

namespace postrec {
namespace {

std::vector<std::string> parts_of(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

double number(const std::string& text, const std::string& what) {
  const auto value = number_of_text(text);
  if (!value) throw Error(ErrorKind::kUsage, what + " is '" + text + "'", "it must be a number");
  return *value;
}

std::int64_t slice_number(const std::string& text, const std::string& list) {
  const bool digits = !text.empty() && text.size() < 10 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) throw Error(ErrorKind::kUsage, "--slices '" + list + "' is not a list of slices", "write e.g. 3,7,10-14");
  return std::stoll(text);
}

}  // namespace

ComparedMethod parse_method(const std::string& text, const SamplerOptions& shared) {
  const std::vector<std::string> parts = parts_of(text, ':');
  if (parts.empty()) throw Error(ErrorKind::kUsage, "--compare has an empty method", "write METHOD[/SOLVER][:SETTING=NUMBER...],...");
  ComparedMethod method{text, shared};
  const auto slash = parts.front().find('/');
  method.sampler.method = parts.front().substr(0, slash);
  method.sampler.solver = slash == std::string::npos ? "" : parts.front().substr(slash + 1);
  method.sampler.settings.clear();
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto equals = parts[i].find('=');
    if (equals == 0 || equals == std::string::npos) throw Error(ErrorKind::kUsage, "--compare '" + text + "': '" + parts[i] + "' is not a setting", "write SETTING=NUMBER");
    const std::string key = parts[i].substr(0, equals);
    method.sampler.settings[key] = number(parts[i].substr(equals + 1), "--compare '" + text + "': " + key);
  }
  method.sampler.validate();
  return method;
}

std::vector<std::int64_t> parse_slices(const std::string& text) {
  constexpr std::int64_t kMost = 100000;
  std::vector<std::int64_t> slices;
  for (const std::string& part : parts_of(text, ',')) {
    const auto dash = part.find('-');
    const std::int64_t first = slice_number(part.substr(0, dash), text);
    const std::int64_t last = dash == std::string::npos ? first : slice_number(part.substr(dash + 1), text);
    if (last < first || last - first > kMost) throw Error(ErrorKind::kUsage, "--slices has the range " + part, "write the lower number first");
    for (std::int64_t slice = first; slice <= last; ++slice) slices.push_back(slice);
  }
  if (slices.empty()) throw Error(ErrorKind::kUsage, "--slices is empty", "write e.g. 3,7,10-14");
  return slices;
}

}  // namespace postrec
