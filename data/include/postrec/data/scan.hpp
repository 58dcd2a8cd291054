#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "postrec/image.hpp"

namespace postrec {

struct ScanOptions {
  std::optional<std::int64_t> slice = {};      ///< one slice along z instead of all; counted from 0
  std::string series_uid = {};                 ///< which DICOM series of a folder; empty: there must be one
  std::filesystem::path scratch = {};          ///< a folder: the pixels lie in a file there (scratch_tensor.hpp) instead of memory
};

/// A scan as it was read, and what there is to say about it.
struct Scan {
  Image image;                                 ///< real; HU for CT, [slice, C, H, W]
  std::string modality;                        ///< "MR", "CT" or "" where the file does not say
  std::string patient_sha256;                  ///< DICOM: of the PatientID, to tell two patients apart in memory; never to be shown or kept
  std::vector<std::string> warnings;           ///< without patient data
};

/// Reads NIfTI, NRRD, MetaImage, PNG, JPEG, the DICOM series of a folder, or one DICOM file as one slice.
/// Throws Error: kNoInput (missing), kBadData (truncated, not finite, empty, inconsistent series), kUsage (no such slice), each naming the file
/// and value.
Scan read_scan(const std::filesystem::path& path, const ScanOptions& options = {});

}  // namespace postrec
