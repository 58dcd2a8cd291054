#include "ct_radon/filtered_back_projection.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>
#include <numeric>

namespace postrec::ct {
namespace {

constexpr double kPi = std::numbers::pi;

/// Views in order of angle on a circle, the gap after each, and the gap that ends the arc if there is one.
struct Circle {
  std::vector<std::size_t> order;
  std::vector<double> gaps;
  std::size_t widest = 0;
  double other_widest = 0;                     ///< the widest gap but one
  bool is_arc = false;
};

double on_circle(double angle, double period) { return angle - period * std::floor(angle / period); }

Circle circle_of(const std::vector<double>& angles_rad, double period) {
  Circle circle;
  const std::size_t n = angles_rad.size();
  circle.order.resize(n);
  std::iota(circle.order.begin(), circle.order.end(), std::size_t{0});
  const auto at = [&](std::size_t i) { return on_circle(angles_rad[circle.order[i]], period); };
  std::stable_sort(circle.order.begin(), circle.order.end(),
                   [&](std::size_t a, std::size_t b) { return on_circle(angles_rad[a], period) < on_circle(angles_rad[b], period); });
  for (std::size_t i = 0; i < n; ++i) circle.gaps.push_back(i + 1 < n ? at(i + 1) - at(i) : at(0) + period - at(i));
  circle.widest = static_cast<std::size_t>(std::max_element(circle.gaps.begin(), circle.gaps.end()) - circle.gaps.begin());
  for (std::size_t i = 0; i < n; ++i) {
    if (i != circle.widest) circle.other_widest = std::max(circle.other_widest, circle.gaps[i]);
  }
  circle.is_arc = n > 2 && circle.gaps[circle.widest] > 2 * circle.other_widest;
  return circle;
}

double square_of_sine(double ratio) {
  const double sine = std::sin(0.25 * kPi * ratio);
  return sine * sine;
}

/// Where a detector sees a ray: by angle in a fan.
double position_of(const Geometry& geometry, double detector) {
  return geometry.beam == Beam::kParallel ? geometry.detector_mm(detector) : geometry.fan_angle_rad(detector);
}

/// How much of each ray of a displaced detector counts, in a scan all the way round: what both sides see a smooth part that together is one, what the long side sees alone all of it [Wang 2002].
class Displacement {
 public:
  explicit Displacement(const Geometry& geometry) {
    constexpr double kElements = 2.0;          // less is how detectors are built, and every ray counts half
    const double spacing = geometry.detector_spacing_mm, offset = std::abs(geometry.detector_offset_mm), half = 0.5 * static_cast<double>(geometry.n_detectors) * spacing;
    const bool goes_round = geometry.n_views() > 2 && !circle_of(geometry.angles_rad, 2 * kPi).is_arc;
    if (!goes_round || offset <= kElements * spacing || offset >= half) return;
    n_missing_ = std::llround(2 * offset / spacing);
    to_the_right_ = geometry.detector_offset_mm > 0;
    overlap_ = std::abs(position_of(geometry, to_the_right_ ? -0.5 : static_cast<double>(geometry.n_detectors) - 0.5));
  }

  explicit operator bool() const { return n_missing_ > 0; }
  /// Elements that the short side lacks.
  std::int64_t n_left() const { return to_the_right_ ? n_missing_ : 0; }
  std::int64_t n_right() const { return to_the_right_ ? 0 : n_missing_; }

  double weight(double position) const {
    const double along = to_the_right_ ? position : -position;
    return std::abs(along) < overlap_ ? square_of_sine(1.0 + along / overlap_) : along > 0 ? 1.0 : 0.0;
  }

 private:
  std::int64_t n_missing_ = 0;
  bool to_the_right_ = false;
  double overlap_ = 0.0;
};

/// How much of each ray a fan scan counts, so that a ray and its reverse together count one.
class Redundancy {
 public:
  explicit Redundancy(const Geometry& geometry) {
    const Circle circle = circle_of(geometry.angles_rad, 2 * kPi);
    is_arc_ = circle.is_arc;
    if (!is_arc_) return;
    const std::size_t first = circle.order[(circle.widest + 1) % circle.order.size()];
    const double arc = 2 * kPi - circle.gaps[circle.widest] + circle.other_widest;
    start_ = geometry.angles_rad[first] - 0.5 * circle.other_widest;
    const double last = static_cast<double>(geometry.n_detectors - 1);
    // Rays past the image carry nothing: a wide detector asks for no longer arc.
    const double detector = std::max(std::abs(geometry.fan_angle_rad(0)), std::abs(geometry.fan_angle_rad(last)));
    half_fan_ = std::max(std::min(detector, std::asin(geometry.image_radius_mm() / geometry.source_to_isocenter_mm)), 0.5 * (arc - kPi));
  }

  /// Parker's weights over an arc of pi + 2 half_fan. The ray (angle, fan) returns as (angle + pi - 2 fan, -fan).
  double weight(double angle, double fan) const {
    if (!is_arc_) return 0.5;
    const double along = on_circle(angle - start_, 2 * kPi), rising = half_fan_ + fan, falling = half_fan_ - fan;
    const double end = kPi + 2 * half_fan_;
    if (along < 2 * rising) return square_of_sine(along / rising);
    if (along < kPi + 2 * fan) return 1.0;
    return along < end ? square_of_sine((end - along) / falling) : 0.0;
  }

 private:
  bool is_arc_ = false;
  double start_ = 0, half_fan_ = 0;
};

/// The ramp filter limited to the band of samples `spacing` apart, at offset n [Kak and Slaney, eq. 61].
double ramp(std::int64_t n, double spacing) {
  if (n == 0) return 0.25 / (spacing * spacing);
  if (n % 2 == 0) return 0.0;
  return -1.0 / (kPi * kPi * static_cast<double>(n * n) * spacing * spacing);
}

/// A Hann window that ends at the Nyquist frequency is these three taps.
double windowed_ramp(std::int64_t n, double spacing, FbpFilter filter) {
  if (filter == FbpFilter::kRamp) return ramp(n, spacing);
  return 0.5 * ramp(n, spacing) + 0.25 * (ramp(n - 1, spacing) + ramp(n + 1, spacing));
}

/// Detectors as the filter sees them: scaled to the isocentre (flat), by angle (curved).
double filter_spacing(const Geometry& geometry) {
  if (geometry.beam == Beam::kFanCurved) return geometry.detector_spacing_mm / geometry.source_to_detector_mm;
  return geometry.detector_spacing_mm / geometry.magnification();
}

std::vector<float> filter_kernel(const Geometry& geometry, FbpFilter filter) {
  const double spacing = filter_spacing(geometry);
  std::vector<float> kernel;
  for (std::int64_t n = 1 - geometry.n_detectors; n < geometry.n_detectors; ++n) {
    double value = windowed_ramp(n, spacing, filter) * spacing;
    if (geometry.beam == Beam::kFanCurved && n != 0) {
      const double angle = static_cast<double>(n) * spacing, sine = std::sin(angle);
      // Beyond a quarter turn the kernel of [Kak and Slaney, eq. 96] has no meaning, and no object reaches so far.
      value = std::abs(angle) < 0.5 * kPi ? value * (angle / sine) * (angle / sine) : 0.0;
    }
    kernel.push_back(static_cast<float>(value));
  }
  return kernel;
}

/// The detector with elements on its short side that measure nothing: the filter's answer reaches there.
Geometry two_sided(Geometry geometry) {
  const Displacement displacement(geometry);
  geometry.n_detectors += displacement.n_left() + displacement.n_right();
  geometry.detector_offset_mm += 0.5 * static_cast<double>(displacement.n_right() - displacement.n_left()) * geometry.detector_spacing_mm;
  return geometry;
}

/// `geometry` has both sides of the detector.
std::vector<float> weights_of_rays(const Geometry& geometry, const Displacement& displacement) {
  const bool parallel = geometry.beam == Beam::kParallel;
  const std::vector<double> angular = angular_weights(geometry.angles_rad, parallel ? kPi : 2 * kPi);
  std::vector<float> weights;
  const Redundancy redundancy = parallel ? Redundancy(Geometry{}) : Redundancy(geometry);
  for (std::int64_t view = 0; view < geometry.n_views(); ++view) {
    for (std::int64_t k = 0; k < geometry.n_detectors; ++k) {
      double weight = angular[view];
      const double position = position_of(geometry, static_cast<double>(k)), share = displacement ? displacement.weight(position) : 0.5;
      if (parallel && displacement) weight *= 2.0 * share;  // each direction is there twice
      if (!parallel) {
        const double fan = position;
        weight *= (displacement ? share : redundancy.weight(geometry.angles_rad[view], fan)) * std::cos(fan);
        if (geometry.beam == Beam::kFanCurved) weight *= geometry.source_to_isocenter_mm;
      }
      weights.push_back(static_cast<float>(weight));
    }
  }
  return weights;
}

}  // namespace

std::vector<double> angular_weights(const std::vector<double>& angles_rad, double period) {
  const Circle circle = circle_of(angles_rad, period);
  std::vector<double> gaps = circle.gaps;
  if (circle.is_arc) {
    const std::size_t n = gaps.size();
    const double before = gaps[(circle.widest + n - 1) % n], after = gaps[(circle.widest + 1) % n];
    gaps[circle.widest] = 0.5 * (before + after);
  }
  std::vector<double> weights(gaps.size());
  for (std::size_t i = 0; i < gaps.size(); ++i) weights[circle.order[i]] = 0.5 * (gaps[i] + gaps[(i + gaps.size() - 1) % gaps.size()]);
  return weights;
}

Sights sights_of(const Geometry& geometry) {
  return {static_cast<int>(geometry.height), static_cast<int>(geometry.width), static_cast<int>(geometry.n_detectors), geometry.beam != Beam::kParallel,
          geometry.beam == Beam::kFanCurved, geometry.pixel_mm, geometry.detector_spacing_mm, geometry.detector_offset_mm, geometry.source_to_isocenter_mm,
          geometry.source_to_detector_mm};
}

std::vector<ViewDirection> view_directions(const Geometry& geometry) {
  std::vector<ViewDirection> directions;
  for (const double angle : geometry.angles_rad) directions.push_back({std::sin(angle), std::cos(angle)});
  return directions;
}

FilteredBackProjection::FilteredBackProjection(const Geometry& geometry, FbpFilter filter)
    : geometry_(two_sided(geometry)), kernel_(filter_kernel(geometry_, filter)) {
  const Displacement displacement(geometry);
  n_left_ = displacement.n_left();
  n_right_ = displacement.n_right();
  ray_weights_ = weights_of_rays(geometry_, displacement);
}

at::Tensor FilteredBackProjection::with_both_sides(const at::Tensor& sinograms) const {
  return n_left_ + n_right_ == 0 ? sinograms : at::constant_pad_nd(sinograms, {n_left_, n_right_});
}

/// By direct convolution: half the kernel is zero, so that it costs no more than a projection, and its sums have one order.
at::Tensor FilteredBackProjection::filter(const at::Tensor& sinograms) const {
  const std::int64_t n = geometry_.n_detectors, n_views = geometry_.n_views();
  at::Tensor filtered = at::zeros_like(sinograms);
  const float* from = sinograms.const_data_ptr<float>();
  float* to = filtered.mutable_data_ptr<float>();
  at::parallel_for(0, sinograms.size(0) * n_views, 1 + 200'000 / (n * n), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* weights = ray_weights_.data() + row % n_views * n;
      float* out = to + row * n;
      for (std::int64_t j = 0; j < n; ++j) {
        const float value = from[row * n + j] * weights[j];
        if (value == 0.0f) continue;
        const float* taps = kernel_.data() + (n - 1 - j);
        for (std::int64_t k = 0; k < n; ++k) out[k] += value * taps[k];
      }
    }
  });
  return filtered;
}

at::Tensor FilteredBackProjection::operator()(const at::Tensor& sinograms) const {
  const at::Tensor filtered = filter(with_both_sides(sinograms));
  const std::int64_t batch = sinograms.size(0), height = geometry_.height, width = geometry_.width;
  const std::int64_t n_views = geometry_.n_views(), n = geometry_.n_detectors;
  const Sights sights = sights_of(geometry_);
  const std::vector<ViewDirection> views = view_directions(geometry_);
  at::Tensor images = at::zeros({batch, 1, height, width}, sinograms.options());
  const float* from = filtered.const_data_ptr<float>();
  float* to = images.mutable_data_ptr<float>();
  at::parallel_for(0, height, 1 + 50'000 / (n_views * width), [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int64_t> detectors(width);
    std::vector<float> left(width), right(width);
    for (std::int64_t r = begin; r < end; ++r) {
      for (std::int64_t view = 0; view < n_views; ++view) {
        for (std::int64_t c = 0; c < width; ++c) {
          const Sights::Sample sample = sights.of(views[static_cast<std::size_t>(view)], static_cast<int>(r), static_cast<int>(c));
          detectors[c] = sample.detector;
          left[c] = sample.left;
          right[c] = sample.right;
        }
        const std::int64_t next = n > 1 ? 1 : 0;
        for (std::int64_t b = 0; b < batch; ++b) {
          const float* values = from + (b * n_views + view) * n;
          float* row = to + (b * height + r) * width;
          for (std::int64_t c = 0; c < width; ++c) row[c] += left[c] * values[detectors[c]] + right[c] * values[detectors[c] + next];
        }
      }
    }
  });
  return images;
}

}  // namespace postrec::ct
