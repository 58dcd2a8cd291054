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

/// The least distance between two neighbouring rays on one row; not so small that more than all rays would meet a pixel.
float least_gap(const std::vector<float>& start, const std::vector<float>& slope, int n_rays, int row) {
  double least = std::numeric_limits<float>::max();
  for (int k = 0; k + 1 < n_rays; ++k) {
    least = std::min(least, (start[k + 1] + row * static_cast<double>(slope[k + 1])) - (start[k] + row * static_cast<double>(slope[k])));
  }
  return static_cast<float>(std::max(least, 2.0 / n_rays));
}

/// How a pixel's rays are found. Rounding moves the index of the first candidate by a few 1e-7 of the largest number in its computation;
/// candidates that start `tap_margin` earlier and end as much later miss no ray. However fine the detector, there are no more than all rays.
void set_affine_taps(RayBundle& bundle) {
  const double margin = 4e-7 * std::max({bundle.width, bundle.height, bundle.n_rays});
  const double width_in_rays = 2.0 / bundle.affine_step;
  const double n_taps = std::ceil(width_in_rays + 2 * margin);
  bundle.n_taps = static_cast<int>(std::min(n_taps, static_cast<double>(bundle.n_rays)));
  bundle.tap_margin = static_cast<float>(0.5 * (n_taps - width_in_rays));
}

void set_fan_taps(RayBundle& bundle) {
  bundle.tap_margin = 1e-6f * (std::abs(bundle.index_scale) + static_cast<float>(bundle.n_rays));
  const int n_taps = static_cast<int>(2.0f / std::min(bundle.first_gap, bundle.last_gap) + 2.0f * bundle.tap_margin) + 2;
  bundle.n_taps = std::min(n_taps, bundle.n_rays);
}

/// Where the pixel at (row, column) of the marched image is seen by the view's source, see RayBundle.
void set_fan_planes(RayBundle& bundle, const Geometry& geometry, double angle, bool transposed) {
  const auto plane = [&](double of_x, double of_z, double constant) {  // of_x x + of_z z + constant, x and z in pixels
    const double middle_row = 0.5 * static_cast<double>(geometry.height - 1), middle_column = 0.5 * static_cast<double>(geometry.width - 1);
    const double start = constant + of_z * middle_row - of_x * middle_column;
    const double row = transposed ? of_x : -of_z, column = transposed ? -of_z : of_x;
    return RayBundle::Plane{static_cast<float>(start), static_cast<float>(row), static_cast<float>(column)};
  };
  bundle.across = plane(std::cos(angle), -std::sin(angle), 0.0);
  bundle.depth = plane(-std::sin(angle), -std::cos(angle), geometry.source_to_isocenter_mm / geometry.pixel_mm);
}

/// The rays first..last (one past) of a view, told apart by detector, in order of their column.
class Neighbours {
 public:
  Neighbours(const Geometry& geometry, std::int64_t view, std::int64_t first, std::int64_t last, bool transposed)
      : geometry_(geometry), view_(view), transposed_(transposed), n_(static_cast<int>(last - first)) {
    step_ = n_ > 1 ? column_step(static_cast<double>(first)) : 1.0;
    direction_ = step_ > 0 ? 1 : -1;
    first_detector_ = step_ > 0 ? first : last - 1;
  }

  int size() const { return n_; }
  std::int64_t first_detector() const { return first_detector_; }
  std::int64_t direction() const { return direction_; }
  /// Distance of the first two, in pixels across the march: that of any two in a parallel beam.
  double step() const { return std::abs(step_); }
  March march(int k) const { return march_at(static_cast<double>(first_detector_ + k * direction_)); }

 private:
  March march_at(double detector) const { return march_of(geometry_, ray_of(geometry_, view_, detector), transposed_); }

  /// From one ray to the next where the ray passes the isocentre: no two rays cross in front of the source, so that its sign holds elsewhere too.
  double column_step(double detector) const {
    const Ray ray = ray_of(geometry_, view_, detector);
    const double reach = geometry_.source_to_isocenter_mm;
    const double index = transposed_ ? geometry_.x_column(ray.x_mm + reach * ray.dx) : geometry_.z_row(ray.z_mm + reach * ray.dz);
    const March here = march_at(detector), next = march_at(detector + 1);
    return (next.start + index * next.slope) - (here.start + index * here.slope);
  }

  const Geometry& geometry_;
  std::int64_t view_;
  bool transposed_;
  int n_;
  double step_;
  std::int64_t first_detector_, direction_;
};

void set_affine(RayBundle& bundle, const Neighbours& rays) {
  const March first = rays.march(0);
  bundle.affine = true;
  bundle.affine_start = static_cast<float>(first.start);
  bundle.affine_step = static_cast<float>(rays.step());
  bundle.affine_inverse_step = 1.0f / bundle.affine_step;
  bundle.affine_slope = static_cast<float>(first.slope);
}

void set_fan(RayBundle& bundle, const Neighbours& rays, const Geometry& geometry, double angle, bool transposed) {
  set_fan_planes(bundle, geometry, angle, transposed);
  bundle.curved = geometry.beam == Beam::kFanCurved;
  const double central_detector = 0.5 * static_cast<double>(geometry.n_detectors - 1) - geometry.detector_offset_mm / geometry.detector_spacing_mm;
  const double direction = static_cast<double>(rays.direction());
  bundle.index_scale = static_cast<float>(direction * geometry.source_to_detector_mm / geometry.detector_spacing_mm);
  bundle.index_start = static_cast<float>(direction * (central_detector - static_cast<double>(rays.first_detector())));
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
  const Neighbours rays(geometry, view, first, last, transposed);
  RayBundle bundle{};
  bundle.n_rays = rays.size();
  bundle.n_blocks = round_up_to_lanes(rays.size()) / kLanes;
  bundle.height = static_cast<int>(transposed ? geometry.width : geometry.height);
  bundle.width = static_cast<int>(transposed ? geometry.height : geometry.width);
  if (geometry.beam == Beam::kParallel) {
    set_affine(bundle, rays);
  } else {
    set_fan(bundle, rays, geometry, geometry.angles_rad[static_cast<std::size_t>(view)], transposed);
  }

  Tables tables;
  for (int k = 0; k < rays.size(); ++k) {
    const March march = rays.march(k);
    tables.start.push_back(bundle.affine ? std::fma(static_cast<float>(k), bundle.affine_step, bundle.affine_start) : static_cast<float>(march.start));
    tables.slope.push_back(bundle.affine ? bundle.affine_slope : static_cast<float>(march.slope));
    tables.length_mm.push_back(static_cast<float>(march.length_mm));
  }
  find_rows(bundle, tables);
  if (bundle.first_row >= bundle.last_row) return;  // no ray meets the image
  bundle.first_gap = least_gap(tables.start, tables.slope, rays.size(), bundle.first_row);
  bundle.last_gap = least_gap(tables.start, tables.slope, rays.size(), bundle.last_row - 1);
  bundle.affine ? set_affine_taps(bundle) : set_fan_taps(bundle);
  bundle.n_padded = round_up_to_lanes(rays.size()) + round_up_to_lanes(bundle.n_taps) + kOverRead;
  tables.start.resize(bundle.n_padded, kBeyond);
  tables.slope.resize(bundle.n_padded, 0.0f);

  // Vectors keep their memory when they are moved, so these pointers stay good while tables_ grows.
  bundle.start = tables.start.data();
  bundle.slope = tables.slope.data();
  bundle.block_first_row = tables.block_first_row.data();
  bundle.block_last_row = tables.block_last_row.data();
  (transposed ? along_columns_ : along_rows_).push_back(static_cast<int>(bundles_.size()));
  placements_.push_back({view, rays.first_detector(), rays.direction(), n_values_, tables.length_mm.data()});
  n_values_ += bundle.n_padded;
  bundles_.push_back(bundle);
  tables_.push_back(std::move(tables));
}

/// Which rows each block of rays meets, and the bundle as a whole.
void RaySet::find_rows(RayBundle& bundle, Tables& tables) {
  tables.block_first_row.assign(bundle.n_blocks, bundle.height);
  tables.block_last_row.assign(bundle.n_blocks, 0);
  for (int k = 0; k < bundle.n_rays; ++k) {
    int first, last;
    rows_met(tables.start[k], tables.slope[k], bundle.height, bundle.width, first, last);
    if (first >= last) continue;
    int& block_first = tables.block_first_row[k / kLanes];
    int& block_last = tables.block_last_row[k / kLanes];
    block_first = std::min(block_first, first);
    block_last = std::max(block_last, last);
  }
  bundle.first_row = *std::min_element(tables.block_first_row.begin(), tables.block_first_row.end());
  bundle.last_row = *std::max_element(tables.block_last_row.begin(), tables.block_last_row.end());
}

}  // namespace postrec::ct
