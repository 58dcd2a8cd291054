#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "input_file.hpp"

namespace postrec {

/// Checks that an image file holds exactly the pixels that its header promises, before ITK sees it: ITK 5.2 takes truncated NIfTI and
/// MetaImage files, spacings of zero and data files anywhere on the disk without a word. Also used on what ITK has just written. Returns
/// how many bytes of pixels there are (an upper bound for PNG). Throws Error(kBadData) that names the file and both numbers.
std::uint64_t check_payload(const std::filesystem::path& path, FileFormat format);

std::uint64_t check_nifti_payload(const std::filesystem::path& path);
std::uint64_t check_nrrd_payload(const std::filesystem::path& path);
std::uint64_t check_meta_image_payload(const std::filesystem::path& path);
std::uint64_t check_png_payload(const std::filesystem::path& path);
std::uint64_t check_jpeg_payload(const std::filesystem::path& path);

/// What the header of a NIfTI file that passed the check says of where its volume lies.
struct NiftiPlacement {
  bool known = false;        ///< there is a qform or a sform
  double conflict_mm = 0.0;  ///< how far apart they put a corner of the volume, at most; 0 where there are not both
};
NiftiPlacement nifti_placement(const std::filesystem::path& path);

/// Why the sform of a NIfTI file without a qform is not a grid as ITK knows it, such as "its sform is sheared: axes 1 and 2 meet at 84.3
/// degrees"; empty where it is one, or is not what counts.
std::string nifti_sform_fault(const std::filesystem::path& path);

/// Of the unit that a NIfTI file says its spacings and positions are in.
double nifti_mm_per_unit(const std::filesystem::path& path);

/// The two numbers compared, with the one message that all formats share. `found` may be any number above `promised` when there are more.
void require_payload_size(const std::filesystem::path& path, std::uint64_t promised, std::uint64_t found);

/// A spacing as a header gives it: finite and above 0.
void require_spacing(const std::filesystem::path& path, double spacing_mm, int axis);

}  // namespace postrec
