#pragma once

#include <functional>
#include <string>
#include <vector>

#include "files.hpp"
#include "postrec/image.hpp"

class DcmDataset;

namespace postrec::test {

inline constexpr int kColumns = 7, kRows = 5;

/// Text that no message may ever hold.
inline constexpr const char* kCanary = "ZZCANARY";

struct SliceSpec {
  int index = 0;  ///< place along the normal, and part of every pixel value
  std::string series_uid = "1.2.3.4";
  std::string sop_uid;  ///< empty: made from series and index
  double slope = 2.0, intercept = -1000.0;
  std::function<void(DcmDataset&)> change;  ///< last, before the file is written
};

/// The stored value of a pixel.
inline int stored_value(int column, int row, int index) { return column + 10 * row + 100 * index; }

/// Writes one CT slice of `geometry` with DCMTK, int16, with the canary in every text of group 0010.
void write_ct_slice(const fs::path& path, const ImageGeometry& geometry, const SliceSpec& spec);

/// n slices; file names are in an order that is not that of the positions.
void write_ct_series(const fs::path& folder, const ImageGeometry& geometry, int n, const std::function<void(SliceSpec&)>& change = {});

}  // namespace postrec::test
