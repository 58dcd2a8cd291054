#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace postrec {

/// One case of a batch as the index shows it. Texts are plain, escaped by the index.
struct BatchIndexRow {
  std::string case_id;
  std::string state;                           ///< "done", "failed", "running", ...; done and failed have a colour
  std::string reason;                          ///< in words why it failed or waits; may be empty
  std::vector<std::pair<std::string, std::filesystem::path>> links;  ///< title and file, relative to the index: {"report", "case_1/report.html"}
  std::filesystem::path thumbnail;             ///< relative: "case_1/mean.png"; empty: none
  std::vector<double> figures;                 ///< as many as the index has columns; NaN: not known
};

/// What stands over the table.
struct BatchIndex {
  std::string title;                           ///< "Batch of 12 cases"
  std::vector<std::string> figure_titles;      ///< with units: "PSNR (dB)", "seconds (s)"
  std::vector<BatchIndexRow> rows;
};

/// The index as one HTML page: how many cases are in each state, and a table that its headings sort. It refers to pictures and pages beside it and fetches nothing else.
std::string batch_index_page(const BatchIndex& index);

/// Writes it as `folder`/index.html, in the place of an older one. Throws Error: kCannotCreate, kInputOutput.
void write_batch_index(const std::filesystem::path& folder, const BatchIndex& index);

}  // namespace postrec
