#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "training/training_scans.hpp"

namespace postrec {

/// Slices to train on and slices to judge by.
struct TrainingSplit {
  std::vector<TrainingSlice> training;
  std::vector<TrainingSlice> validation;
};

/// Subjects by file from a table "file,subject" (one a line; paths as the scans are named, or names without folders; a first line "file,subject" is a heading). Throws
/// Error: kNoInput, kBadData naming the line.
std::map<std::string, std::string> read_subjects(const std::filesystem::path& path);

/// Gives the slices the subjects of the table. Throws Error(kUsage) naming a scan that the table lacks.
void assign_subjects(std::vector<TrainingSlice>& slices, const std::map<std::string, std::string>& subjects);

/// Puts whole subjects on the validation side, in the order of a hash of their names, until it holds `share` of the slices; both sides hold at
/// least one. The order of the slices is kept. Throws Error(kUsage) when there is but one subject.
TrainingSplit split_by_subject(std::vector<TrainingSlice> slices, double share);

/// Scans on both sides that are the same or nearly so: of one scan at least one slice has the same pixels as one of the other, or at least
/// a quarter of its slices look like one of the other.
struct Duplicate {
  std::string training_scan;
  std::string validation_scan;
  std::int64_t n_same = 0;                     ///< slices of the validation scan with the same pixels
  std::int64_t n_alike = 0;                    ///< further ones whose thumbnails correlate by more than kAlike
  std::int64_t n_slices = 0;                   ///< of the validation scan
};

/// Thumbnails are 16x16 block means of the slice centred on its centre of intensity. Slices of a person scanned twice correlate by more than
/// this more often than not, those of two persons in less than 8 of 100 (apps/README.md).
inline constexpr double kAlike = 0.99;

std::vector<Duplicate> duplicates_across(const TrainingSplit& split);

/// Pairs (training scan, validation scan) of one subject; the first pair of each subject.
std::vector<std::pair<std::string, std::string>> shared_subjects(const TrainingSplit& split);

}  // namespace postrec
