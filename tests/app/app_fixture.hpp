#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace postrec {

/// How a child process ended.
struct Ended {
  int code = -1;                               ///< exit code; 128 + signal when killed
  std::string out;
  std::string err;

  /// Number of lines on stderr.
  std::ptrdiff_t error_lines() const { return std::count(err.begin(), err.end(), '\n'); }
};

struct ChildOptions {
  std::vector<std::string> environment;        ///< "NAME=value", on top of ours
  std::int64_t file_size_limit = 0;            ///< bytes that a file may have: a disk that fills up; 0: no limit
  std::function<void(int pid, const std::string& err_so_far)> watch;  ///< called whenever the child wrote to stderr
};

/// Runs the program with these arguments.
Ended run_postrec(const std::vector<std::string>& arguments, const ChildOptions& options = {});

/// A folder of the test's own with tiny synthetic scans and priors, removed afterwards.
class AppTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  nlohmann::json run_json(const std::string& result) const;
  std::string content(const std::string& name) const;
  void write_text(const std::string& name, const std::string& text) const;

  /// Reconstruct the simulated two-coil scan mr.nii.gz into `output`; `more` adds options or replaces those of the same name.
  std::vector<std::string> mr_arguments(const std::string& output, const std::vector<std::string>& more = {}) const;

  /// No result, and nothing temporary either.
  void expect_nothing_written(const std::string& output) const;
  /// One line "postrec: error: ..." on stderr that contains each of `words`, and this exit code.
  static void expect_error(const Ended& ended, int code, const std::vector<std::string>& words);

  static constexpr std::int64_t kSlices = 3, kHeight = 17, kWidth = 19;  // primes: a swap of axes does not fit

  std::filesystem::path folder_;
};

/// A smooth positive test image with an edge, [slice, 1, H, W], about 0 to 100.
at::Tensor test_volume(std::int64_t slices, std::int64_t height, std::int64_t width);

}  // namespace postrec
