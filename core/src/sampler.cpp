#include "postrec/sampler.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "batch_size.hpp"
#include "batched_vectors.hpp"
#include "level_choice.hpp"
#include "mean.hpp"
#include "method_table.hpp"
#include "pace.hpp"
#include "postrec/error.hpp"
#include "sampler_checkpoint.hpp"

namespace postrec {
namespace {

constexpr int kMostPlanned = 1000000;          // levels that may be planned, and evaluations

void require(bool good, const std::string& option, const std::string& value, const std::string& hint) {
  if (!good) throw Error(ErrorKind::kUsage, "sampler option " + option + " is " + value, hint);
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

void check_needs(const MethodEntry& method, bool has_measurement) {
  if (method.needs == Needs::kMeasurement && !has_measurement)
    throw Error(ErrorKind::kUsage, "method '" + method.info.name + "' needs a measurement", "without one use bridge or prior");
  if (method.needs == Needs::kNoMeasurement && has_measurement)
    throw Error(ErrorKind::kUsage, "method '" + method.info.name + "' samples the prior alone", "with a measurement use bridge");
}

void check_finite(const at::Tensor& x, const Level& level) {
  for (const double square : dots(x, x))
    if (!std::isfinite(square))
      throw Error(ErrorKind::kNumerical, "the sample is not finite at step " + std::to_string(level.step) + ", sigma " + std::to_string(level.sigma),
                  "check the prior, the measurement and sigma_y");
}

/// Whether a level lies beyond those that a learned prior was trained for, by more than rounding. An exact prior knows every level.
bool is_untrained(const Prior& prior, double sigma) {
  constexpr double kRounding = 1e-4;
  const SigmaRange range = prior.range();
  return prior.error_covariance_is_measured() && (sigma < range.minimum * (1.0 - kRounding) || sigma > range.maximum * (1.0 + kRounding));
}

/// Tells the observer how far the whole job is.
class Progress {
 public:
  Progress(Observer& observer, const Prior& prior, std::int64_t done, std::int64_t total) : observer_(observer), prior_(prior), total_(total), done_(done) {}

  bool cancelled() const { return observer_.cancelled(); }

  /// Steps that count no more.
  void lost(std::int64_t n_steps) { done_ -= n_steps; }

  void finished(const Level& level, const LevelRecord& record, std::int64_t n_samples) {
    done_ += n_samples;
    if (!record.solve.converged && !warned_) {
      observer_.on_message("conjugate gradients stopped after " + std::to_string(record.solve.iterations) + " iterations at residual " +
                           std::to_string(record.solve.worst_residual) + ", sigma " + std::to_string(level.sigma));
      warned_ = true;
    }
    if (record.lacks_jacobian && !told_of_jacobian_) {
      observer_.on_message("the prior cannot be differentiated: draws are by its table of errors alone, less sharp than by its Jacobian");
      told_of_jacobian_ = true;
    }
    if (!told_of_level_ && is_untrained(prior_, level.sigma)) {
      const SigmaRange range = prior_.range();
      observer_.on_message("sigma " + std::to_string(level.sigma) + " lies outside what prior '" + prior_.info().name + "' was trained for, " + std::to_string(range.minimum) + " to " +
                           std::to_string(range.maximum) + ": nobody knows how good its answers are there");
      told_of_level_ = true;
    }
    observer_.on_step({done_, total_, level.sigma, record.misfit.empty() ? 0.0 : mean_of(record.misfit)});
  }

 private:
  Observer& observer_;
  const Prior& prior_;
  std::int64_t total_;
  std::int64_t done_;
  bool warned_ = false, told_of_jacobian_ = false, told_of_level_ = false;
};

void add_to_report(SamplerReport& report, const std::vector<LevelRecord>& records) {
  report.misfit_trace.resize(std::max(report.misfit_trace.size(), records.size()), 0.0);
  report.solve_iterations.resize(report.misfit_trace.size(), 0);
  report.effective_share.resize(report.misfit_trace.size(), 1.0);
  report.inflation_trace.resize(report.misfit_trace.size(), 0.0);
  for (std::size_t i = 0; i < records.size(); ++i) {
    for (const double misfit : records[i].misfit) report.misfit_trace[i] += misfit;
    for (const double inflation : records[i].inflation) report.inflation_trace[i] += inflation;
    report.solve_iterations[i] = std::max(report.solve_iterations[i], records[i].solve.iterations);
    report.effective_share[i] = std::min(report.effective_share[i], records[i].effective_share);
  }
}

/// The run between levels: where it stands, when that is written, and when time is up.
class Run {
 public:
  Run(const SamplerOptions& options, const std::string& identity, Pace& pace)
      : clock_(options.clock ? options.clock : steady_seconds), interval_s_(options.checkpoint_interval_s), pace_(pace) {
    if (options.checkpoint.empty()) return;
    file_.emplace(options.checkpoint, identity);
    if (auto saved = file_->load()) state = std::move(*saved);
    seconds_before_ = state.report.seconds;
    last_saved_ = clock_();
  }

  /// Of the batch that a checkpoint holds a part of; 0: none.
  std::int64_t n_begun() const { return state.x.defined() ? state.x.size(0) : 0; }
  /// Forgets the batch that was begun; says how many levels of it were done.
  std::int64_t drop_batch() {
    state.x = at::Tensor();
    return std::exchange(state.level, 0);
  }
  std::int64_t n_finished() const { return state.finished.defined() ? state.finished.size(0) : 0; }

  // The loop that all methods share. False when it was cancelled.
  bool walk(const SamplingTask& task, SamplingMethod& method, Progress& progress) {
    begin(task, method);
    for (auto& i = state.level; i < static_cast<std::int64_t>(state.levels.size());) {
      if (progress.cancelled()) return stop(task, method);
      if (pace_.thin(state.levels, static_cast<std::size_t>(i))) state.report.levels_left_out = true;
      const bool last = i + 1 == static_cast<std::int64_t>(state.levels.size());
      const Level level{static_cast<int>(i), state.levels[i], last ? 0.0 : state.levels[i + 1], static_cast<int>(state.levels.size())};
      LevelRecord record;
      task.step = level.step;
      state.x = method.advance(state.x, level, record);
      check_finite(state.x, level);
      pace_.finished_level(level.sigma);
      progress.finished(level, record, state.x.size(0));
      state.records.push_back(std::move(record));
      ++i;
      if (due()) save(task, method);
    }
    end(task);
    if (due()) keep();
    return true;
  }

  /// Writes a state between batches: the samples that are finished.
  void keep() {
    if (!file_) return;
    state.report.seconds = seconds();
    file_->save(state);
    last_saved_ = clock_();
  }

  /// Of work on these samples, with what was done before the run was stopped.
  double seconds() const { return seconds_before_ + clock_() - begin_; }

  static double steady_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

  SamplerState state;

 private:
  void begin(const SamplingTask& task, SamplingMethod& method) {
    network_seconds_before_ = state.report.network_seconds;
    if (state.x.defined()) {
      state.x = state.x.to(task.device);
      method.restore(state.method);
      task.nfe = state.nfe;
      return;
    }
    state.levels = method.levels();
    state.level = 0;
    state.records.clear();
    state.x = method.start(state.levels.front());
  }

  void end(const SamplingTask& task) {
    state.finished = state.finished.defined() ? at::cat({state.finished.to(task.device), state.x}) : state.x;
    state.x = at::Tensor();
    state.level = 0;
    if (state.report.sigmas.empty()) state.report.sigmas = state.levels;
    state.report.nfe = std::max(state.report.nfe, task.nfe);
    count_network(task);
    add_to_report(state.report, state.records);
  }

  bool due() const { return file_ && clock_() - last_saved_ >= interval_s_; }

  bool stop(const SamplingTask& task, const SamplingMethod& method) {
    count_network(task);
    if (file_) save(task, method);
    return false;
  }

  void save(const SamplingTask& task, const SamplingMethod& method) {
    state.method = method.state();
    state.nfe = task.nfe;
    count_network(task);
    keep();
  }

  void count_network(const SamplingTask& task) { state.report.network_seconds = network_seconds_before_ + task.network_seconds; }

  std::function<double()> clock_;
  double interval_s_;
  double last_saved_ = 0.0;
  const double begin_ = clock_();
  double seconds_before_ = 0.0, network_seconds_before_ = 0.0;
  Pace& pace_;
  std::optional<SamplerCheckpoint> file_;
};

/// What is finished, at most n_samples: a last group may hold more than were asked for.
Samples finished_samples(const SamplerState& state, const TensorSpec& image, const at::Device& device, std::int64_t n_samples) {
  std::vector<std::int64_t> none = {0};
  none.insert(none.end(), image.shape.begin(), image.shape.end());
  Samples samples{state.finished.defined() ? state.finished.to(device) : at::empty(none, at::TensorOptions().dtype(image.dtype).device(device)), state.report};
  const auto n = static_cast<double>(std::max<std::int64_t>(samples.x.size(0), 1));
  for (std::vector<double>* trace : {&samples.report.misfit_trace, &samples.report.inflation_trace})
    for (double& value : *trace) value /= n;
  samples.x = samples.x.narrow(0, 0, std::min(samples.x.size(0), n_samples));
  return samples;
}

std::int64_t bytes_of(const TensorSpec& image) { return c10::multiply_integers(image.shape) * static_cast<std::int64_t>(c10::elementSize(image.dtype)); }

}  // namespace

void SamplerOptions::validate() const {
  const MethodEntry& entry = find_method(method);
  const SolverEntry* steps = solver_of(entry, solver);
  complete_settings(entry, steps, settings);
  if (steps && steps->adaptive)
    require(nfe == 0, "nfe", std::to_string(nfe), "solver '" + steps->info.name + "' takes the steps that its tolerance asks for; set that");
  require(n_samples >= 1, "n_samples", std::to_string(n_samples), "at least 1 is needed");
  require(batch_size >= 0, "batch_size", std::to_string(batch_size), "it must be positive, or 0 for all samples together");
  require(n_steps >= 1, "n_steps", std::to_string(n_steps), "at least 1 is needed");
  require(n_steps <= kMostPlanned, "n_steps", std::to_string(n_steps), "at most " + std::to_string(kMostPlanned) + " are possible");
  require(nfe <= kMostPlanned, "nfe", std::to_string(nfe), "at most " + std::to_string(kMostPlanned) + " are possible");
  require(nfe >= 0, "nfe", std::to_string(nfe), "it must be positive, or 0 for n_steps levels");
  require(levels == "auto" || levels == "leap" || levels == "karras" || levels == "geometric" || levels == "process", "levels", "'" + levels + "'",
          "it is auto, leap, karras, geometric or process");
  require(deadline_s >= 0.0 && std::isfinite(deadline_s), "deadline_s", std::to_string(deadline_s), "it must be positive, or 0 for none");
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
  const MethodEntry& entry = find_method(options.method);
  const SolverEntry* solver = solver_of(entry, options.solver);
  check_needs(entry, likelihood != nullptr);
  const at::NoGradGuard no_graph;
  const auto settings = complete_settings(entry, solver, options.settings);
  LevelChoice choice({prior, image_shape, likelihood != nullptr, entry, solver, settings}, options);
  // Levels that a deadline leaves out need no random numbers.
  if (const auto n_levels = static_cast<std::int64_t>(choice.levels().size()); options.deadline_s == 0.0 && n_levels > kMostSteps)
    throw Error(ErrorKind::kUsage, "a run of " + std::to_string(n_levels) + " steps", "without a deadline at most " + std::to_string(kMostSteps) + " are possible");
  const std::int64_t group = entry.group_setting.empty() ? 1 : static_cast<std::int64_t>(settings.at(entry.group_setting));
  const std::int64_t asked = options.batch_size > 0 ? options.batch_size : options.n_samples;
  const TensorSpec image{image_shape, prior.domain().dtype};
  if (options.n_samples % group != 0)
    observer.on_message("samples of " + entry.info.name + " come in groups of " + std::to_string(group) + " (its setting " + entry.group_setting + "): whole groups are computed for the " +
                        std::to_string(options.n_samples) + " that are asked for");
  BatchSize batch_size(solver && solver->adaptive ? 1 : asked, group, bytes_of(image), options.batch_limit);
  const at::Device device = likelihood ? likelihood->y().device() : options.device;

  Pace pace(options.deadline_s, options.clock ? options.clock : Run::steady_seconds, [&](double sigma) { return choice.work(sigma); });
  Run run(options, options.checkpoint.empty() ? "" : run_identity(prior, likelihood, image_shape, options), pace);
  std::optional<Progress> progress;
  bool interrupted = false, out_of_time = false;
  while (run.n_finished() < options.n_samples && !interrupted && !out_of_time) {
    const std::int64_t left = options.n_samples - run.n_finished(), n = run.n_begun() > 0 ? run.n_begun() : batch_size.of(left);
    out_of_time = !pace.another_batch(n);
    if (out_of_time) break;
    const bool fits = batch_size.has_memory_for(n, [&] {
      const SamplingTask task{prior, likelihood, image, device, options.seed, run.n_finished(), n, options.solve, choice.process(), choice.levels(), settings, options.classifier};
      const auto method = make_method(entry, solver, task);
      if (!progress) {
        const auto n_levels = static_cast<std::int64_t>(method->levels().size());
        progress.emplace(observer, prior, run.n_finished() * n_levels + n * run.state.level, (options.n_samples + group - 1) / group * group * n_levels);
      }
      pace.begin_batch(n, (left + batch_size.get() - 1) / batch_size.get());
      interrupted = !run.walk(task, *method, *progress);
    });
    if (fits) {
      batch_size.tell(observer);
    } else {
      const std::int64_t n_steps = n * run.drop_batch();
      if (progress) progress->lost(n_steps);
    }
  }
  if (!interrupted) run.keep();                // whoever comes back finds the samples

  Samples samples = finished_samples(run.state, image, device, options.n_samples);
  samples.report.group = group;
  samples.report.interrupted = interrupted;
  samples.report.samples_left_out = out_of_time;
  samples.report.seconds = run.seconds();
  return samples;
}

}  // namespace postrec
