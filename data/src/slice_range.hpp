#pragma once

#include "postrec/data/scan.hpp"

namespace postrec {

struct SliceRange {
  std::int64_t begin;
  std::int64_t end;
};

/// The slices that the options ask for, of `n_slices`. Throws Error(kUsage) with the range that would be right.
SliceRange slice_range(const ScanOptions& options, std::int64_t n_slices, const std::filesystem::path& path);

/// The geometry of a stack that begins at slice `slice` of this one.
ImageGeometry moved_to_slice(ImageGeometry geometry, std::int64_t slice);

}  // namespace postrec
