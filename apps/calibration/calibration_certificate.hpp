#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "calibration/calibration_run.hpp"

namespace postrec {

/// What the truths were.
enum class TruthKind { kPrior, kScans };

/// All bands of ranks together raise a false alarm with at most this probability.
inline constexpr double kFalseAlarm = 0.05;
/// A figure is wrong when it is off by more than its tolerance and by more than its error passes with this probability (three standard errors of many records, more of few: Student's t);
/// it says nothing while that exceeds the tolerance.
inline constexpr double kFigureFalseAlarm = 0.0027;

/// The findings: verdict, because, explanation; figures (coverage of pixels and regions, chi-squares, spread over RMSE: value, standard error over
/// replicates or whole persons, what is right, tolerance, verdict); ranks with their band; and the records themselves. For truths of the prior the bands decide, and a figure that is wrong;
/// for scans the figures alone, because slices of a person are not independent.
nlohmann::ordered_json calibration_findings(const std::vector<CalibrationRecord>& records, TruthKind truths);

/// The findings in a table for people.
std::string calibration_table(const nlohmann::ordered_json& findings);

}  // namespace postrec
