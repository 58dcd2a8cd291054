#include "case/case.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "case/coil_maps.hpp"
#include "case/long_axes.hpp"
#include "case/noise_estimate.hpp"
#include "case/operator_parameters.hpp"
#include "case/seeds.hpp"
#include "case/sensitivity_maps.hpp"
#include "case/simulation.hpp"
#include "case/volume_scale.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/measurement_file.hpp"
#include "postrec/data/raw_kspace.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/scratch_tensor.hpp"
#include "postrec/nearest_name.hpp"
#include "postrec/shape_text.hpp"
#include "report/report_page_names.hpp"

namespace postrec {
namespace {

std::vector<std::string> operator_names(const PluginRegistry& registry) {
  std::vector<std::string> names;
  for (const auto& plugin : registry.plugins()) names.insert(names.end(), plugin.operators.begin(), plugin.operators.end());
  return names;
}

const OperatorType& required_operator(PluginRegistry& registry, const std::string& name, const std::filesystem::path& input) {
  if (name.empty())
    throw Error(ErrorKind::kUsage, "'" + input.string() + "' does not say which operator measured it",
                "give --operator (" + joined(operator_names(registry), ", ") + "), and --simulate if the input is an image");
  return registry.operator_type(name);
}

std::vector<std::int64_t> chosen_slices(const std::optional<std::int64_t>& slice, std::int64_t n_slices, const std::filesystem::path& input) {
  if (slice && (*slice < 0 || *slice >= n_slices))
    throw Error(ErrorKind::kUsage, "--slice " + std::to_string(*slice) + " is not in '" + input.string() + "'",
                "it has slices 0 to " + std::to_string(n_slices - 1));
  if (slice) return {*slice};
  std::vector<std::int64_t> all(n_slices);
  for (std::int64_t i = 0; i < n_slices; ++i) all[i] = i;
  return all;
}

double pixel_mm(const ImageGeometry& geometry, std::vector<std::string>& notes) {
  const auto& spacing = geometry.spacing_mm;
  if (!same_pixel_size(spacing[1], spacing[0]))
    notes.push_back("pixels are not square (" + std::to_string(spacing[0]) + " x " + std::to_string(spacing[1]) + " mm); the first is used as pixel size");
  return spacing[0];
}

/// What the user says is the size of a pixel, which goes before the file: that of a sinogram knows the spacing of the detector.
void take_pixel_size(const CaseOptions& options, Measurement& measurement) {
  for (const auto& [key, value] : options.settings)
    if (key == "pixel-mm") measurement.geometry.spacing_mm[0] = measurement.geometry.spacing_mm[1] = measurement.parameters.real(key);
}

/// The file of a sinogram has the geometry of detector elements and views: the image lies around the isocentre, its pixels are as large as an element is seen there, but for what is said of it.
void take_detector_geometry(const ReadMeasurement& raw, const std::filesystem::path& input, Measurement& measurement, std::vector<std::string>& notes) {
  Parameters& parameters = measurement.parameters;
  const ImageGeometry file = measurement.geometry;
  ImageGeometry& image = measurement.geometry = {};
  image.origin_mm[2] = file.origin_mm[2];
  image.spacing_mm[2] = file.spacing_mm[2];
  if (raw.said.origin) image.origin_mm = file.origin_mm;
  if (raw.said.direction) image.direction = file.direction;
  if (raw.said.spacing && !parameters.has("pixel-mm")) parameters.set("pixel-mm", file.spacing_mm[0]);
  const double isocenter = real_or(parameters, "source-to-isocenter-mm", 0.0), detector = real_or(parameters, "source-to-detector-mm", 0.0);
  const double magnification = isocenter > 0.0 && detector > 0.0 ? detector / isocenter : 1.0;
  const double element = raw.element_mm;
  if (!parameters.has("pixel-mm")) {
    if (!parameters.has("detector-spacing-mm") && element == 0.0)
      throw Error(ErrorKind::kConfiguration, quoted_path(input) + " does not say how far apart detector elements are", "say pixel-mm or detector-spacing-mm");
    if (!parameters.has("detector-spacing-mm")) parameters.set("detector-spacing-mm", element);
    parameters.set("pixel-mm", parameters.real("detector-spacing-mm") / magnification);
  } else if (const double taken = parameters.real("pixel-mm") * magnification; element > 0.0 && !parameters.has("detector-spacing-mm") && !same_pixel_size(element, taken)) {
    notes.push_back("detector elements are taken to be " + std::to_string(taken) + " mm apart, as pixels are at the isocentre, not " + std::to_string(element) + " mm as the file says; --set detector-spacing-mm says otherwise");
  }
  const double pixel = parameters.real("pixel-mm");
  image.spacing_mm[0] = image.spacing_mm[1] = pixel;
  if (raw.said.spacing && same_pixel_size(pixel, file.spacing_mm[0])) image.spacing_mm[1] = file.spacing_mm[1];
}

/// Real data of views, laid out as [slice, view, detector], of which nobody says the angles, where the detector is, or which may be something else.
void judge_sinogram(const Measurement& measurement, const std::filesystem::path& input, std::vector<std::string>& notes) {
  const at::Tensor& y = measurement.y;
  const Parameters& parameters = measurement.parameters;
  if (y.dim() == 3 && y.size(0) > 1 && y.size(1) == 1)
    throw Error(ErrorKind::kBadData, quoted_path(input) + " would be " + std::to_string(y.size(0)) + " slices of one view each", "a sinogram has the detector along x, views along y, slices along z; projections along z need --geometry");
  const bool simulated = measurement.origin == MeasurementOrigin::kSimulated;  // by these very defaults
  if (!simulated && !parameters.has("angles-rad") && !parameters.has("arc-rad"))
    notes.push_back("nobody says the angles of the views: they are taken to be equally spaced over half a turn, with a fan over a whole one (--set angles-rad, arc-rad)");
}

/// The direct reconstruction needs every ray, from one side or the other.
void say_displaced(const Parameters& parameters, std::vector<std::string>& notes) {
  constexpr double kElements = 2.0;            // a quarter, or one and a quarter, is how detectors are built
  if (!parameters.has("pixel-mm")) return;
  const double offset = real_or(parameters, "detector-offset-mm", 0.0), element = real_or(parameters, "detector-spacing-mm", parameters.real("pixel-mm"));
  if (std::abs(offset) > kElements * element)
    notes.push_back("the detector is displaced by " + std::to_string(offset) + " mm: unless the views go all the way round, the pseudo-inverse (filtered back-projection) is wrong by hundreds of HU; mean and samples are not");
}

/// A simulated measurement is of the scan as it is.
void require_pixel_size(const Parameters& parameters, double pixel_mm, const std::filesystem::path& input) {
  if (!parameters.has("pixel-mm")) return;
  const double said = parameters.real("pixel-mm");
  if (!same_pixel_size(said, pixel_mm))
    throw Error(ErrorKind::kConfiguration, "pixel-mm is " + std::to_string(said) + ", the pixels of '" + input.string() + "' have " + std::to_string(pixel_mm) + " mm", "leave it out: it is the scan's");
}

/// A stack of one tensor a slice must not be of another scan: its first ones would be taken.
void require_stacks_of(const Parameters& parameters, std::int64_t n_slices) {
  for (const auto& [key, value] : parameters.all()) {
    const auto* tensor = std::get_if<at::Tensor>(&value);
    if (tensor && tensor->dim() == 4 && tensor->size(0) != 1 && tensor->size(0) != n_slices)
      throw Error(ErrorKind::kConfiguration, "parameter '" + key + "' has " + std::to_string(tensor->size(0)) + " slices, " + std::to_string(n_slices) + " are measured",
                  "it must have one slice, or as many as the measurement");
  }
}

/// A stack of per-slice tensors cut to one of its slices, so that it goes with a measurement of that slice alone.
void keep_slice(Parameters& parameters, std::int64_t slice, std::int64_t n_slices) {
  const auto all = parameters.all();
  for (const auto& [key, value] : all) {
    const auto* tensor = std::get_if<at::Tensor>(&value);
    if (tensor && tensor->dim() == 4 && tensor->size(0) == n_slices) parameters.set(key, tensor->narrow(0, slice, 1));
  }
}

/// What --noise 1 stands for: water for CT, the 99.5th percentile of the scan otherwise.
double reference_intensity(const Image& image) {
  const bool hounsfield = image.unit == IntensityUnit::kHounsfield;
  return IntensityScale::make(image.unit, hounsfield ? PriorIntensity::kRelativeWater : PriorIntensity::kPercentile, image.pixels).scale;
}

at::Tensor physical_pixels(const Image& image, std::int64_t slice) {
  const at::Tensor pixels = image.pixels[slice];
  if (image.unit == IntensityUnit::kArbitrary) return pixels;
  return IntensityScale::make(image.unit, PriorIntensity::kRelativeWater, pixels).stored_to_physical(pixels);
}

void require_domain(const Operator& op, const at::Tensor& image, const std::string& name) {
  if (op.domain().shape != image.sizes().vec())
    throw Error(ErrorKind::kConfiguration, "operator '" + name + "' measures images of " + shape_text(op.domain().shape) + ", the scan has " + shape_text(image.sizes()),
                "leave height, width and channels out of --set, or set them to the scan's");
}

/// The sigma_y that the noise model alone says, if it does. Then nobody else may.
std::optional<double> sigma_y_of_model(const NoiseModel& noise, const CaseOptions& options) {
  const auto sigma_y = noise.sigma_y();
  if (sigma_y && (options.sigma_y || options.noise))
    throw Error(ErrorKind::kUsage, std::string(options.sigma_y ? "--sigma-y" : "--noise") + " is given with " +
                    (noise.kind() == NoiseKind::kPoisson ? "--noise-model poisson" : "--noise-covariance"), "the noise model already says how large the noise is");
  return sigma_y;
}

// Without a sigma_y, weights are inverse variances.
constexpr double kInverseVariances = 1.0;
constexpr const char* kInverseVariancesSource = "none given: the weights are inverse variances";

double simulated_sigma_y(const CaseOptions& options, const NoiseModel& noise, const Image& image) {
  if (const auto sigma_y = sigma_y_of_model(noise, options)) return *sigma_y;
  if (options.sigma_y && options.noise) throw Error(ErrorKind::kUsage, "--sigma-y and --noise are both given", "give one of them");
  if (options.sigma_y) return *options.sigma_y;
  if (options.noise) return *options.noise * reference_intensity(image);
  if (noise.kind() == NoiseKind::kWeighted) return kInverseVariances;
  throw Error(ErrorKind::kUsage, "--simulate needs the noise of the measurement",
              "give --noise (in units of the image's 99.5th percentile, for CT in mm of water) or --sigma-y (in the measurement's unit)");
}

Case simulate_case(const CaseOptions& options, PluginRegistry& registry) {
  const OperatorType& type = required_operator(registry, options.operator_name, options.input);
  Scan scan = read_scan(options.input, {.scratch = options.scratch});  // all of it: the noise is that of the scan, whichever slice is asked for
  Image& image = scan.image;
  if (options.unit) image.unit = *options.unit;
  const std::int64_t n_slices = image.pixels.size(0);
  const auto numbers = chosen_slices(options.slice, n_slices, options.input);

  Case result;
  result.scratch = options.scratch;
  result.noise = NoiseModel(options.noise_model, n_slices);
  result.notes = scan.warnings;
  for (const auto& note : result.noise.notes()) result.notes.push_back(note);
  result.sigma_y_source = result.noise.sigma_y() ? result.noise.sigma_y_source() : "simulated";
  Measurement& measurement = result.measurement;
  measurement.origin = MeasurementOrigin::kSimulated;
  measurement.operator_name = type.name;
  measurement.sigma_y = simulated_sigma_y(options, result.noise, image);
  measurement.geometry = geometry_from_slice(image.geometry, numbers.front());
  measurement.unit = image.unit;

  Parameters& parameters = measurement.parameters;
  apply_settings(parameters, type, options.settings);
  require_stacks_of(parameters, n_slices);
  const std::int64_t height = image.pixels.size(2), width = image.pixels.size(3);
  if (options.simulate_coils > 0) {
    fill_parameter(parameters, type, "sens-maps", birdcage_maps(options.simulate_coils, height, width));
    fill_parameter(parameters, type, "coils", options.simulate_coils);
    if (!parameters.has("sens-maps"))
      throw Error(ErrorKind::kUsage, "--simulate-coils is given, but operator '" + type.name + "' has no coils", "leave it out");
  }
  const double pixel = pixel_mm(image.geometry, result.notes);
  fill_from_image(parameters, type, image.pixels.size(1), height, width, pixel);
  require_pixel_size(parameters, pixel, options.input);

  const auto simulated = [&](const Operator& op, std::int64_t number) {
    const at::Tensor physical = physical_pixels(image, number);
    require_domain(op, physical, type.name);
    const at::Tensor phase = options.smooth_phase ? smooth_phase_rad(derive_seed(options.seed, number, SeedPurpose::kPhase), height, width) : at::Tensor();
    return result.noise.slice(number, op.codomain()).simulate(op, with_phase(physical, phase, op.domain().dtype), measurement.sigma_y, derive_seed(options.seed, number, SeedPurpose::kNoise));
  };
  if (image.unit == IntensityUnit::kArbitrary)
    result.volume_intensity = volume_intensity(n_slices, [&](std::int64_t number) {
      const auto op = make_operator(registry, measurement, number);
      return direct_reconstruction(*op, result.noise.slice(number, op->codomain()).linear_data(simulated(*op, number)));
    });
  if (options.slice) keep_slice(parameters, *options.slice, n_slices);
  bool negative = false;
  for (const auto number : numbers) {
    const auto index = static_cast<std::int64_t>(result.slices.size());
    const auto op = make_operator(registry, measurement, index);
    const at::Tensor y = simulated(*op, number);
    negative = negative || (op->domain().dtype == at::kComplexFloat && physical_pixels(image, number).lt(0.0).any().item<bool>());
    if (index == 0) {
      measurement.counts = result.noise.counts(numbers, op->codomain());
      std::vector<std::int64_t> shape = y.sizes().vec();
      shape.insert(shape.begin(), static_cast<std::int64_t>(numbers.size()));
      measurement.y = scratch_tensor(options.scratch, shape, y.scalar_type());
    }
    measurement.y[index].copy_(y);
    result.slices.push_back({index, number});
  }
  if (negative) result.notes.push_back("the scan has values below 0; results of complex images are magnitudes, so they come out positive and its quality is judged too low there");
  result.truth = image.pixels.narrow(0, numbers.front(), static_cast<std::int64_t>(numbers.size()));
  if (options.slice) result.truth = result.truth.clone();  // not the rest of the scan with it
  return result;
}

void require_acquired_options(const CaseOptions& options) {
  if (options.noise) throw Error(ErrorKind::kUsage, "--noise is given without --simulate", "say the noise of a measurement with --sigma-y");
  if (options.simulate_coils > 0) throw Error(ErrorKind::kUsage, "--simulate-coils is given without --simulate", "give the maps with --set sens-maps=FILE");
  if (options.smooth_phase) throw Error(ErrorKind::kUsage, "--phase smooth is given without --simulate", "a measurement has its own phase");
}

/// All of y [slice, ...], or slices across it when there are many: enough to see the noise.
at::Tensor slices_to_judge(const at::Tensor& y) {
  constexpr std::int64_t kEnough = 8;
  if (y.size(0) <= kEnough) return y;
  return y.index_select(0, at::tensor(slices_across(y.size(0), kEnough), at::kLong));
}

void find_sigma_y(const CaseOptions& options, Case& result) {
  Measurement& measurement = result.measurement;
  if (const auto sigma_y = sigma_y_of_model(result.noise, options)) {
    measurement.sigma_y = *sigma_y;
    result.sigma_y_source = result.noise.sigma_y_source();
  } else if (options.sigma_y) {
    measurement.sigma_y = *options.sigma_y;
    result.sigma_y_source = "given";
  } else if (measurement.sigma_y > 0) {
    if (result.sigma_y_source.empty()) result.sigma_y_source = "measurement file";
  } else if (result.noise.kind() == NoiseKind::kWeighted) {
    measurement.sigma_y = kInverseVariances;
    result.sigma_y_source = kInverseVariancesSource;
  } else if (const auto estimate = estimate_noise(slices_to_judge(measurement.y))) {
    measurement.sigma_y = estimate->sigma_y;
    result.sigma_y_source = "estimated from " + estimate->from;
    result.notes.push_back("the noise was " + result.sigma_y_source);
  } else {
    throw Error(ErrorKind::kUsage, "'" + options.input.string() + "' does not say how noisy it is", "give --sigma-y, the standard deviation in its unit");
  }
}

/// Whether the noise model says what the noise of the coils is, so that the reader must leave them as they are.
bool knows_noise(const NoiseOptions& noise) { return noise.kind != NoiseKind::kGaussian || !noise.covariance.empty(); }

bool says_projections(const CaseOptions& options) { return !options.projections.geometry_file.empty() || options.projections.mid_plane; }

/// A measurement as it was read, and what mixed its coils.
struct Acquired : ReadMeasurement {
  std::shared_ptr<const Whitening> whitening;
  at::Tensor coils;                            ///< of the file, where not all were taken
};

Acquired read_acquired(const CaseOptions& options) {
  if (is_raw_kspace(options.input)) {
    if (says_projections(options)) throw Error(ErrorKind::kUsage, "--geometry or --mid-plane is given with k-space", "they are for projections of CT; leave them out");
    RawKspace raw = read_raw_kspace(options.input, {.prewhiten = !options.sigma_y && !knows_noise(options.noise_model), .scratch = options.scratch});
    return {{std::move(raw.measurement), std::move(raw.weights), std::move(raw.sigma_y_source), std::move(raw.notes)}, std::move(raw.whitening), std::move(raw.coils)};
  }
  ProjectionOptions projections = options.projections;
  if (!options.noise_model.blank_scan.empty()) projections.flux = read_blank_scan(options.noise_model.blank_scan);
  if (!options.noise_model.background.empty()) projections.background = read_background(options.noise_model.background);
  if (options.noise_model.kind == NoiseKind::kWeighted && !options.noise_model.weights.empty()) projections.weights = read_weights(options.noise_model.weights);
  ReadMeasurement read = read_acquisition(options.input, projections, options.scratch);
  if (says_projections(options) && !read.projections && !read.around_isocentre)
    throw Error(ErrorKind::kUsage, "--mid-plane is given, but '" + options.input.string() + "' is no projection stack", "leave it out, or give --geometry");
  if (options.sigma_y && options.noise_model.weights.empty()) read.weights = at::Tensor();  // of CT; who says sigma_y means all rays
  return {std::move(read), nullptr, {}};
}

/// The noise as the user, else the measurement says it.
NoiseModel acquired_noise(const CaseOptions& options, const ReadMeasurement& read, const Measurement& measurement) {
  const std::int64_t n_slices = measurement.y.size(0);
  if (measurement.counts) {
    NoiseOptions said = options.noise_model;
    if (read.projections) said.blank_scan = said.background = "";  // the reader has brought them into the layout of y
    return NoiseModel(*measurement.counts, said, n_slices);
  }
  if (options.noise_model.kind == NoiseKind::kPoisson && measurement.sigma_y > 0)
    throw Error(ErrorKind::kUsage, "--noise-model poisson is given, but the measurement says sigma_y " + std::to_string(measurement.sigma_y), "photon counts have none: it holds line integrals, or should not say it");
  const NoiseModel said(options.noise_model, n_slices);
  const bool of_file = read.weights.defined() && !knows_noise(options.noise_model) && (measurement.sigma_y > 0 || options.sigma_y);
  const bool laid_out = read.projections && read.weights.defined();  // the user's, which the reader has brought into the layout of y
  return of_file || laid_out ? NoiseModel(read.weights) : said;
}

/// A covariance is that of one measurement; of so many to a sample it is smaller. Unequal numbers it cannot say.
void account_for_averages(const at::Tensor& n_measurements, Case& result) {
  const at::Tensor measured = n_measurements.select(1, 0).masked_select(n_measurements.select(1, 0).gt(0));
  const double least = measured.min().item<double>(), most = measured.max().item<double>();
  result.noise.divide_covariance(least);
  if (least < most) result.notes.push_back("--noise-covariance is taken to be that of the samples measured least often: the others are trusted too little");
}

/// Photon counts that nobody says are some must not pass for line integrals of attenuation.
void require_line_integrals(const Measurement& measurement, const NoiseModel& noise) {
  constexpr double kMost = 40.0;  // one photon of 10^17 comes through
  if (measurement.unit != IntensityUnit::kHounsfield || noise.kind() == NoiseKind::kPoisson || measurement.y.is_complex()) return;
  if (const double most = measurement.y.max().item<double>(); most > kMost)
    throw Error(ErrorKind::kBadData, "the measurement holds " + std::to_string(most) + ", more than any line integral of attenuation",
                "photon counts need --noise-model poisson --blank-scan X|FILE; line integrals are pure numbers, of 1/mm times mm");
}

/// Numbers of photons are not negative.
void require_counts(const Measurement& measurement, const NoiseModel& noise, const std::filesystem::path& input) {
  if (noise.kind() != NoiseKind::kPoisson || measurement.y.is_complex()) return;
  const auto [least, place] = measurement.y.flatten().min(0);
  if (!(least.item<double>() < 0.0)) return;
  std::int64_t rest = place.item<std::int64_t>();
  std::string index;
  for (std::int64_t axis = measurement.y.dim() - 1; axis >= 0; rest /= measurement.y.size(axis), --axis) index = std::to_string(rest % measurement.y.size(axis)) + (index.empty() ? "" : ", ") + index;
  throw Error(ErrorKind::kBadData, quoted_path(input) + " holds " + std::to_string(least.item<double>()) + " photons at [" + index + "] (slice, view, detector; from 0)", "counts are 0 and above; line integrals need no --noise-model poisson");
}

/// An image must not pass for k-space: most often --simulate was forgotten.
void require_kspace(const OperatorType& type, const Measurement& measurement, const std::filesystem::path& input) {
  if (declares_parameter(type, "sens-maps") && !measurement.y.is_complex())
    throw Error(ErrorKind::kUsage, "'" + input.string() + "' holds real numbers, k-space is complex", "give --simulate if it is an image");
}

/// Several coils of which nobody says what they see.
bool lacks_maps(const OperatorType& type, const Measurement& measurement) {
  const at::Tensor& y = measurement.y;
  return y.is_complex() && y.dim() == 4 && y.size(1) > 1 && !measurement.parameters.has("sens-maps") && declares_parameter(type, "sens-maps");
}

/// How bright the volume is (volume_scale.hpp). Without maps yet the coils' images are added up.
double acquired_intensity(PluginRegistry& registry, const OperatorType& type, const Case& input) {
  const Measurement& measurement = input.measurement;
  const at::Tensor& y = measurement.y;
  if (measurement.unit != IntensityUnit::kArbitrary) return 0.0;
  const bool add_up = lacks_maps(type, measurement);
  return volume_intensity(y.size(0), [&](std::int64_t slice) {
    if (add_up) return coil_magnitude(y[slice]);
    const auto op = make_operator(registry, measurement, slice);
    return direct_reconstruction(*op, input.noise.slice(slice, op->codomain()).linear_data(y[slice]));
  });
}

/// Several coils without sens-maps: estimates them.
void find_sensitivity_maps(const OperatorType& type, const std::vector<std::int64_t>& slices, Case& result) {
  Measurement& measurement = result.measurement;
  if (!lacks_maps(type, measurement)) return;
  EstimatedMaps estimated = estimate_sensitivity_maps(measurement.y, slices, result.scratch);
  measurement.parameters.set("sens-maps", std::move(estimated.maps));
  result.notes.push_back(std::move(estimated.note));
}

bool is_set(const CaseOptions& options, const std::string& key) {
  return std::any_of(options.settings.begin(), options.settings.end(), [&](const auto& setting) { return setting.first == key; });
}

/// Maps that the user has are those of the coils as they were measured, with those that were left out.
void take_given_maps(const CaseOptions& options, const Acquired& raw, Case& result) {
  Measurement& measurement = result.measurement;
  if (!is_set(options, "sens-maps") || (!raw.whitening && !raw.coils.defined())) return;
  at::Tensor maps = measurement.parameters.tensor("sens-maps"), batch = maps.dim() == 3 ? maps.unsqueeze(0) : maps;
  if (batch.dim() != 4) return;                // the operator says what is wrong
  if (raw.coils.defined() && batch.size(1) > measurement.y.size(1) && raw.coils.max().item<std::int64_t>() < batch.size(1)) {
    batch = batch.index_select(1, raw.coils);
    maps = maps.dim() == 3 ? batch.squeeze(0) : batch;
    measurement.parameters.set("sens-maps", maps);
  }
  const auto& whitening = raw.whitening;
  if (!whitening || batch.size(1) != measurement.y.size(1)) return;
  measurement.parameters.set("sens-maps", whitening->whiten(batch.to(at::kComplexFloat)).view(maps.sizes()));
  result.notes.push_back("the coils were mixed to make their noise white, and the given sensitivity maps with them");
}

/// K-space of which the user wants a part alone (--set mask, mask-pattern): the rest is 0 from here on, for maps, noise and brightness as well.
void leave_out_samples(const CaseOptions& options, PluginRegistry& registry, const OperatorType& type, Case& result) {
  Measurement& measurement = result.measurement;
  const bool by_pattern = is_set(options, "mask-pattern");
  std::int64_t n_kept = 0, n_missing = 0;
  if (!measurement.y.is_complex() || measurement.y.dim() != 4 || !declares_parameter(type, "mask") || !(by_pattern || is_set(options, "mask"))) return;
  Measurement asked = measurement;
  if (by_pattern && !is_set(options, "mask")) asked.parameters.erase("mask");  // of the file
  if (lacks_maps(type, measurement)) asked.parameters.set("sens-maps", at::ones(measurement.y.sizes().slice(1), at::kComplexFloat));
  at::Tensor masks = acquired_samples(measurement.y);
  measurement.y = scratch_tensor(options.scratch, measurement.y.sizes(), measurement.y.scalar_type()).copy_(measurement.y);
  for (std::int64_t slice = 0; slice < measurement.y.size(0); ++slice) {
    const at::Tensor kept = measured_entries(*make_operator(registry, asked, slice))[0].gt(0);
    n_kept += kept.sum().item<std::int64_t>();
    n_missing += kept.logical_and(masks[slice].logical_not()).sum().item<std::int64_t>();
    masks[slice].logical_and_(kept);           // what was not acquired is no measured zero
    measurement.y[slice].mul_(masks[slice].to(at::kFloat));
  }
  if (n_missing > 0 && !by_pattern)
    result.notes.push_back("of the samples that --set mask keeps " + std::to_string(std::llround(std::ceil(100.0 * static_cast<double>(n_missing) / static_cast<double>(n_kept)))) + " % were not acquired and are left out");
  measurement.parameters.set("mask", mask_parameter(masks));
  for (const char* key : {"mask-pattern", "acceleration", "n-acs-lines"}) measurement.parameters.erase(key);
}

/// The layout that the operator measures, where the file has axes of size 1 more or less.
void lay_out_as_measured(PluginRegistry& registry, const OperatorType& type, const std::filesystem::path& input, Measurement& measurement) {
  if (measurement.y.is_complex()) return;
  std::vector<std::int64_t> shape = make_operator(registry, measurement, 0)->codomain().shape;
  const std::string wanted = shape_text(shape);
  shape.insert(shape.begin(), measurement.y.size(0));
  if (at::IntArrayRef(shape) == measurement.y.sizes()) return;
  if (long_axes(at::IntArrayRef(shape).slice(1)) != long_axes(measurement.y.sizes().slice(1)))
    throw Error(ErrorKind::kBadData, "a slice of '" + input.string() + "' holds " + shape_text(measurement.y.sizes().slice(1)) + " numbers, operator '" + type.name + "' measures " + wanted,
                "give what it measured, or set its sizes (postrec plugins describe " + type.name + ")");
  measurement.y = measurement.y.reshape(shape);
}

Case acquired_case(const CaseOptions& options, PluginRegistry& registry) {
  require_acquired_options(options);
  Case result;
  Measurement& measurement = result.measurement;
  const Acquired raw = read_acquired(options);
  measurement = raw.measurement;
  result.sigma_y_source = raw.sigma_y_source;
  result.notes = raw.notes;
  if (!options.operator_name.empty()) measurement.operator_name = options.operator_name;
  if (options.unit) measurement.unit = *options.unit;
  const OperatorType& type = required_operator(registry, measurement.operator_name, options.input);
  require_kspace(type, measurement, options.input);
  for (const auto& [key, value] : options.settings) {
    if (!measurement.parameters.has(key) || (raw.projections && is_image_parameter(key))) continue;
    if (raw.projections) throw Error(ErrorKind::kConfiguration, "--set " + key + " is said by the geometry file, too", "take it out, or change the geometry file");
    result.notes.push_back("--set " + key + " goes before what the measurement says");
  }
  apply_settings(measurement.parameters, type, options.settings);
  require_stacks_of(measurement.parameters, measurement.y.size(0));
  const bool bare_sinogram = declares_parameter(type, "n-detectors") && !raw.projections && !raw.around_isocentre && !measurement.y.is_complex();
  if (bare_sinogram) {
    take_detector_geometry(raw, options.input, measurement, result.notes);
    judge_sinogram(measurement, options.input, result.notes);
  } else {
    take_pixel_size(options, measurement);
  }
  if (raw.around_isocentre) place_around_isocentre(measurement);
  const double pixel = pixel_mm(measurement.geometry, result.notes);
  result.noise = acquired_noise(options, raw, measurement);
  require_line_integrals(measurement, result.noise);
  if (raw.weights.defined() && !options.noise_model.covariance.empty()) account_for_averages(raw.weights, result);
  require_counts(measurement, result.noise, options.input);
  const DeadRays dead = result.noise.leave_out_dead_rays(measurement.y);
  if (dead.elements > 0) result.notes.push_back(std::to_string(dead.elements) + " detector element(s) count no photon above the background in any view and are left out");
  if (dead.views > 0) result.notes.push_back(std::to_string(dead.views) + " view(s) count no photon above the background in any element and are left out");
  for (const auto& note : result.noise.notes()) result.notes.push_back(note);
  take_given_maps(options, raw, result);
  fill_from_measurement(measurement.parameters, type, measurement.y);
  fill_parameter(measurement.parameters, type, "pixel-mm", pixel);
  if (bare_sinogram && !raw.said.origin) place_around_isocentre(measurement);
  say_displaced(measurement.parameters, result.notes);
  leave_out_samples(options, registry, type, result);
  lay_out_as_measured(registry, type, options.input, measurement);
  find_sigma_y(options, result);
  const auto slices = chosen_slices(options.slice, measurement.y.size(0), options.input);
  for (const auto index : slices) result.slices.push_back({index, index});
  result.scratch = options.scratch;
  result.volume_intensity = acquired_intensity(registry, type, result);
  find_sensitivity_maps(type, slices, result);
  return result;
}

}  // namespace

Case read_case(const CaseOptions& options, PluginRegistry& registry) {
  if (options.simulate && says_projections(options))
    throw Error(ErrorKind::kUsage, "--geometry or --mid-plane is given with --simulate", "they say how projections were taken; what is simulated is said with --set");
  Case result = options.simulate ? simulate_case(options, registry) : acquired_case(options, registry);
  result.reported_name = reported_name(options.input);
  return result;
}

std::shared_ptr<const Operator> make_operator(PluginRegistry& registry, const Measurement& measurement, std::int64_t slice_index) {
  Parameters parameters = measurement.parameters;
  for (const auto& [key, value] : measurement.parameters.all()) {
    const auto* tensor = std::get_if<at::Tensor>(&value);
    if (!tensor || tensor->dim() != 4) continue;
    parameters.set(key, tensor->select(0, tensor->size(0) == 1 ? 0 : slice_index).contiguous());
  }
  return registry.make(measurement.operator_name, parameters);
}

ImageGeometry geometry_from_slice(ImageGeometry geometry, std::int64_t first) {
  for (int axis = 0; axis < 3; ++axis)
    geometry.origin_mm[axis] += geometry.direction[3 * axis + 2] * geometry.spacing_mm[2] * static_cast<double>(first);
  return geometry;
}

}  // namespace postrec
