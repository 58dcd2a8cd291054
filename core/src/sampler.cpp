#include "postrec/sampler.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"
#include "postrec/noise_schedule.hpp"
#include "sampling_method.hpp"

namespace postrec {
namespace {

using MakeMethod = std::function<std::unique_ptr<SamplingMethod>(const SamplingTask&)>;

const std::map<std::string, MakeMethod>& methods() {
  static const std::map<std::string, MakeMethod> table = {{"bridge", make_bridge}, {"flow", make_flow}};
  return table;
}

void require(bool good, const std::string& option, const std::string& value, const std::string& hint) {
  if (!good) throw Error(ErrorKind::kUsage, "sampler option " + option + " is " + value, hint);
}

std::string joined_names() {
  std::string text;
  for (const auto& [name, make] : methods()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void check_shapes(const Prior& prior, const GaussianLikelihood* likelihood, const std::vector<std::int64_t>& image_shape) {
  const TensorSpec domain = prior.domain();
  bool fits = domain.shape.size() == image_shape.size();
  for (std::size_t i = 0; fits && i < image_shape.size(); ++i) fits = image_shape[i] > 0 && (domain.shape[i] == -1 || domain.shape[i] == image_shape[i]);
  if (!fits) throw Error(ErrorKind::kBadData, "prior '" + prior.info().name + "' cannot denoise images of this shape", "choose a prior for them");
  if (likelihood && likelihood->op().domain() != TensorSpec{image_shape, domain.dtype})
    throw Error(ErrorKind::kBadData, "prior '" + prior.info().name + "' and operator are for images of different shape or type (real or complex)",
                "choose a prior of the operator's kind");
}

NoiseSchedule schedule_for(const Prior& prior, const SamplerOptions& options) {
  const SigmaRange range = prior.range();
  return NoiseSchedule::karras(options.n_steps, options.sigma_max > 0.0 ? options.sigma_max : range.maximum,
                               options.sigma_min > 0.0 ? options.sigma_min : range.minimum);
}

void check_finite(const at::Tensor& x, const char* what, const Level& level) {
  for (const double square : dots(x, x))
    if (!std::isfinite(square))
      throw Error(ErrorKind::kNumerical, std::string(what) + " is not finite at step " + std::to_string(level.step) + ", sigma " +
                  std::to_string(level.sigma), "check the prior, the measurement and sigma_y");
}

double mean_of(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return values.empty() ? 0.0 : sum / static_cast<double>(values.size());
}

/// Tells the observer how far the whole job is.
class Progress {
 public:
  Progress(Observer& observer, std::int64_t total) : observer_(observer), total_(total) {}

  bool cancelled() const { return observer_.cancelled(); }

  void finished(const Level& level, const LevelRecord& record, std::int64_t n_samples) {
    done_ += n_samples;
    if (!record.solve.converged && !warned_) {
      observer_.on_message("conjugate gradients stopped after " + std::to_string(record.solve.iterations) + " iterations at residual " +
                           std::to_string(record.solve.worst_residual) + ", sigma " + std::to_string(level.sigma));
      warned_ = true;
    }
    observer_.on_step({done_, total_, level.sigma, mean_of(record.misfit)});
  }

 private:
  Observer& observer_;
  std::int64_t total_;
  std::int64_t done_ = 0;
  bool warned_ = false;
};

// The loop that all methods share. Returns an undefined tensor when it was cancelled.
at::Tensor sample_batch(const SamplingTask& task, SamplingMethod& method, const std::vector<double>& sigmas, Progress& progress,
                        std::vector<LevelRecord>& records) {
  at::Tensor x = real_view(task.normal(kInitialDraw, task.image)).mul(sigmas.front());
  if (task.image.dtype == at::kComplexFloat) x = at::view_as_complex(x);
  for (std::size_t i = 0; i < sigmas.size(); ++i) {
    if (progress.cancelled()) return {};
    const Level level{static_cast<int>(i), sigmas[i], i + 1 < sigmas.size() ? sigmas[i + 1] : 0.0};
    LevelRecord record;
    const at::Tensor denoised = task.prior.denoise(x, level.sigma);
    check_finite(denoised, "the denoised image", level);
    const at::Tensor x0 = method.condition(x, denoised, level, record);
    x = method.step(x, x0, level);
    check_finite(x, "the sample", level);
    progress.finished(level, record, x.size(0));
    records.push_back(std::move(record));
  }
  return x;
}

void add_to_report(SamplerReport& report, const std::vector<LevelRecord>& records, std::int64_t n_samples) {
  for (std::size_t i = 0; i < records.size(); ++i) {
    for (const double misfit : records[i].misfit) report.misfit_trace[i] += misfit / static_cast<double>(n_samples);
    report.solve_iterations[i] = std::max(report.solve_iterations[i], records[i].solve.iterations);
  }
}

}  // namespace

std::vector<std::string> sampler_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : methods()) names.push_back(name);
  return names;
}

void SamplerOptions::validate() const {
  require(methods().count(method) != 0, "method", "'" + method + "'", "known methods are " + joined_names());
  require(n_samples >= 1, "n_samples", std::to_string(n_samples), "at least 1 is needed");
  require(batch_size >= 0, "batch_size", std::to_string(batch_size), "it must be positive, or 0 for all samples together");
  require(n_steps >= 1, "n_steps", std::to_string(n_steps), "at least 1 is needed");
  require(sigma_max >= 0.0 && std::isfinite(sigma_max), "sigma_max", std::to_string(sigma_max), "it must be positive, or 0 for the prior's");
  require(sigma_min >= 0.0 && std::isfinite(sigma_min), "sigma_min", std::to_string(sigma_min), "it must be positive, or 0 for the prior's");
  require(sigma_max == 0.0 || sigma_min < sigma_max, "sigma_min", std::to_string(sigma_min), "it must be below sigma_max");
  require(solve.tolerance > 0.0 && solve.tolerance < 1.0, "solve.tolerance", std::to_string(solve.tolerance), "it must lie between 0 and 1");
  require(solve.max_iterations >= 1, "solve.max_iterations", std::to_string(solve.max_iterations), "at least 1 is needed");
}

Samples sample(const Prior& prior, const GaussianLikelihood* likelihood, const std::vector<std::int64_t>& image_shape,
               const SamplerOptions& options, Observer& observer) {
  options.validate();
  check_shapes(prior, likelihood, image_shape);
  const c10::InferenceMode no_autograd;
  const auto start = std::chrono::steady_clock::now();
  const std::vector<double> sigmas = schedule_for(prior, options).sigmas();
  const std::int64_t batch_size = options.batch_size > 0 ? options.batch_size : options.n_samples;
  const TensorSpec image{image_shape, prior.domain().dtype};
  const at::Device device = likelihood ? likelihood->y().device() : at::Device(at::kCPU);

  SamplerReport report;
  report.nfe = static_cast<std::int64_t>(sigmas.size());
  report.sigmas = sigmas;
  report.misfit_trace.assign(sigmas.size(), 0.0);
  report.solve_iterations.assign(sigmas.size(), 0);
  Progress progress(observer, options.n_samples * report.nfe);
  std::vector<at::Tensor> finished;
  std::int64_t n_finished = 0;
  while (n_finished < options.n_samples && !report.interrupted) {
    const std::int64_t n = std::min(batch_size, options.n_samples - n_finished);
    const SamplingTask task{prior, likelihood, image, device, RandomStreams(options.seed, n_finished, n), options.solve};
    std::vector<LevelRecord> records;
    const at::Tensor x = sample_batch(task, *methods().at(options.method)(task), sigmas, progress, records);
    report.interrupted = !x.defined();
    if (report.interrupted) break;
    finished.push_back(x);
    n_finished += n;
    add_to_report(report, records, options.n_samples);
  }
  for (double& misfit : report.misfit_trace) misfit *= static_cast<double>(options.n_samples) / std::max<std::int64_t>(n_finished, 1);
  std::vector<std::int64_t> none = {0};
  none.insert(none.end(), image_shape.begin(), image_shape.end());
  Samples samples;
  samples.x = finished.empty() ? at::empty(none, at::TensorOptions().dtype(image.dtype).device(device)) : at::cat(finished);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  samples.report = std::move(report);
  return samples;
}

}  // namespace postrec
