#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "calibration/calibration_run.hpp"

namespace postrec {

/// The finished records of a calibration in a file, so that the same command goes on after a stop. Written anew, whole, after each.
class CalibrationJournal {
 public:
  /// An empty path keeps nothing. `identity` is all that the records depend on. Throws Error: kUsage when the file is of another run, kBadData
  /// when it is no journal.
  CalibrationJournal(std::filesystem::path path, nlohmann::ordered_json identity);

  const CalibrationRecord* find(const std::string& name) const;
  /// Throws Error as write_text_atomically.
  void add(const CalibrationRecord& record);

 private:
  std::filesystem::path path_;
  nlohmann::ordered_json identity_;
  std::vector<CalibrationRecord> records_;
};

}  // namespace postrec
