#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace postrec {

/// Whether a file carries the mark of DICOM, "DICM" behind 128 bytes. False for one that cannot be opened. Throws Error(kInputOutput) when reading fails.
bool has_dicom_mark(const std::filesystem::path& path);

/// Whether a file without the mark was to be DICOM by all signs: it is named .dcm or .ima, or is empty (a link to nothing: has no ending), and not hidden. Among the files of a series it is a slice that is lost.
bool is_lost_dicom(const std::filesystem::path& path);

/// The files of one DICOM series.
struct DicomSeriesFiles {
  std::string series_uid;                      ///< as the files say it; empty when they say none
  std::optional<bool> projections;             ///< whether it is DICOM-CT-PD, a measurement, and no images; empty when all files are damaged
  std::vector<std::filesystem::path> files;    ///< in the order in which they were given
};

/// DICOM files, told apart by their series.
struct SortedDicomFiles {
  std::vector<DicomSeriesFiles> series;        ///< in the order of their first files
  std::map<std::string, std::int64_t> left_out;  ///< reason -> how many files
};

/// Sorts DICOM files by SeriesInstanceUID, in whichever folders they lie; headers are read in a child process. Left out are localisers, secondary captures, segmentations and dose
/// maps, whatever holds no image, and further copies of an instance with the same bytes (copies with other bytes stay: read_scan refuses them).
/// A damaged file that does not say its series may be a slice of any in its folder, so it goes to each of them, and read_scan refuses it there. Files without a series are one a folder.
/// Throws Error(kNoInput) when a file cannot be opened, without its name.
SortedDicomFiles sort_dicom_files(const std::vector<std::filesystem::path>& files);

}  // namespace postrec
