#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dicom_pixels.hpp"

namespace postrec {

/// Sets pixels that only fill the frame around what was reconstructed (DicomHeader::padding; often far below -1000 HU) to `air`, in `pixels` [file, row, column, sample] as they
/// were read from `files`. Returns how many had another value. [PS3.3, C.7.5.1.1.2]
std::int64_t set_padding_to_air(const std::vector<DicomFile>& files, double air, const at::Tensor& pixels);

}  // namespace postrec
