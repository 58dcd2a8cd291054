#include "result/comparison_table.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace postrec {
namespace {

using nlohmann::ordered_json;

/// One figure of a row: its name in JSON and CSV, its title in the table, how it is printed there.
struct Figure {
  const char* name;
  const char* title;
  const char* format;
};
constexpr Figure kFigures[] = {{"psnr_mean_db", "PSNR/dB", "%.2f"}, {"psnr_sample_db", "sample", "%.2f"}, {"ssim_mean", "SSIM", "%.3f"},  {"coverage", "inside", "%.3f"},
                               {"spread", "spread", "%.2f"},        {"reduced_chi2", "chi2", "%.3f"},     {"nfe", "NFE", "%.0f"},         {"levels", "levels", "%.0f"},
                               {"seconds", "seconds", "%.2f"},      {"network_share", "network", "%.2f"}};

/// Text at the right end of a column, a blank at least before it.
std::string padded(const std::string& text, std::size_t width) { return std::string(width > text.size() ? width - text.size() : 1, ' ') + text; }

std::string formatted(const char* format, const ordered_json& value) {
  if (!value.is_number()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, format, value.get<double>());
  return text;
}

/// A field of a CSV file. [RFC 4180]
std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char c : text) result += c == '"' ? "\"\"" : std::string(1, c);
  return result + "\"";
}

}  // namespace

std::string comparison_table(const ordered_json& comparison) {
  std::size_t width = 6;
  for (const auto& row : comparison["methods"]) width = std::max(width, row["method"].get<std::string>().size());
  const auto name = [&](const std::string& text) { return text + std::string(width - text.size(), ' '); };
  std::string table = name("method");
  for (const Figure& figure : kFigures) table += padded(figure.title, 9);
  table += "\n";
  ordered_json expected;
  for (const auto& row : comparison["methods"]) {
    table += name(row["method"]);
    if (row.contains("failure")) {
      table += "  " + row["failure"].get<std::string>() + "\n";
      continue;
    }
    for (const Figure& figure : kFigures) table += padded(formatted(figure.format, row["mean"][figure.name]), 9);
    table += "\n";
    expected = row["mean"]["coverage_expected"];
  }
  return table + "Means over " + std::to_string(comparison["slices"].get<std::int64_t>()) + " slice(s)" + (comparison["simulated"].get<bool>() ? ", SIMULATED measurements" : "") +
         (comparison["interrupted"].get<bool>() ? ", INTERRUPTED before the rest" : "") +
         ". PSNR and SSIM of the posterior mean, PSNR of one sample; inside: true values of the object's pixels in the interval, right is " + formatted("%.3f", expected) +
         ";\nspread: standard deviation over error of the mean, right is 1; chi2: reduced, of the samples, about 1; NFE: network evaluations per sample;\n"
         "seconds a slice; network: the share of them in the prior.\n";
}

std::string comparison_csv(const ordered_json& comparison) {
  std::string csv;
  for (const auto& row : comparison["methods"]) {
    if (row.contains("failure")) continue;
    if (csv.empty()) {
      csv = "method,image,slice";
      for (const auto& [name, value] : row["mean"].items()) csv += "," + name;
      csv += "\n";
    }
    for (const auto& slice : row["slices"]) {
      csv += quoted(row["method"]) + "," + quoted(slice["image"]) + "," + slice["slice"].dump();
      for (const auto& [name, value] : slice["figures"].items()) csv.append(",").append(value.is_null() ? "" : value.dump());
      csv += "\n";
    }
  }
  return csv;
}

}  // namespace postrec
