#include "postrec/data/scan.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "dicom_scan.hpp"
#include "input_file.hpp"
#include "itk_file.hpp"
#include "payload.hpp"
#include "postrec/error.hpp"
#include "require_finite.hpp"
#include "slice_range.hpp"

namespace postrec {

namespace {

void warn_of_placement(const std::filesystem::path& path, std::vector<std::string>& warnings) {
  const NiftiPlacement placement = nifti_placement(path);
  if (!placement.known) warnings.emplace_back("neither a qform nor a sform says how the scan is turned: the image axes are taken for left and posterior");
  // Rounding of quaternions and of six decimals stays below a tenth of a millimetre.
  if (placement.conflict_mm > 0.1)
    warnings.push_back("its qform and its sform place the scan up to " + std::to_string(static_cast<std::int64_t>(std::ceil(placement.conflict_mm))) + " mm apart: check where its result lies, or make them agree");
}

Scan read_image_file(const std::filesystem::path& path, FileFormat format, const ScanOptions& options) {
  Scan scan;
  scan.image = read_itk_file(path, format, options.scratch);
  if (format == FileFormat::kNifti) warn_of_placement(path, scan.warnings);
  const SliceRange range = slice_range(options, scan.image.pixels.size(0), path);
  scan.image.pixels = scan.image.pixels.slice(0, range.begin, range.end).contiguous();
  scan.image.geometry = moved_to_slice(scan.image.geometry, range.begin);
  return scan;
}

Scan read_any(const std::filesystem::path& path, const ScanOptions& options) {
  if (std::filesystem::is_directory(path)) {
    if (std::filesystem::exists(path / "measurement.json")) throw Error(ErrorKind::kBadData, quoted_path(path) + " is a measurement, not an image", "it is reconstructed without --simulate");
    return read_dicom_scan(path, options);
  }
  check_input_file(path);
  const FileFormat format = format_of(path);
  if (format == FileFormat::kNifti || format == FileFormat::kNrrd || format == FileFormat::kMetaImage || format == FileFormat::kPng ||
      format == FileFormat::kJpeg)
    return read_image_file(path, format, options);
  if (format == FileFormat::kUnknown && (has_dicom_mark(path) || ends_with(path, ".dcm"))) return read_dicom_scan(path, options);
  throw Error(ErrorKind::kBadData, quoted_path(path) + " is not an image that is read",
              "give NIfTI (.nii, .nii.gz), NRRD, MetaImage, PNG, JPEG or DICOM");
}

}  // namespace

SliceRange slice_range(const ScanOptions& options, std::int64_t n_slices, const std::filesystem::path& path) {
  if (!options.slice) return {0, n_slices};
  if (*options.slice < 0 || *options.slice >= n_slices)
    throw Error(ErrorKind::kUsage, "slice " + std::to_string(*options.slice) + " of " + quoted_path(path) + " does not exist",
                "slices are counted from 0 to " + std::to_string(n_slices - 1));
  return {*options.slice, *options.slice + 1};
}

ImageGeometry moved_to_slice(ImageGeometry geometry, std::int64_t slice) {
  for (int row = 0; row < 3; ++row)
    geometry.origin_mm[row] += static_cast<double>(slice) * geometry.spacing_mm[2] * geometry.direction[3 * row + 2];
  return geometry;
}

Scan read_scan(const std::filesystem::path& path, const ScanOptions& options) {
  Scan scan = read_any(path, options);
  require_finite(scan.image.pixels, quoted_path(path));
  return scan;
}

}  // namespace postrec
