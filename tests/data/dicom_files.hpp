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

/// A series that says of itself what a scanner says: a disc that grows from slice to slice, about 0 to 1000 (MR) or -1000 to 100 HU (CT), 1.25 x 1.25 x 3 mm.
struct PhantomSpec {
  std::string modality = "CT";
  int slices = 3, rows = 17, columns = 19;
  ImageGeometry geometry;                      ///< its spacing is (1.25, 1.25, 3) unless changed
  std::function<void(DcmDataset&, int slice)> change;
  PhantomSpec();
};

/// The canary stands in every text of group 0010, in all that names people and places, and in the names of the files.
void write_phantom_series(const fs::path& folder, const PhantomSpec& spec = {});

/// Ways to spoil a written series: cut the middle file in half; tilt the gantry by 20 degrees.
void truncate_middle_file(const fs::path& folder);
void write_tilted_series(const fs::path& folder);

}  // namespace postrec::test
