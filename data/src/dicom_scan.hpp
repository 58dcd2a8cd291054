#pragma once

#include "dicom_series.hpp"
#include "postrec/data/scan.hpp"

namespace postrec {

/// Whether a file carries the DICM mark.
bool has_dicom_mark(const std::filesystem::path& path);

/// The headers of a folder's one series (or the one that `series_uid` names) or of one file alone, checked and sorted. Appends to `warnings`.
DicomSeries read_dicom_series(const std::filesystem::path& path, const std::string& series_uid, std::vector<std::string>& warnings);

/// A folder with a series, or one file alone. Pixels are not yet looked at for NaN.
Scan read_dicom_scan(const std::filesystem::path& path, const ScanOptions& options);

}  // namespace postrec
