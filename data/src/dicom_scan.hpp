#pragma once

#include "postrec/data/scan.hpp"

namespace postrec {

/// Whether a file carries the DICM mark.
bool has_dicom_mark(const std::filesystem::path& path);

/// A folder with a series, or one file alone. Pixels are not yet looked at for NaN.
Scan read_dicom_scan(const std::filesystem::path& path, const ScanOptions& options);

}  // namespace postrec
