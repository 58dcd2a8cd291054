#include "ct_radon/ray_set.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace postrec::ct {
namespace {

// Far beyond any image: padded rays are clamped into its border by the forward and have zero weight in the adjoint.
constexpr float kBeyond = 1e9f;

/// A ray as it marches: across(step) = start + step * slope, in pixels.
struct March {
  double start, slope, length_mm;
};

bool marches_along_rows(const Ray& ray) { return std::abs(ray.dz) >= std::abs(ray.dx); }

March march_of(const Geometry& geometry, const Ray& ray, bool transposed) {
  const double middle_row = 0.5 * static_cast<double>(geometry.height - 1), middle_column = 0.5 * static_cast<double>(geometry.width - 1);
  const double x = ray.x_mm / geometry.pixel_mm, z = ray.z_mm / geometry.pixel_mm;
  if (transposed) {  // along columns c: row = middle_row - z - (c - middle_column - x) dz/dx
    const double tangent = ray.dz / ray.dx;
    return {middle_row - z + (x + middle_column) * tangent, -tangent, geometry.pixel_mm * std::hypot(1.0, tangent)};
  }
  // along rows r: column = middle_column + x + (middle_row - r - z) dx/dz
  const double tangent = ray.dx / ray.dz;
  return {middle_column + x + (middle_row - z) * tangent, -tangent, geometry.pixel_mm * std::hypot(1.0, tangent)};
}

/// The rows first..last (one past) where the ray's column lies in (-1, width); a hundredth of a pixel allows for float rounding.
void rows_met(float start, float slope, int height, int width, int& first, int& last) {
  const double left = -1.01 - start, right = width + 0.01 - start, s = slope;
  double enter = 0, leave = height;
  if (std::abs(s) > 1e-9) {
    enter = std::min(left / s, right / s);
    leave = std::max(left / s, right / s);
  } else if (left > 0 || right < 0) {
    leave = -1;
  }
  first = static_cast<int>(std::clamp(std::floor(enter), 0.0, static_cast<double>(height)));
  last = static_cast<int>(std::clamp(std::ceil(leave) + 1, 0.0, static_cast<double>(height)));
}

/// The most rays whose column can lie in a half-open interval two pixels wide, on any row that the bundle meets.
int count_taps(const std::vector<float>& start, const std::vector<float>& slope, int n_rays, int first_row, int last_row) {
  double smallest = std::numeric_limits<double>::infinity();
  for (int k = 0; k + 1 < n_rays; ++k) {
    for (const double row : {first_row, last_row - 1}) {  // the gap is linear in the row
      smallest = std::min(smallest, (start[k + 1] + row * slope[k + 1]) - (start[k] + row * slope[k]));
    }
  }
  if (smallest * n_rays <= 2) return n_rays;
  return static_cast<int>(std::ceil(2 / smallest + 1e-3));
}

}  // namespace

RaySet::RaySet(const Geometry& geometry) {
  for (std::int64_t view = 0; view < geometry.n_views(); ++view) {
    const auto along_rows = [&](std::int64_t k) { return marches_along_rows(ray_of(geometry, view, static_cast<double>(k))); };
    std::int64_t first = 0;
    for (std::int64_t k = 1; k <= geometry.n_detectors; ++k) {
      if (k < geometry.n_detectors && along_rows(k) == along_rows(first)) continue;
      add_bundle(geometry, view, first, k, !along_rows(first));
      first = k;
    }
  }
}

void RaySet::add_bundle(const Geometry& geometry, std::int64_t view, std::int64_t first, std::int64_t last, bool transposed) {
  const auto march = [&](double detector) { return march_of(geometry, ray_of(geometry, view, detector), transposed); };
  const int n_rays = static_cast<int>(last - first);
  RayBundle bundle{};
  bundle.n_rays = n_rays;
  bundle.n_blocks = round_up_to_lanes(n_rays) / kLanes;
  bundle.height = static_cast<int>(transposed ? geometry.width : geometry.height);
  bundle.width = static_cast<int>(transposed ? geometry.height : geometry.width);
  bundle.affine = geometry.beam == Beam::kParallel;

  // Rays in order of their column. No two cross in front of the source, so any point there decides; on a fan's ray, that near the isocentre.
  const double here = static_cast<double>(first);
  const Ray ray = ray_of(geometry, view, here);
  const double reach = geometry.source_to_isocenter_mm;
  const double index = transposed ? geometry.x_column(ray.x_mm + reach * ray.dx) : geometry.z_row(ray.z_mm + reach * ray.dz);
  const auto column = [&](double detector) { const March m = march(detector); return m.start + index * m.slope; };
  const double step = n_rays > 1 ? column(here + 1) - column(here) : 1.0;
  Placement placement{view, step > 0 ? first : last - 1, step > 0 ? 1 : -1, 0, nullptr};
  const auto detector_of = [&](int k) { return static_cast<double>(placement.first_detector + k * placement.detector_step); };

  if (bundle.affine) {
    const March m = march(detector_of(0));
    bundle.affine_start = static_cast<float>(m.start);
    bundle.affine_step = static_cast<float>(n_rays > 1 ? std::abs(step) : 1.0);
    bundle.affine_inverse_step = 1.0f / bundle.affine_step;
    bundle.affine_slope = static_cast<float>(m.slope);
  }

  Tables tables;
  tables.block_first_row.assign(bundle.n_blocks, bundle.height);
  tables.block_last_row.assign(bundle.n_blocks, 0);
  bundle.first_row = bundle.height;
  for (int k = 0; k < n_rays; ++k) {
    const March m = march(detector_of(k));
    const float start = bundle.affine ? std::fma(static_cast<float>(k), bundle.affine_step, bundle.affine_start) : static_cast<float>(m.start);
    const float slope = bundle.affine ? bundle.affine_slope : static_cast<float>(m.slope);
    tables.start.push_back(start);
    tables.slope.push_back(slope);
    tables.length_mm.push_back(static_cast<float>(m.length_mm));
    int first_row, last_row;
    rows_met(start, slope, bundle.height, bundle.width, first_row, last_row);
    if (first_row >= last_row) continue;
    int& block_first = tables.block_first_row[k / kLanes];
    int& block_last = tables.block_last_row[k / kLanes];
    block_first = std::min(block_first, first_row);
    block_last = std::max(block_last, last_row);
    bundle.first_row = std::min(bundle.first_row, block_first);
    bundle.last_row = std::max(bundle.last_row, block_last);
  }
  if (bundle.first_row >= bundle.last_row) return;  // no ray meets the image

  if (bundle.affine) {
    // Rounding moves the index of the first candidate by a few 1e-7 of the largest coordinate; candidates this much wider miss no ray.
    const double margin = 1e-6 * std::max({bundle.width, bundle.height, n_rays});
    const double width_in_rays = 2.0 / bundle.affine_step;
    bundle.n_taps = static_cast<int>(std::ceil(width_in_rays + 2 * margin));
    bundle.tap_margin = static_cast<float>(0.5 * (bundle.n_taps - width_in_rays));
  } else {
    bundle.n_taps = count_taps(tables.start, tables.slope, n_rays, bundle.first_row, bundle.last_row);
  }
  bundle.n_padded = round_up_to_lanes(n_rays) + round_up_to_lanes(bundle.n_taps) + kOverRead;
  tables.start.resize(bundle.n_padded, kBeyond);
  tables.slope.resize(bundle.n_padded, 0.0f);

  placement.first_value = n_values_ + kLanes;  // zeros before ray 0 too
  n_values_ += kLanes + bundle.n_padded;
  max_rays_ = std::max(max_rays_, bundle.n_padded);
  max_taps_ = std::max(max_taps_, bundle.n_taps);
  // Vectors keep their memory when they are moved, so these pointers stay good while tables_ grows.
  bundle.start = tables.start.data();
  bundle.slope = tables.slope.data();
  bundle.block_first_row = tables.block_first_row.data();
  bundle.block_last_row = tables.block_last_row.data();
  placement.length_mm = tables.length_mm.data();
  (transposed ? along_columns_ : along_rows_).push_back(static_cast<int>(bundles_.size()));
  tables_.push_back(std::move(tables));
  bundles_.push_back(bundle);
  placements_.push_back(placement);
}

}  // namespace postrec::ct
