#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "postrec/atomic_file.hpp"

namespace postrec {

enum class FileFormat { kNifti, kNrrd, kMetaImage, kPng, kJpeg, kCfl, kText, kUnknown };

/// By the extension, whatever its case. kNifti: .nii, .nii.gz; kNrrd: .nrrd, .nhdr; kMetaImage: .mha, .mhd; kJpeg: .jpg, .jpeg; kCfl: .cfl,
/// .hdr; kText: .txt, .csv.
FileFormat format_of(const std::filesystem::path& path);

/// Whether a name ends so, whatever its case.
bool ends_with(const std::filesystem::path& path, const std::string& lower_case_ending);

/// Throws Error unless `path` is a regular file that can be opened and is not empty: kNoInput (missing, no permission), kBadData.
/// Returns its size in bytes.
std::uint64_t check_input_file(const std::filesystem::path& path);

/// The file that a header in `folder` names. Throws Error(kBadData) when it lies outside of the folder, also by way of a symbolic link.
/// `where` says in a message which entry of which file named it.
std::filesystem::path resolve_inside(const std::filesystem::path& folder, const std::string& name, const std::string& where);

/// Up to `limit` bytes from the beginning of a file.
std::string read_head(const std::filesystem::path& path, std::size_t limit);

/// Product of `factors`; throws Error(kBadData) naming `what` unless each is at least 1 and the product fits in 62 bits.
std::uint64_t checked_product(const std::vector<std::int64_t>& factors, const std::string& what);

}  // namespace postrec
