#pragma once

#include <cstdint>
#include <vector>

#include "ct_radon/geometry.hpp"
#include "ct_radon/kernels.hpp"

namespace postrec::ct {

/// Every ray of a scan, in bundles: neighbouring rays of one view that march along the same image axis, ordered so that their position
/// across the march grows. A parallel view is one bundle, a fan view one to three.
class RaySet {
 public:
  explicit RaySet(const Geometry& geometry);
  RaySet(const RaySet&) = delete;
  RaySet& operator=(const RaySet&) = delete;

  /// Where a bundle's rays belong in the sinogram, and how its values lie in the projectors' working memory.
  struct Placement {
    std::int64_t view;
    std::int64_t first_detector;               ///< of the bundle's ray 0
    std::int64_t detector_step;                ///< +1 or -1
    std::int64_t first_value;                  ///< of ray 0 in working memory
    const float* length_mm;                    ///< path per march step, one a ray
  };

  const std::vector<RayBundle>& bundles() const { return bundles_; }
  const std::vector<Placement>& placements() const { return placements_; }
  /// Bundles that march along rows, and along columns (they see the transposed image), by view.
  const std::vector<int>& along_rows() const { return along_rows_; }
  const std::vector<int>& along_columns() const { return along_columns_; }
  std::int64_t n_values() const { return n_values_; }

 private:
  struct Tables {
    std::vector<float> start, slope, length_mm;
    std::vector<int> block_first_row, block_last_row;
  };

  static void find_rows(RayBundle& bundle, Tables& tables);
  void add_bundle(const Geometry& geometry, std::int64_t view, std::int64_t first, std::int64_t last, bool transposed);

  std::vector<RayBundle> bundles_;
  std::vector<Placement> placements_;
  std::vector<Tables> tables_;
  std::vector<int> along_rows_, along_columns_;
  std::int64_t n_values_ = 0;
};

}  // namespace postrec::ct
