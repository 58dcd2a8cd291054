#include "mrd_geometry.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "postrec/error.hpp"

namespace postrec {

namespace {

using Vector = std::array<double, 3>;

constexpr double kDirectionTolerance = 1e-3;
constexpr double kStepTolerance = 0.01;   // of the step
constexpr double kShiftTolerance = 0.1;   // of a pixel

double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
Vector cross(const Vector& a, const Vector& b) { return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]}; }

bool same(const Vector& a, const Vector& b) {
  double largest = 0;
  for (int i = 0; i < 3; ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest < kDirectionTolerance;
}

bool orthonormal(const SlicePlane& plane) {
  return std::abs(dot(plane.read_dir, plane.read_dir) - 1) < kDirectionTolerance && std::abs(dot(plane.phase_dir, plane.phase_dir) - 1) < kDirectionTolerance &&
         std::abs(dot(plane.read_dir, plane.phase_dir)) < kDirectionTolerance;
}

bool says_nothing(const SlicePlane& plane) { return dot(plane.read_dir, plane.read_dir) == 0 && dot(plane.phase_dir, plane.phase_dir) == 0; }

/// Slices must follow each other along the normal, or the volume would be a box that they are not in.
void require_upright(const std::vector<SlicePlane>& planes, const Vector& read_dir, const Vector& phase_dir, std::array<double, 2> pixel_mm, const std::string& name) {
  for (const SlicePlane& plane : planes) {
    Vector step;
    for (std::size_t i = 0; i < 3; ++i) step[i] = plane.position_mm[i] - planes.front().position_mm[i];
    const double sideways = std::hypot(dot(step, read_dir), dot(step, phase_dir));
    if (sideways > kShiftTolerance * std::min(pixel_mm[0], pixel_mm[1]))
      throw Error(ErrorKind::kBadData, name + ": its slices are shifted sideways against each other, by " + std::to_string(sideways) + " mm", "export slices that do not lie on one stack to files of their own");
  }
}

/// The mean step of sorted heights, and whether every step is that.
std::pair<double, bool> step_of(const std::vector<double>& heights) {
  const double step = (heights.back() - heights.front()) / static_cast<double>(heights.size() - 1);
  bool even = true;
  for (std::size_t i = 1; i < heights.size(); ++i) even = even && std::abs(heights[i] - heights[i - 1] - step) <= kStepTolerance * step;
  return {step, even};
}

}  // namespace

PlacedSlices place_slices(const std::vector<SlicePlane>& planes, std::array<double, 2> pixel_mm, double thickness_mm, std::int64_t rows, std::int64_t columns,
                          const std::string& name) {
  PlacedSlices placed;
  placed.order.resize(planes.size());
  std::iota(placed.order.begin(), placed.order.end(), std::size_t{0});
  placed.geometry.spacing_mm = {pixel_mm[0], pixel_mm[1], thickness_mm};

  for (const SlicePlane& plane : planes)
    if (!std::isfinite(dot(plane.position_mm, plane.position_mm)))
      throw Error(ErrorKind::kBadData, name + ": the position of a slice is not finite", "the headers are damaged; export it again");
  SlicePlane first = planes.front();
  for (const SlicePlane& plane : planes)
    if (!same(plane.read_dir, first.read_dir) || !same(plane.phase_dir, first.phase_dir))
      throw Error(ErrorKind::kBadData, name + ": its slices are turned against each other", "export each orientation to a file of its own");
  if (says_nothing(first)) {
    first.read_dir = {1, 0, 0};
    first.phase_dir = {0, 1, 0};
    placed.notes.push_back("the file does not say how the slices are turned: the image axes are taken for left and posterior");
  } else if (!orthonormal(first)) {
    throw Error(ErrorKind::kBadData, name + ": the directions of readout and phase encoding are not orthonormal", "the headers are damaged; export it again");
  } else {
    require_upright(planes, first.read_dir, first.phase_dir, pixel_mm, name);
  }
  const Vector normal = cross(first.read_dir, first.phase_dir);

  std::vector<double> heights;
  for (const SlicePlane& plane : planes) heights.push_back(dot(plane.position_mm, normal));
  std::stable_sort(placed.order.begin(), placed.order.end(), [&](std::size_t a, std::size_t b) { return heights[a] < heights[b]; });
  if (!std::is_sorted(placed.order.begin(), placed.order.end()))
    placed.notes.push_back("the slices lie in another order than the file counts them (slice 0 is its " + std::to_string(placed.order.front() + 1) +
                           ". one): --slice, and maps, masks and weights of each slice, count them as they lie");
  std::sort(heights.begin(), heights.end());
  if (planes.size() > 1) {
    const auto [step, even] = step_of(heights);
    if (step > 0) placed.geometry.spacing_mm[2] = step;
    if (!even) placed.notes.push_back("the slices are not evenly spaced: the mean distance is written");
    if (step == 0) placed.notes.push_back("the file says no positions of slices: they are stacked in their order, at the distance of the field of view");
  }
  const Vector& middle = planes[placed.order.front()].position_mm;
  for (int i = 0; i < 3; ++i) {
    placed.geometry.direction[3 * i] = first.read_dir[i];
    placed.geometry.direction[3 * i + 1] = first.phase_dir[i];
    placed.geometry.direction[3 * i + 2] = normal[i];
    placed.geometry.origin_mm[i] =
        middle[i] - first.read_dir[i] * pixel_mm[0] * static_cast<double>(columns / 2) - first.phase_dir[i] * pixel_mm[1] * static_cast<double>(rows / 2);
  }
  return placed;
}

}  // namespace postrec
