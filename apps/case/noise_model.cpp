#include "case/noise_model.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "case/long_axes.hpp"
#include "case/seeds.hpp"
#include "case/simulation.hpp"
#include "case/unmeasured_rays.hpp"
#include "cli/number_text.hpp"
#include "postrec/data/tensor_file.hpp"
#include "postrec/poisson_transmission.hpp"
#include "postrec/shape_text.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kSmallRun = 8;          // samples that the parabolas are taken around

/// Real numbers; BART keeps them as complex ones.
at::Tensor read_real(const std::filesystem::path& path) {
  const at::Tensor values = read_tensor(path);
  if (!values.is_complex()) return values;
  if (at::imag(values).abs().max().item<double>() > 0.0)
    throw Error(ErrorKind::kBadData, "'" + path.string() + "' holds complex numbers", "these must be real");
  return at::real(values).contiguous();
}

at::Tensor read_photons(const std::string& number_or_file) {
  const auto number = number_of_text(number_or_file);
  return number ? at::full({1}, *number, at::kFloat) : read_real(number_or_file);
}

void require_flux(const at::Tensor& photons, const std::string& name) {
  if (!(photons.max().item<double>() > 0.0)) throw Error(ErrorKind::kUsage, name + " has no photons", "photons without an object: above 0");
}

void require_not_negative(const at::Tensor& photons, const std::string& name) {
  if (!(photons.min().item<double>() >= 0.0)) throw Error(ErrorKind::kUsage, name + " is below 0 somewhere", "it cannot be below 0");
}

void require_expansions(int n) {
  if (n < 0 || n > 100) throw Error(ErrorKind::kUsage, "--expansions is " + std::to_string(n), "it must be 0 to 100");
}

at::Tensor read_square(const std::filesystem::path& path) {
  at::Tensor matrix = read_tensor(path);
  while (matrix.dim() > 2 && matrix.size(0) == 1) matrix = matrix.squeeze(0);
  return matrix.numel() == 1 ? matrix.reshape({1, 1}) : matrix;
}

/// Axes of size 1 apart. A list goes along the axes in their order.
bool is_laid_out_as(const at::Tensor& values, at::IntArrayRef shape) {
  const auto axes = long_axes(values.sizes());
  return axes.size() <= 1 || axes == long_axes(shape);
}

void require_option(bool given, bool wanted, const std::string& option, const std::string& model) {
  if (wanted && !given) throw Error(ErrorKind::kUsage, "--noise-model " + model + " needs --" + option, "see --help-noise");
  if (given && !wanted) throw Error(ErrorKind::kUsage, "--" + option + " is given without --noise-model " + model, "give both or neither");
}

/// Passes on that the user interrupted; the steps of small runs are no progress of the slice.
class Quiet : public Observer {
 public:
  explicit Quiet(const Observer& observer) : observer_(observer) {}
  bool cancelled() const override { return observer_.cancelled(); }

 private:
  const Observer& observer_;
};

/// A small run of the standard method whatever the user samples with, so that all methods are asked the same question.
SamplerOptions small_run(const SamplerOptions& options, int round, int n_rounds) {
  SamplerOptions small;
  small.n_samples = kSmallRun;
  small.batch_size = options.batch_size;
  small.n_steps = options.n_steps;
  small.seed = derive_seed(options.seed, round, SeedPurpose::kSampling);
  small.solve = options.solve;
  small.deadline_s = options.deadline_s / (2.0 * n_rounds);  // half of the time at most
  if (options.batch_limit) small.batch_limit = std::make_shared<BatchLimit>(*options.batch_limit);  // a copy: what a small run learns is told to nobody
  return small;
}

}  // namespace

at::Tensor read_blank_scan(const std::string& number_or_file) {
  const at::Tensor photons = read_photons(number_or_file);
  require_flux(photons, "--blank-scan " + number_or_file);
  return photons;
}

at::Tensor read_background(const std::string& number_or_file) {
  const at::Tensor photons = read_photons(number_or_file);
  require_not_negative(photons, "--background " + number_or_file);
  return photons;
}

at::Tensor read_weights(const std::filesystem::path& file) { return read_real(file); }

at::Tensor SliceNoise::simulate(const Operator& op, const at::Tensor& x, double sigma_y, std::uint64_t seed) const {
  const at::Tensor clean = op.forward(x.unsqueeze(0)).squeeze(0);
  if (blank_scan_.defined()) return poisson_counts(blank_scan_ * (-clean.to(at::kDouble)).exp() + background_, seed);
  if (!whitening_) return simulate_slice(op, x, sigma_y, seed);
  const TensorSpec codomain = op.codomain();
  const at::Tensor noise = whitening_->colour(RandomStreams(seed, 0, 1).normal(0, codomain.shape, codomain.dtype)).squeeze(0);
  return clean + sigma_y * noise * measured_entries(op).to(noise.scalar_type());
}

at::Tensor SliceNoise::linear_data(const at::Tensor& y) const {
  const at::Tensor linear = blank_scan_.defined() ? PoissonTransmission(y, blank_scan_.to(y.device()), background_.to(y.device())).line_integrals() : y;
  const bool is_sinogram = linear.dim() == 2 && !linear.is_complex();
  return measured_.defined() && is_sinogram ? fill_unmeasured_rays(linear, measured_) : linear;
}

FoundLikelihood SliceNoise::likelihood(const std::shared_ptr<const Operator>& op, const at::Tensor& y, double sigma_y, double scale,
                                       const Prior& prior, const SamplerOptions& options, Observer& observer) const {
  if (blank_scan_.defined()) return count_likelihood(op, y, scale, prior, options, observer);
  if (!whitening_) return {GaussianLikelihood(op, y / scale, sigma_y / scale)};
  return {whitened_likelihood(op, y / scale, whitening_, sigma_y / scale)};
}

FoundLikelihood SliceNoise::count_likelihood(const std::shared_ptr<const Operator>& op, const at::Tensor& y, double scale, const Prior& prior,
                                             const SamplerOptions& options, Observer& observer) const {
  const PoissonTransmission counts(y, blank_scan_.to(y.device()), background_.to(y.device()));
  FoundLikelihood found{counts.likelihood(op, counts.expand(counts.line_integrals().unsqueeze(0)), scale)};
  found.repeatable = expansions_ == 0 || options.deadline_s == 0.0;
  Quiet quiet(observer);
  for (int round = 0; round < expansions_; ++round) {
    const Samples samples = sample(prior, &found.likelihood, op->domain().shape, small_run(options, round, expansions_), quiet);
    found.nfe += samples.report.nfe;
    found.seconds += samples.report.seconds;
    found.interrupted = samples.report.interrupted;
    if (found.interrupted || samples.x.size(0) == 0) break;
    found.likelihood = counts.likelihood(op, counts.expand(op->forward(samples.x) * scale), scale);
  }
  return found;
}

NoiseModel::NoiseModel(const NoiseOptions& options, std::int64_t n_slices) : options_(options), n_slices_(n_slices) {
  const bool weighted = kind() == NoiseKind::kWeighted, poisson = kind() == NoiseKind::kPoisson;
  require_option(!options.weights.empty(), weighted, "weights", "weighted");
  require_option(!options.blank_scan.empty(), poisson, "blank-scan", "poisson");
  if (!poisson) require_option(!options.background.empty(), false, "background", "poisson");
  if (kind() != NoiseKind::kGaussian) require_option(!options.covariance.empty(), false, "noise-covariance", "gaussian");
  require_expansions(options.expansions);

  if (!options.covariance.empty()) {
    // As every whitening in here it leaves noise of sigma_y, not of 1.
    const at::Tensor covariance = read_square(options.covariance);
    coils_sigma_y_ = CoilWhitening(covariance).sigma_y();
    coils_ = std::make_shared<CoilWhitening>(covariance / (coils_sigma_y_ * coils_sigma_y_));
  }
  if (weighted) weights_ = read_weights(options.weights);
  if (!poisson) return;
  blank_scan_ = read_blank_scan(options.blank_scan);
  background_ = options.background.empty() ? at::zeros({1}) : read_background(options.background);
}

void NoiseModel::divide_covariance(double n) { coils_sigma_y_ /= std::sqrt(n); }

NoiseModel::NoiseModel(const PhotonCounts& counts, const NoiseOptions& options, std::int64_t n_slices) : options_(options), n_slices_(n_slices) {
  if (options.kind_given && kind() != NoiseKind::kPoisson)
    throw Error(ErrorKind::kUsage, "the measurement holds photon counts, but --noise-model is " + std::string(kind() == NoiseKind::kWeighted ? "weighted" : "gaussian"),
                "counts are Poisson: leave --noise-model out");
  options_.kind = NoiseKind::kPoisson;
  require_option(!options.weights.empty(), false, "weights", "weighted");
  require_option(!options.covariance.empty(), false, "noise-covariance", "gaussian");
  require_expansions(options.expansions);
  blank_scan_ = options.blank_scan.empty() ? counts.flux : read_blank_scan(options.blank_scan);
  background_ = options.background.empty() ? counts.background : read_background(options.background);
  require_flux(blank_scan_, flux_name());
  require_not_negative(background_, background_name());
}

std::string NoiseModel::flux_name() const { return options_.blank_scan.empty() ? "the flux of the measurement" : "--blank-scan " + options_.blank_scan; }

std::string NoiseModel::background_name() const { return options_.background.empty() ? "the background of the measurement" : "--background " + options_.background; }

DeadRays NoiseModel::leave_out_dead_rays(const at::Tensor& y) {
  if (kind() != NoiseKind::kPoisson || y.dim() != 3 || y.is_complex()) return {};
  const TensorSpec one = {{y.size(1), y.size(2)}, at::kFloat};
  std::vector<at::Tensor> flux;
  DeadRays dead;
  for (std::int64_t slice = 0; slice < y.size(0); ++slice) {
    const at::Tensor blank = of_slice(blank_scan_, slice, one, flux_name()), dark = y[slice] <= of_slice(background_, slice, one, background_name());
    if ((dark | blank.eq(0)).all().item<bool>())
      throw Error(ErrorKind::kBadData, "no ray of slice " + std::to_string(slice) + " counts a photon above the background", "the blank scan and the background are numbers of photons, as the counts are");
    const at::Tensor elements = dark.all(0) & blank.gt(0).any(0), views = dark.all(1) & blank.gt(0).any(1);
    dead.elements += elements.sum().item<std::int64_t>();
    dead.views += views.sum().item<std::int64_t>();
    flux.push_back(blank.masked_fill(elements.unsqueeze(0) | views.unsqueeze(1), 0.0));
  }
  if (dead.elements + dead.views > 0) blank_scan_ = at::stack(flux);
  return dead;
}

std::optional<PhotonCounts> NoiseModel::counts(const std::vector<std::int64_t>& numbers, const TensorSpec& codomain) const {
  if (kind() != NoiseKind::kPoisson) return std::nullopt;
  const auto kept = [&](const at::Tensor& values, const std::string& name) {
    if (values.numel() == 1) return values;
    std::vector<at::Tensor> slices;
    for (const auto number : numbers) slices.push_back(of_slice(values, number, codomain, name));
    return at::stack(slices);
  };
  return PhotonCounts{kept(blank_scan_, flux_name()), kept(background_, background_name())};
}

NoiseModel::NoiseModel(const at::Tensor& weights) : n_slices_(weights.size(0)), weights_(weights.contiguous()) { options_.kind = NoiseKind::kWeighted; }

at::Tensor NoiseModel::of_slice(const at::Tensor& values, std::int64_t number, const TensorSpec& codomain, const std::string& name) const {
  const std::int64_t n = std::accumulate(codomain.shape.begin(), codomain.shape.end(), std::int64_t{1}, std::multiplies<>());
  std::vector<std::int64_t> of_all = codomain.shape;
  of_all.insert(of_all.begin(), n_slices_);
  if (values.numel() == n && is_laid_out_as(values, codomain.shape)) return values.reshape(codomain.shape).contiguous();
  if (values.numel() == n_slices_ * n && is_laid_out_as(values, of_all)) return values.reshape({n_slices_, n})[number].reshape(codomain.shape).contiguous();
  // One number for all, a row for all rows, one coil for all coils.
  bool fits = values.dim() <= static_cast<std::int64_t>(codomain.shape.size());
  for (std::int64_t i = 1; fits && i <= values.dim(); ++i) {
    const std::int64_t wanted = codomain.shape[codomain.shape.size() - i];
    fits = values.size(-i) == 1 || values.size(-i) == wanted;
  }
  if (!fits)
    throw Error(ErrorKind::kConfiguration, name + " holds " + shape_text(values.sizes()) + " numbers",
                "a slice measures " + shape_text(codomain.shape));
  return values.expand(codomain.shape).contiguous();
}

SliceNoise NoiseModel::slice(std::int64_t number, const TensorSpec& codomain) const {
  if (kind() == NoiseKind::kWeighted) return SliceNoise(of_slice(weights_, number, codomain, "--weights"));
  if (kind() == NoiseKind::kPoisson) {
    if (codomain.dtype != at::kFloat)
      throw Error(ErrorKind::kConfiguration, "--noise-model poisson is given, but the operator measures complex numbers", "photon counts are real");
    return SliceNoise(of_slice(blank_scan_, number, codomain, flux_name()),
                      of_slice(background_, number, codomain, background_name()), options_.expansions);
  }
  if (coils_) coils_->require_fit(codomain);
  return SliceNoise(coils_);
}

std::optional<double> NoiseModel::sigma_y() const {
  if (coils_) return coils_sigma_y_;
  if (kind() == NoiseKind::kPoisson) return 0.0;
  return std::nullopt;
}

std::string NoiseModel::sigma_y_source() const {
  if (coils_) return "root mean square over the coils of --noise-covariance";
  if (kind() == NoiseKind::kPoisson) return "none: the counts are Poisson";
  return "";
}

std::vector<std::string> NoiseModel::notes() const {
  if (kind() == NoiseKind::kWeighted) return {"the variance of an entry is sigma_y^2 over its weight"};
  if (kind() == NoiseKind::kPoisson)
    return {"the counts are Poisson; the log-likelihood of each ray is a parabola, taken around the data and then " +
            std::to_string(options_.expansions) + " time(s) around " + std::to_string(kSmallRun) + " samples"};
  return {};
}

}  // namespace postrec
