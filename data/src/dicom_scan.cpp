#include "dicom_scan.hpp"

#include <algorithm>

#include "dicom_padding.hpp"
#include "input_file.hpp"
#include "itk_axes.hpp"
#include "postrec/error.hpp"
#include "slice_range.hpp"

namespace postrec {

namespace fs = std::filesystem;

std::vector<fs::path> dicom_files_in(const fs::path& folder, std::vector<std::string>& notes) {
  std::vector<fs::path> files;
  int n_other = 0, n_lost = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::error_code failure;
    const bool gone = !entry.exists(failure);  // a symbolic link to nothing
    if ((!gone && !entry.is_regular_file()) || entry.path().filename() == "DICOMDIR") continue;
    if (has_dicom_mark(entry.path())) files.push_back(entry.path());
    else if (is_lost_dicom(entry.path())) ++n_lost;
    else ++n_other;
  }
  if (n_lost > 0 && !files.empty())
    throw Error(ErrorKind::kBadData, std::to_string(n_lost) + " file(s) of " + quoted_path(folder) + " are empty, links to nothing, or named as DICOM and are none", "slices may be missing: export the series again, or take the files out");
  if (n_other > 0) notes.push_back(std::to_string(n_other) + " file(s) of the folder are not DICOM and were left out");
  std::sort(files.begin(), files.end());
  return files;
}

DicomSeries read_dicom_series(const fs::path& path, const std::string& series_uid, std::vector<std::string>& warnings) {
  const bool is_folder = fs::is_directory(path);
  const std::vector<fs::path> paths = is_folder ? dicom_files_in(path, warnings) : std::vector<fs::path>{path};
  if (paths.empty()) throw Error(ErrorKind::kNoInput, quoted_path(path) + " holds no DICOM file", "give the folder that holds the files of one series");
  const std::vector<DicomHeader> headers = read_dicom_headers(paths);
  std::vector<DicomFile> files;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    // File names can hold a patient's name, so a file of a folder is named by its place.
    const std::string name = is_folder ? "DICOM file " + std::to_string(i + 1) + " of " + quoted_path(path) + " (by name)" : quoted_path(path);
    if (headers[i].enhanced)
      for (const DicomHeader& frame : read_frame_headers(paths[i], headers[i]))
        files.push_back({paths[i], frame, frame.frame > 0 ? "frame " + std::to_string(frame.frame) + " of " + name : name});
    else
      files.push_back({paths[i], headers[i], name});
  }
  DicomSeries series = assemble_series(std::move(files), series_uid, quoted_path(path));
  warnings.insert(warnings.end(), series.warnings.begin(), series.warnings.end());
  return series;
}

Scan read_dicom_scan(const fs::path& path, const ScanOptions& options) {
  Scan scan;
  const DicomSeries series = read_dicom_series(path, options.series_uid, scan.warnings);
  const SliceRange range = slice_range(options, static_cast<std::int64_t>(series.files.size()), path);
  const std::vector<DicomFile> chosen(series.files.begin() + range.begin, series.files.begin() + range.end);
  const DicomHeader& first = chosen.front().header;
  const at::Tensor pixels = first.frame > 0 ? read_frame_pixels(chosen, options.scratch) : read_dicom_pixels(chosen, options.scratch);
  const double air = series.modality == "CT" ? -1000.0 : 0.0;
  if (const auto n = set_padding_to_air(chosen, air, pixels); n > 0) scan.warnings.push_back(std::to_string(n) + " padded pixels (PixelPaddingValue) are taken for air");
  scan.image.pixels = tensor_from_itk(pixels, {first.columns, first.rows, range.end - range.begin}, first.samples);
  scan.image.geometry = moved_to_slice(series.geometry, range.begin);
  scan.image.unit = series.modality == "CT" ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;
  scan.modality = series.modality;
  scan.patient_sha256 = first.patient_sha256;
  return scan;
}

}  // namespace postrec
