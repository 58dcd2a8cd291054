#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "dicom_header.hpp"

namespace postrec {

/// One file of a series: where it is, what its header says, and what a message calls it.
struct DicomFile {
  std::filesystem::path path;
  DicomHeader header;
  std::string name;
};

/// The pixels of files of one size, rescaled, float32 [file, row, column, sample]. ITK and GDCM read them in a child process.
/// MONOCHROME1 comes back as GDCM turns it: stored values counted down from the largest, so that larger is brighter.
/// With a folder `scratch` they lie in a file there (scratch_tensor.hpp).
/// Throws Error(kBadData) that names the file when the decoder refuses it, dies, or finds something else than the header says.
at::Tensor read_dicom_pixels(const std::vector<DicomFile>& files, const std::filesystem::path& scratch = {});

/// The same for frames of enhanced multi-frame files (DicomHeader::frame), which DCMTK reads: GDCM knows the rescale and the place of the first frame alone.
at::Tensor read_frame_pixels(const std::vector<DicomFile>& frames, const std::filesystem::path& scratch = {});

}  // namespace postrec
