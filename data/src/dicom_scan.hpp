#pragma once

#include "dicom_series.hpp"
#include "postrec/data/dicom_folder.hpp"
#include "postrec/data/scan.hpp"

namespace postrec {

/// The DICOM files directly in a folder, sorted by name; whatever else lies there is left out, and counted in a note.
std::vector<std::filesystem::path> dicom_files_in(const std::filesystem::path& folder, std::vector<std::string>& notes);

/// The headers of a folder's one series (or the one that `series_uid` names) or of one file alone, checked and sorted. Appends to `warnings`.
DicomSeries read_dicom_series(const std::filesystem::path& path, const std::string& series_uid, std::vector<std::string>& warnings);

/// A folder with a series, or one file alone. Pixels are not yet looked at for NaN.
Scan read_dicom_scan(const std::filesystem::path& path, const ScanOptions& options);

}  // namespace postrec
