#include "dicom_padding.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

namespace postrec {

std::int64_t set_padding_to_air(const std::vector<DicomFile>& files, double air, const at::Tensor& pixels) {
  std::int64_t n_changed = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const DicomHeader& h = files[i].header;
    // MONOCHROME1 comes back counted down, colours have no padding.
    if (!h.has_padding || std::strcmp(h.photometric, "MONOCHROME2") != 0) continue;
    const auto rescaled = [&](double stored) { return stored * h.rescale_slope + h.rescale_intercept; };
    const auto [low, high] = std::minmax({rescaled(static_cast<double>(h.padding[0]) - 0.5), rescaled(static_cast<double>(h.padding[1]) + 0.5)});
    at::Tensor image = pixels[static_cast<std::int64_t>(i)];
    const at::Tensor padded = image.gt(low).logical_and_(image.lt(high)).logical_and_(image.ne(air));
    n_changed += padded.sum().item<std::int64_t>();
    image.masked_fill_(padded, air);
  }
  return n_changed;
}

}  // namespace postrec
