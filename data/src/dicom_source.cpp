#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "dicom_scan.hpp"
#include "dicom_series.hpp"
#include "itk_axes.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/derived_series.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"
#include "slice_range.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

constexpr double kGridTolerance_mm = 1e-3;

/// Only one slice alone can lack it. What stands in for it when a scan is read would be written as if the scanner had said so.
void require_place(const DicomHeader& header, const fs::path& path) {
  if (!header.has_position || !header.has_orientation || !header.has_pixel_spacing)
    throw Error(ErrorKind::kBadData, quoted_path(path) + " lacks ImagePositionPatient, ImageOrientationPatient or PixelSpacing", "derived DICOM objects need a source that says where it lies: give one with all three");
}

/// Read as an image other values are taken for HU, with a warning; written they would be HU to every reader.
void require_hounsfield(const DicomFile& file) {
  if (says_other_than_hu(file.header)) throw Error(ErrorKind::kUsage, file.name + ": its RescaleType is not HU", "derived DICOM objects of CT are in Hounsfield units: give a CT series that is");
}

}  // namespace

bool holds_dicom(const fs::path& path) {
  std::error_code failure;
  if (!fs::is_directory(path, failure)) return fs::is_regular_file(path, failure) && has_dicom_mark(path);
  for (const auto& entry : fs::directory_iterator(path, failure))
    if (entry.is_regular_file() && has_dicom_mark(entry.path())) return true;
  return false;
}

DicomSource read_dicom_source(const fs::path& path) {
  DicomSource source;
  const DicomSeries series = read_dicom_series(path, {}, source.warnings);
  source.geometry = series.geometry;
  source.modality = series.modality;
  if (source.modality != "CT" && source.modality != "MR")
    throw Error(ErrorKind::kUsage, quoted_path(path) + " is neither CT nor MR", "derived DICOM objects are written for these two");
  const DicomHeader& first = series.files.front().header;
  if (first.samples != 1) throw Error(ErrorKind::kUsage, quoted_path(path) + " is a colour series", "derived DICOM objects are written for gray images");
  for (const DicomFile& file : series.files) {
    require_place(file.header, path);
    if (source.modality == "CT") require_hounsfield(file);
  }
  source.rows = first.rows;
  source.columns = first.columns;
  std::map<fs::path, std::string> digests;  // frames share a file
  std::string slices;
  for (const DicomFile& file : series.files) {
    source.files.push_back(file.path);
    source.names.push_back(file.name);
    source.frames.push_back(file.header.frame);
    std::string& digest = digests[file.path];
    if (digest.empty()) digest = sha256_file(file.path);
    slices += digest + " " + std::to_string(file.header.frame) + "\n";
  }
  source.identity = sha256_hex(slices.data(), slices.size());
  return source;
}

std::int64_t first_source_slice(const DicomSource& source, const ImageGeometry& grid, std::int64_t slices, std::int64_t rows, std::int64_t columns) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::kUsage, "the DICOM source and the result are not on the same grid: " + what, "give the series whose geometry the result has");
  };
  if (rows != source.rows || columns != source.columns)
    refuse("slices of " + std::to_string(source.rows) + "x" + std::to_string(source.columns) + " and of " + std::to_string(rows) + "x" + std::to_string(columns));
  double along = 0;
  for (int i = 0; i < 3; ++i) along += (grid.origin_mm[i] - source.geometry.origin_mm[i]) * source.geometry.direction[3 * i + 2];
  const double first = std::round(along / source.geometry.spacing_mm[2]);
  const auto n_source = static_cast<std::int64_t>(source.files.size());
  if (!(first >= 0 && first + static_cast<double>(slices) <= static_cast<double>(n_source)))
    refuse(std::to_string(n_source) + " slices, which do not cover the result's " + std::to_string(slices));
  // One slice has no spacing to compare.
  const double off_mm = corner_distance_mm(moved_to_slice(source.geometry, static_cast<std::int64_t>(first)), grid, source.columns, source.rows, slices);
  if (!(off_mm <= kGridTolerance_mm)) {
    char text[48];
    std::snprintf(text, sizeof text, "corners are %.4g mm apart", off_mm);
    refuse(text);
  }
  return static_cast<std::int64_t>(first);
}

}  // namespace postrec
