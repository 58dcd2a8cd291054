#pragma once

#include <string>
#include <vector>

#include "dicom_pixels.hpp"
#include "postrec/image.hpp"

namespace postrec {

/// Files that were checked to be one series on one regular grid.
struct DicomSeries {
  std::vector<DicomFile> files;  ///< by position along the normal, ascending
  ImageGeometry geometry;
  std::string modality;
  std::vector<std::string> warnings;
};

/// Picks the series `series_uid` (empty: there must be one), checks it and sorts it. `source` names the folder or file in messages.
/// Throws Error(kBadData) that names the file by its place and says what would be right.
DicomSeries assemble_series(std::vector<DicomFile> files, const std::string& series_uid, const std::string& source);

}  // namespace postrec
