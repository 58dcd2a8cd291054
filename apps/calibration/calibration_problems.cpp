#include "calibration/calibration_problems.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "case/coil_maps.hpp"
#include "case/operator_parameters.hpp"
#include "case/scan_subject.hpp"
#include "case/seeds.hpp"
#include "case/simulation.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/prior_file.hpp"
#include "report/report_page_names.hpp"
#include "result/reconstruct_case.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr double kObject = 0.1;                // of the range of a slice
constexpr double kAlmostEmpty = 0.1;           // of the mean magnitude of the scan's fullest slice

/// A = s I: a sampler must give back the prior where nothing is seen, and noise alone stands between it and the truth where everything is.
class ScaledIdentity : public Operator {
 public:
  ScaledIdentity(double scale, TensorSpec domain) : scale_(scale), domain_(std::move(domain)) {}

  TensorSpec domain() const override { return domain_; }
  TensorSpec codomain() const override { return domain_; }
  OperatorTraits traits() const override { return {.linear = true, .has_normal_solve = true}; }
  at::Tensor forward(const at::Tensor& x) const override { return x * scale_; }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor&) const override { return v * scale_; }
  at::Tensor normal_solve(double lambda, const at::Tensor& b) const override { return b / (scale_ * scale_ + lambda); }
  double norm_bound() const override { return scale_; }

 private:
  double scale_;
  TensorSpec domain_;
};

at::Tensor labelled_regions(const std::string& file, std::int64_t slice, std::int64_t height, std::int64_t width) {
  const at::Tensor labels = read_scan(file).image.pixels;
  if (labels.size(0) != 1 && slice >= labels.size(0))
    throw Error(ErrorKind::kBadData, "--regions '" + file + "' has " + std::to_string(labels.size(0)) + " slices, slice " + std::to_string(slice) + " is asked for", "give one slice for all, or those of the scan");
  const at::Tensor one = labels[labels.size(0) == 1 ? 0 : slice][0];
  if (one.size(0) != height || one.size(1) != width)
    throw Error(ErrorKind::kBadData, "--regions '" + file + "' is " + std::to_string(one.size(0)) + "x" + std::to_string(one.size(1)),
                "the images are " + std::to_string(height) + "x" + std::to_string(width));
  std::vector<at::Tensor> regions;
  const at::Tensor values = std::get<0>(at::_unique(one, /*sorted=*/true));
  for (std::int64_t i = 0; i < values.size(0); ++i)
    if (values[i].item<double>() != 0.0) regions.push_back(one.eq(values[i]));
  if (regions.empty()) throw Error(ErrorKind::kBadData, "--regions '" + file + "' has no label in slice " + std::to_string(slice), "mark regions with numbers other than 0");
  return at::stack(regions);
}

at::Tensor regions_of(const RegionOptions& options, std::int64_t slice, std::int64_t height, std::int64_t width) {
  if (options.kind == "blocks") return block_regions(height, width, options.rows, options.rows);
  if (options.kind == "discs") return disc_regions(height, width, options.rows, options.rows);
  return labelled_regions(options.kind, slice, height, width);
}

std::shared_ptr<const Operator> operator_for(const PriorProblemOptions& options, const TensorSpec& domain, PluginRegistry& registry) {
  const CaseOptions& how = options.measurement;
  if (how.operator_name == "zero" || how.operator_name == "identity")
    return std::make_shared<ScaledIdentity>(how.operator_name == "zero" ? 0.0 : 1.0, domain);
  const OperatorType& type = registry.operator_type(how.operator_name);
  Parameters parameters;
  apply_settings(parameters, type, how.settings);
  if (how.simulate_coils > 0) {
    fill_parameter(parameters, type, "sens-maps", birdcage_maps(how.simulate_coils, options.height, options.width));
    fill_parameter(parameters, type, "coils", how.simulate_coils);
  }
  fill_parameter(parameters, type, "complex", at::isComplexType(domain.dtype));
  fill_parameter(parameters, type, "channels", domain.shape[0]);
  fill_parameter(parameters, type, "height", options.height);
  fill_parameter(parameters, type, "width", options.width);
  if (options.pixel_mm > 0.0) fill_parameter(parameters, type, "pixel-mm", options.pixel_mm);
  std::shared_ptr<const Operator> op = registry.make(how.operator_name, parameters);
  if (op->domain() != domain)
    throw Error(ErrorKind::kConfiguration, "operator '" + how.operator_name + "' measures other images than the prior's of " + std::to_string(options.height) + "x" + std::to_string(options.width),
                "size, channels and kind (real or complex) must agree");
  return op;
}

std::vector<std::int64_t> full_slices(const at::Tensor& pixels, IntensityUnit unit, std::int64_t at_most) {
  const at::Tensor physical = unit == IntensityUnit::kHounsfield ? (pixels / 1000.0 + 1.0).clamp_min(0.0) : pixels.abs();
  const at::Tensor fullness = physical.mean(at::IntArrayRef({1, 2, 3})).to(at::kDouble);
  const at::Tensor full = fullness.gt(kAlmostEmpty * fullness.max()).nonzero().flatten();
  const std::int64_t n = full.size(0), wanted = at_most > 0 ? std::min(at_most, n) : n;
  std::vector<std::int64_t> chosen;
  // The middles of `wanted` equal parts.
  for (std::int64_t i = 0; i < wanted; ++i) chosen.push_back(full[(2 * i + 1) * n / (2 * wanted)].item<std::int64_t>());
  return chosen;
}

struct ScanSlice {
  CaseOptions how;
  std::string name;
  std::int64_t subject = 0;
};

std::vector<ScanSlice> slices_of(const std::vector<fs::path>& scans, const CaseOptions& how, std::int64_t n_slices) {
  std::vector<ScanSlice> slices;
  const ScanSubjects subjects(scans);
  std::map<std::string, std::int64_t> persons;
  for (std::size_t k = 0; k < scans.size(); ++k) {
    const fs::path& scan = scans[k];
    // A record is found again by its name: files of several folders may be called alike, and DICOM folders are not called.
    const std::string shown = reported_name(scan), called = shown.empty() ? "" : "'" + shown + "' ", which = scans.size() > 1 || shown.empty() ? "scan " + std::to_string(k + 1) + " " : "";
    const Scan read = read_scan(scan);
    const Image& image = read.image;
    const std::int64_t subject = persons.emplace(subjects.of(read, scan), static_cast<std::int64_t>(persons.size())).first->second;
    const std::vector<std::int64_t> numbers = how.slice ? std::vector<std::int64_t>{*how.slice} : full_slices(image.pixels, how.unit.value_or(image.unit), n_slices);
    for (const std::int64_t number : numbers) {
      ScanSlice slice{how, which + called + "slice " + std::to_string(number), subject};
      slice.how.input = scan;
      slice.how.slice = number;
      // The same slice number of two scans shall not have the same noise.
      slice.how.seed = derive_seed(how.seed, static_cast<std::int64_t>(slices.size()), SeedPurpose::kSampling);
      slices.push_back(std::move(slice));
    }
  }
  if (slices.empty()) throw Error(ErrorKind::kBadData, "the scans hold no slice with an image in it", "give other scans");
  return slices;
}

/// Where the truth is over a tenth of its range, bool [C, H, W].
at::Tensor object_pixels(const at::Tensor& truth) {
  const at::Tensor low = truth.min(), high = truth.max();
  return truth.gt(low + kObject * (high - low));
}

CalibrationProblem scan_problem(const ScanSlice& slice, const RegionOptions& regions, Session& session) {
  const Case input = read_case(slice.how, session.registry());
  const Measurement& measurement = input.measurement;
  CalibrationProblem problem;
  problem.name = slice.name;
  problem.subject = slice.subject;
  problem.op = make_operator(session.registry(), measurement, 0);
  const TensorSpec domain = problem.op->domain();
  problem.prior = session.prior(domain, measurement.unit, measurement.geometry.spacing_mm[0]);

  const at::Tensor y = measurement.y[0].to(session.device());
  const IntensityScale scale = scale_of(measurement, *problem.prior, direct_reconstruction(*problem.op, y), input.volume_intensity);
  const at::Tensor stored = input.truth[0];
  const at::Tensor phase =
      slice.how.smooth_phase ? smooth_phase_rad(derive_seed(slice.how.seed, *slice.how.slice, SeedPurpose::kPhase), stored.size(1), stored.size(2)) : at::Tensor();
  problem.truth = with_phase(scale.physical_to_model(scale.stored_to_physical(stored)), phase, domain.dtype).to(session.device());
  problem.y = y / scale.scale;
  problem.sigma_y = problem.told_sigma_y = measurement.sigma_y / scale.scale;
  problem.pixels = object_pixels(stored);
  problem.regions = regions_inside(regions_of(regions, *slice.how.slice, stored.size(1), stored.size(2)), problem.pixels.any(0));
  problem.seed = derive_seed(slice.how.seed, *slice.how.slice, SeedPurpose::kSampling);
  return problem;
}

}  // namespace

CalibrationProblems prior_problems(const PriorProblemOptions& options, const RegionOptions& regions, Session& session, Observer& observer) {
  const std::shared_ptr<const Prior> prior =
      in_precision(load_prior(find_prior(session.options().prior), options.pixel_mm, session.options().code), session.options().precision, session.device());
  const TensorSpec domain{{prior->domain().shape.front(), options.height, options.width}, prior->domain().dtype};
  const std::shared_ptr<const Operator> op = operator_for(options, domain, session.registry());
  const at::Tensor areas = regions_of(regions, 0, options.height, options.width);
  const std::uint64_t seed = options.measurement.seed;

  SamplerOptions how;
  how.n_samples = options.n_replicates;
  how.batch_size = session.options().sampler.batch_size;
  how.n_steps = options.truth_steps;
  how.device = session.device();
  how.batch_limit = session.options().sampler.batch_limit;
  how.seed = derive_seed(seed, -1, SeedPurpose::kSampling);  // no replicate has this number
  CalibrationProblems problems;
  problems.truths = sample(*prior, nullptr, domain.shape, how, observer).x;
  problems.prior = prior->info();
  problems.n = problems.truths.size(0);
  problems.name = [](std::int64_t i) { return "replicate " + std::to_string(i); };
  problems.make = [=, truths = problems.truths, name = problems.name](std::int64_t i) {
    CalibrationProblem problem{name(i), prior, op, truths[i], {}, options.noise, options.told_noise.value_or(options.noise), {}, areas, derive_seed(seed, i, SeedPurpose::kSampling)};
    problem.y = simulate_slice(*op, problem.truth, options.noise, derive_seed(seed, i, SeedPurpose::kNoise));
    problem.pixels = at::ones(domain.shape, at::kBool);
    return problem;
  };
  return problems;
}

CalibrationProblems scan_problems(const std::vector<fs::path>& scans, const CaseOptions& how, std::int64_t n_slices, const RegionOptions& regions, Session& session) {
  const auto slices = std::make_shared<const std::vector<ScanSlice>>(slices_of(scans, how, n_slices));
  CalibrationProblems problems;
  problems.n = static_cast<std::int64_t>(slices->size());
  problems.name = [slices](std::int64_t i) { return slices->at(i).name; };
  problems.make = [slices, regions, &session](std::int64_t i) { return scan_problem(slices->at(i), regions, session); };
  return problems;
}

}  // namespace postrec
