#include "ct_radon/ct_radon.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "common/check_batch.hpp"
#include "ct_radon/launchers.hpp"

namespace postrec {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr std::int64_t kMaxSize = 16384;       ///< of an image side; float32 keeps positions to a thousandth of a pixel
constexpr std::int64_t kMaxRays = 1 << 16;     ///< detectors of a view, and views

ParameterSpec integer(const char* key, std::int64_t maximum, bool required, const char* help) {
  return {key, ParameterType::kInteger, "", "", required, 1.0, static_cast<double>(maximum), {}, help};
}

ParameterSpec length(const char* key, bool required, const char* help) {
  return {key, ParameterType::kReal, "mm", "", required, 1e-6, 1e6, {}, help};
}

std::vector<ParameterSpec> parameter_specs() {
  return {
      integer("height", kMaxSize, true, "Rows of the image."),
      integer("width", kMaxSize, true, "Columns of the image."),
      length("pixel-mm", true, "Side of a pixel."),
      {"beam", ParameterType::kChoice, "", "parallel", false, {}, {}, {"parallel", "fan-flat", "fan-curved"},
       "Parallel rays, or a point source with a flat detector or one curved about the source."},
      {"angles-rad", ParameterType::kRealList, "rad", "", false, -1e4, 1e4, {}, "The angle of every view; instead of n-views."},
      integer("n-views", kMaxRays, false, "Views at equal steps over arc-rad; 180 when angles-rad is not set either."),
      {"arc-rad", ParameterType::kReal, "rad", "", false, -1e3, 1e3, {},
       "Arc of the n-views, its end excluded; pi for a parallel beam and 2 pi for a fan when not set."},
      {"first-angle-rad", ParameterType::kReal, "rad", "", false, -1e4, 1e4, {}, "Angle of the first of the n-views; 0 when not set."},
      integer("n-detectors", kMaxRays, false, "Detector elements of a view; enough to see the whole image when not set."),
      length("detector-spacing-mm", false, "From one detector element to the next; one pixel at the isocentre when not set."),
      {"detector-offset-mm", ParameterType::kReal, "mm", "0", false, -1e6, 1e6, {}, "Detector coordinate of the middle of the detector row."},
      length("source-to-isocenter-mm", false, "Fan beams, which need it."),
      length("source-to-detector-mm", false, "Fan beams, which need it."),
      {"fbp-filter", ParameterType::kChoice, "", "ramp", false, {}, {}, {"ramp", "hann"},
       "Filter of the filtered back-projection: the ramp (Ram-Lak), or the ramp under a Hann window."},
  };
}

std::string text_or(const Parameters& parameters, const std::string& key, const std::string& otherwise) {
  return parameters.has(key) ? parameters.text(key) : otherwise;
}

double real_or(const Parameters& parameters, const std::string& key, double otherwise) {
  return parameters.has(key) ? parameters.real(key) : otherwise;
}

/// `text` as the choice of that place.
template <class Choice>
Choice chosen(const std::string& key, const std::string& text, const std::vector<std::pair<std::string, Choice>>& choices) {
  std::string known;
  for (const auto& [name, value] : choices) {
    if (name == text) return value;
    known += (known.empty() ? "" : ", ") + name;
  }
  throw Error(ErrorKind::kConfiguration, key + " is '" + text + "'", "it must be one of " + known);
}

std::vector<double> angles_of(const Parameters& parameters, ct::Beam beam) {
  if (parameters.has("angles-rad")) {
    for (const char* key : {"n-views", "arc-rad", "first-angle-rad"}) {
      if (parameters.has(key)) throw Error(ErrorKind::kConfiguration, std::string("angles-rad and ") + key + " are both set", "set one of them");
    }
    std::vector<double> angles = parameters.real_list("angles-rad");
    const bool all_finite = std::all_of(angles.begin(), angles.end(), [](double angle) { return std::isfinite(angle); });
    if (angles.empty() || !all_finite || static_cast<std::int64_t>(angles.size()) > kMaxRays) {
      throw Error(ErrorKind::kConfiguration, "angles-rad holds " + std::to_string(angles.size()) + " values" + (all_finite ? "" : ", not all finite"),
                  "it must hold 1 to " + std::to_string(kMaxRays) + " finite angles");
    }
    return angles;
  }
  const std::int64_t n_views = parameters.has("n-views") ? parameters.integer("n-views") : 180;
  const double arc = real_or(parameters, "arc-rad", beam == ct::Beam::kParallel ? kPi : 2 * kPi), first = real_or(parameters, "first-angle-rad", 0.0);
  if (n_views < 1 || n_views > kMaxRays || !std::isfinite(arc) || arc == 0.0 || !std::isfinite(first)) {
    throw Error(ErrorKind::kConfiguration, "n-views=" + std::to_string(n_views) + ", arc-rad=" + std::to_string(arc) + " and first-angle-rad=" +
                std::to_string(first) + " give no views", "n-views must be at least 1, arc-rad not 0");
  }
  std::vector<double> angles;
  for (std::int64_t i = 0; i < n_views; ++i) angles.push_back(first + arc * static_cast<double>(i) / static_cast<double>(n_views));
  return angles;
}

std::int64_t checked_integer(const Parameters& parameters, const std::string& key, std::int64_t maximum) {
  const std::int64_t value = parameters.integer(key);
  if (value < 1 || value > maximum) {
    throw Error(ErrorKind::kConfiguration, key + " is " + std::to_string(value), "it must lie in 1 to " + std::to_string(maximum));
  }
  return value;
}

double checked_length(const Parameters& parameters, const std::string& key) {
  const double value = parameters.real(key);
  if (!(value > 0) || !std::isfinite(value)) throw Error(ErrorKind::kConfiguration, key + " is " + std::to_string(value), "it must be positive");
  return value;
}

void read_source(const Parameters& parameters, ct::Geometry& geometry) {
  for (const char* key : {"source-to-isocenter-mm", "source-to-detector-mm"}) {
    const bool is_fan = geometry.beam != ct::Beam::kParallel;
    if (is_fan == parameters.has(key)) continue;
    throw Error(ErrorKind::kConfiguration, std::string(key) + (is_fan ? " is not set for a fan beam" : " is set for a parallel beam"),
                is_fan ? "a fan beam needs source-to-isocenter-mm and source-to-detector-mm" : "set beam=fan-flat or beam=fan-curved, or leave it out");
  }
  if (geometry.beam == ct::Beam::kParallel) return;
  geometry.source_to_isocenter_mm = checked_length(parameters, "source-to-isocenter-mm");
  geometry.source_to_detector_mm = checked_length(parameters, "source-to-detector-mm");
}

std::int64_t covering_detectors(const ct::Geometry& geometry) {
  const double n = geometry.covering_detectors();
  if (n <= kMaxRays) return static_cast<std::int64_t>(n);
  throw Error(ErrorKind::kConfiguration,
              "with detector-spacing-mm " + std::to_string(geometry.detector_spacing_mm) + " it takes more than " + std::to_string(kMaxRays) +
                  " detectors to see the whole image",
              "set n-detectors or a coarser detector-spacing-mm");
}

ct::Geometry geometry_of(const Parameters& parameters) {
  ct::Geometry geometry;
  geometry.height = checked_integer(parameters, "height", kMaxSize);
  geometry.width = checked_integer(parameters, "width", kMaxSize);
  geometry.pixel_mm = checked_length(parameters, "pixel-mm");
  geometry.beam = chosen<ct::Beam>("beam", text_or(parameters, "beam", "parallel"),
                                   {{"parallel", ct::Beam::kParallel}, {"fan-flat", ct::Beam::kFanFlat}, {"fan-curved", ct::Beam::kFanCurved}});
  geometry.angles_rad = angles_of(parameters, geometry.beam);
  read_source(parameters, geometry);
  const bool has_spacing = parameters.has("detector-spacing-mm");
  geometry.detector_spacing_mm = has_spacing ? checked_length(parameters, "detector-spacing-mm") : geometry.pixel_mm * geometry.magnification();
  geometry.detector_offset_mm = real_or(parameters, "detector-offset-mm", 0.0);
  const bool has_detectors = parameters.has("n-detectors");
  geometry.n_detectors = has_detectors ? checked_integer(parameters, "n-detectors", kMaxRays) : covering_detectors(geometry);
  ct::check_geometry(geometry);
  return geometry;
}

}  // namespace

CtRadon::CtRadon(const ct::Geometry& geometry, ct::FbpFilter filter, const ct::Kernels& kernels)
    : geometry_(geometry),
      kernels_(kernels),
      projector_(geometry, kernels),
      fbp_(geometry, filter),
      norm_bound_(compute_norm_bound()),
      on_devices_([this](at::Device device) { return projector_for(device); }) {}

TensorSpec CtRadon::domain() const { return {{1, geometry_.height, geometry_.width}, at::kFloat}; }

TensorSpec CtRadon::codomain() const { return {{geometry_.n_views(), geometry_.n_detectors}, at::kFloat}; }

at::Tensor CtRadon::forward(const at::Tensor& x) const {
  const at::Tensor images = checked_batch(x, domain(), "the image batch");
  return images.is_cpu() ? projector_.forward(images) : on_devices_.on(images.device()).forward(images);
}

at::Tensor CtRadon::adjoint(const at::Tensor& v, const at::Tensor& /*x*/) const {
  const at::Tensor sinograms = checked_batch(v, codomain(), "the sinogram batch");
  return sinograms.is_cpu() ? projector_.adjoint(sinograms) : on_devices_.on(sinograms.device()).adjoint(sinograms);
}

at::Tensor CtRadon::pseudo_inverse(const at::Tensor& y) const {
  const at::Tensor sinograms = checked_batch(y, codomain(), "the sinogram batch");
  return sinograms.is_cpu() ? fbp_(sinograms) : on_devices_.on(sinograms.device()).filtered_back_projection(sinograms);
}

ct::DeviceProjector CtRadon::projector_for(const at::Device& device) const {
  const ct::Launcher* launcher = ct::launcher_of(device.type());
  if (!launcher) {
    throw Error(ErrorKind::kUnavailable, "the batch is on " + device.str() + ", for which this build of ct-radon has no code",
                "use the CPU, or build with POSTREC_CUDA=ON");
  }
  return {geometry_, fbp_, device, *launcher};
}

/// Collatz and Wielandt: a matrix M without negative elements has no eigenvalue above max_i (M x)_i / x_i, for any positive x. Power iteration
/// on A^T A from a constant image makes that bound tight; the least of all iterates counts, and it stops within 1 % of the bound from below.
double CtRadon::compute_norm_bound() const {
  constexpr int kMaxIterations = 20;
  // Of float32 sums of positive terms: 1e-4 is enough for up to a few thousand, twice; a pixel of the adjoint may sum over more.
  const double rounding = std::max(1e-4, 0x1p-24 * static_cast<double>(projector_.n_adjoint_terms()));
  at::Tensor image = at::ones({1, 1, geometry_.height, geometry_.width}, at::kFloat);
  double least = std::numeric_limits<double>::infinity();
  for (int iteration = 0; iteration < kMaxIterations; ++iteration) {
    const at::Tensor next = projector_.adjoint(projector_.forward(image));
    const float* before = image.const_data_ptr<float>();
    const float* after = next.const_data_ptr<float>();
    double largest_ratio = 0, largest = 0, inner = 0, square = 0;
    for (std::int64_t i = 0; i < image.numel(); ++i) {
      const double x = before[i], mx = after[i];
      if (x > 0) largest_ratio = std::max(largest_ratio, mx / x);
      largest = std::max(largest, mx);
      inner += x * mx;
      square += x * x;
    }
    least = std::min(least, largest_ratio);
    if (largest == 0 || least <= 1.02 * inner / square) break;
    image = next / largest;
  }
  return std::sqrt(least) * (1 + rounding);
}

const OperatorType& ct_radon_type() {
  static const OperatorType type = {
      "ct-radon", "Line integrals of a slice along parallel or fan-beam X-rays (Joseph's method, matched adjoint).", parameter_specs(),
      [](const Parameters& parameters) -> std::unique_ptr<Operator> {
        const ct::Geometry geometry = geometry_of(parameters);
        const auto filter = chosen<ct::FbpFilter>("fbp-filter", text_or(parameters, "fbp-filter", "ramp"),
                                                  {{"ramp", ct::FbpFilter::kRamp}, {"hann", ct::FbpFilter::kHann}});
        return std::make_unique<CtRadon>(geometry, filter);
      },
      {.cpu = true, .cuda = ct::launcher_of(at::kCUDA) != nullptr}};
  return type;
}

}  // namespace postrec
