#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "case/case.hpp"
#include "run/session.hpp"

namespace postrec {

/// A method with its settings, one row of the table.
struct ComparedMethod {
  std::string text;                            ///< as the user wrote it
  SamplerOptions sampler;
};

/// "METHOD[/SOLVER][:SETTING=NUMBER...]"; samples, levels, tolerance and all else as in `shared`.
/// Throws Error(kUsage) on a method, solver or setting that does not exist.
ComparedMethod parse_method(const std::string& text, const SamplerOptions& shared);

/// "3,7,10-14" -> 3, 7, 10, 11, 12, 13, 14. Throws Error(kUsage).
std::vector<std::int64_t> parse_slices(const std::string& text);

struct ComparisonRequest {
  std::vector<CaseOptions> cases;
  std::vector<ComparedMethod> methods;
  SessionOptions session;                      ///< its sampler is that of no row
  double seconds = 0.0;                        ///< as many levels as fit this time a slice, instead of those of the rows; 0: those of the rows
  std::filesystem::path truth;                 ///< of measurements that were acquired; simulated ones know theirs
};

}  // namespace postrec
