#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "postrec/data/scan.hpp"

namespace postrec {

/// The last name of a path, also of a folder given as "scan/".
std::string name_of_scan(const std::filesystem::path& path);

/// Whose scan a file is, by its name: of BIDS names the part "sub-XX", else what stands before the first "_study", "_session", "_ses", "_T1", "_T2", "_FLAIR",
/// "_PD", "_DWI" or "_run" (in any case), else the name without its extension. "patient01_study2_T1W.nii.gz" -> "patient01".
std::string subject_of_name(const std::filesystem::path& path);

/// Tells whose scans a number of scans are, as far as files say it. To tell persons apart in memory; never to be shown or kept.
class ScanSubjects {
 public:
  ScanSubjects() = default;
  explicit ScanSubjects(const std::vector<std::filesystem::path>& scans);

  /// A hash of the PatientID where DICOM has one. Else the folder, where files in several folders are called alike ("P1/T1.nii.gz", "P2/T1.nii.gz"), also for those
  /// beside them; within BIDS the folder "sub-XX". Else subject_of_name().
  std::string of(const Scan& scan, const std::filesystem::path& path) const;

 private:
  std::set<std::filesystem::path> persons_;    ///< folders, each a person's
};

}  // namespace postrec
