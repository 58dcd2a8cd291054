#include "payload.hpp"

#include <cmath>

#include "postrec/error.hpp"

namespace postrec {

std::uint64_t check_payload(const std::filesystem::path& path, FileFormat format) {
  switch (format) {
    case FileFormat::kNifti:
      return check_nifti_payload(path);
    case FileFormat::kNrrd:
      return check_nrrd_payload(path);
    case FileFormat::kMetaImage:
      return check_meta_image_payload(path);
    case FileFormat::kPng:
      return check_png_payload(path);
    case FileFormat::kJpeg:
      return check_jpeg_payload(path);
    default:
      throw Error(ErrorKind::kInternal, "check_payload is not for the format of " + quoted_path(path));
  }
}

void require_payload_size(const std::filesystem::path& path, std::uint64_t promised, std::uint64_t found) {
  if (found < promised)
    throw Error(
        ErrorKind::kBadData,
        quoted_path(path) + " is truncated: its header promises " + std::to_string(promised) + " bytes, it holds " + std::to_string(found),
        "copy the file again");
  if (found > promised)
    throw Error(ErrorKind::kBadData,
                quoted_path(path) + " holds more than the " + std::to_string(promised) + " bytes that its header promises",
                "the header is damaged or belongs to another file");
}

void require_spacing(const std::filesystem::path& path, double spacing_mm, int axis) {
  if (!std::isfinite(spacing_mm) || spacing_mm <= 0.0)
    throw Error(ErrorKind::kBadData,
                quoted_path(path) + " has the spacing " + std::to_string(spacing_mm) + " mm along axis " + std::to_string(axis),
                "a spacing is finite and above 0");
}

}  // namespace postrec
