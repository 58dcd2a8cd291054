#include "postrec/data/tensor_file.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "input_file.hpp"
#include "postrec/data/cfl.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/error.hpp"
#include "require_finite.hpp"

namespace postrec {

namespace {

/// The numbers of a line, separated by blanks, commas or semicolons.
std::vector<float> numbers_of(std::string line, const std::string& where) {
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == ',' || c == ';' || c == '\t' || c == '\r'; }, ' ');
  std::vector<float> numbers;
  const char* next = line.c_str();
  for (;;) {
    while (*next == ' ') ++next;
    if (*next == '\0') return numbers;
    char* end = nullptr;
    const float number = std::strtof(next, &end);
    if (end == next || (*end != ' ' && *end != '\0'))
      throw Error(ErrorKind::kBadData, where + " holds something that is not a number", "numbers separated by blanks or commas");
    numbers.push_back(number);
    next = end;
  }
}

/// [rows, columns]; one row or one column is a list [n]. A line that begins with # is a comment.
at::Tensor read_text_numbers(const std::filesystem::path& path) {
  check_input_file(path);
  std::ifstream file(path);
  std::vector<float> values;
  std::int64_t n_rows = 0, n_columns = 0, number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    const std::string where = "line " + std::to_string(number) + " of " + quoted_path(path);
    const std::vector<float> row = numbers_of(line, where);
    if (row.empty()) continue;
    if (n_rows++ == 0) n_columns = static_cast<std::int64_t>(row.size());
    if (static_cast<std::int64_t>(row.size()) != n_columns)
      throw Error(ErrorKind::kBadData,
                  where + " has " + std::to_string(row.size()) + " numbers, the lines before it " + std::to_string(n_columns),
                  "every line has as many numbers");
    values.insert(values.end(), row.begin(), row.end());
  }
  if (values.empty()) throw Error(ErrorKind::kBadData, quoted_path(path) + " holds no number", "one row of numbers a line");
  const at::Tensor table = at::tensor(values, at::kFloat);
  require_finite(table, quoted_path(path));
  return n_rows == 1 || n_columns == 1 ? table : table.reshape({n_rows, n_columns});
}

}  // namespace

at::Tensor read_tensor(const std::filesystem::path& path) {
  const FileFormat format = format_of(path);
  if (format == FileFormat::kCfl) return read_cfl(path);
  if (format == FileFormat::kText) return read_text_numbers(path);
  if (format == FileFormat::kUnknown)
    throw Error(std::filesystem::exists(path) ? ErrorKind::kBadData : ErrorKind::kNoInput, quoted_path(path) + " is not a tensor file",
                "give .cfl, .nii, .nii.gz, .nrrd, .mha, .png, .txt or .csv");
  at::Tensor pixels = read_scan(path).image.pixels;
  while (pixels.dim() > 2 && pixels.size(0) == 1) pixels = pixels.squeeze(0);
  return pixels;
}

}  // namespace postrec
