#include "postrec/sampler.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"
#include "postrec/noise_schedule.hpp"
#include "method_table.hpp"
#include "pace.hpp"
#include "sampler_checkpoint.hpp"

namespace postrec {
namespace {

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

SigmaRange level_range(const Prior& prior, const SamplerOptions& options) {
  const SigmaRange range = prior.range();
  return {options.sigma_min > 0.0 ? options.sigma_min : range.minimum, options.sigma_max > 0.0 ? options.sigma_max : range.maximum};
}

/// Levels for the budget: a level costs evaluations of the method times calls by its solver, which calls once at the last level.
int level_count(const MethodEntry& method, const SolverEntry* solver, const SamplerOptions& options, const std::map<std::string, double>& settings) {
  if (options.nfe == 0) return options.n_steps;
  const double call = method.evaluations.with(settings), calls = solver ? solver->evaluations.with(settings) : 1.0;
  const double least = call + method.evaluations_besides.with(settings), left = static_cast<double>(options.nfe) - least;
  require(left >= 0.0, "nfe", std::to_string(options.nfe),
          "method '" + method.info.name + "' needs at least " + std::to_string(static_cast<std::int64_t>(std::ceil(least))) + " with these settings");
  return 1 + static_cast<int>(std::floor(left / (call * calls) + 1e-9));
}

NoiseProcess process_for(const SigmaRange& range, const SamplerOptions& options) {
  NoiseProcessOptions process;
  process.sigma_min = range.minimum;
  process.sigma_max = range.maximum;
  return make_noise_process(options.process, process);
}

/// Where a leap lands, in standard deviations of a pixel of the prior's images: above it, levels cost as much and change nothing (core/README.md).
constexpr double kLanding = 6.0;

/// auto: a leap for the methods that are made for it.
std::vector<double> levels_for(const NoiseProcess& process, int n_levels, const std::string& kind, bool leaps, double landing) {
  const SigmaRange range = process.range();
  if (kind == "leap" || (kind == "auto" && leaps)) return NoiseSchedule::leap(n_levels, range.maximum, landing, range.minimum).sigmas();
  if (kind == "karras" || kind == "auto") return NoiseSchedule::karras(n_levels, range.maximum, range.minimum).sigmas();
  if (kind == "geometric") return NoiseSchedule::geometric(n_levels, range.maximum, range.minimum).sigmas();
  return NoiseSchedule::even_in_time(n_levels, process).sigmas();
}

/// `n` levels, or as many of them as `nfe` evaluations allow where some levels take two, and the others one.
template <class LevelsOf, class TakesTwo>
std::vector<double> levels_within_budget(int n, std::int64_t nfe, const LevelsOf& levels_of, const TakesTwo& takes_two) {
  for (;;) {
    std::vector<double> levels = levels_of(n);
    const std::int64_t over = nfe == 0 ? 0 : n + std::count_if(levels.begin(), levels.end(), takes_two) - nfe;
    if (over <= 0 || n == 1) return levels;
    n -= static_cast<int>((over + 1) / 2);     // a level less saves two evaluations at most
  }
}

void check_finite(const at::Tensor& x, const Level& level) {
  for (const double square : dots(x, x))
    if (!std::isfinite(square))
      throw Error(ErrorKind::kNumerical, "the sample is not finite at step " + std::to_string(level.step) + ", sigma " + std::to_string(level.sigma),
                  "check the prior, the measurement and sigma_y");
}

double mean_of(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return values.empty() ? 0.0 : sum / static_cast<double>(values.size());
}

/// Tells the observer how far the whole job is.
class Progress {
 public:
  Progress(Observer& observer, std::int64_t done, std::int64_t total) : observer_(observer), total_(total), done_(done) {}

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
    observer_.on_step({done_, total_, level.sigma, mean_of(record.misfit)});
  }

 private:
  Observer& observer_;
  std::int64_t total_;
  std::int64_t done_;
  bool warned_ = false, told_of_jacobian_ = false;
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
      const Level level{static_cast<int>(i), state.levels[i], last ? 0.0 : state.levels[i + 1]};
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
    file_->save(state);
    last_saved_ = clock_();
  }

  static double steady_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

  SamplerState state;

 private:
  void begin(const SamplingTask& task, SamplingMethod& method) {
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
    state.report.network_seconds += task.network_seconds;
    add_to_report(state.report, state.records);
  }

  bool due() const { return file_ && clock_() - last_saved_ >= interval_s_; }

  bool stop(const SamplingTask& task, const SamplingMethod& method) {
    if (file_) save(task, method);
    return false;
  }

  void save(const SamplingTask& task, const SamplingMethod& method) {
    state.method = method.state();
    state.nfe = task.nfe;
    keep();
  }

  std::function<double()> clock_;
  double interval_s_;
  double last_saved_ = 0.0;
  Pace& pace_;
  std::optional<SamplerCheckpoint> file_;
};

std::int64_t bytes_of(const TensorSpec& image) { return c10::multiply_integers(image.shape) * static_cast<std::int64_t>(c10::elementSize(image.dtype)); }

/// How many samples are computed together: fewer where the device has no memory for as many, or had none in an earlier call.
class BatchSize {
 public:
  BatchSize(std::int64_t n, std::int64_t group, std::int64_t image_bytes, std::shared_ptr<BatchLimit> limit)
      : group_(group), image_bytes_(image_bytes), limit_(std::move(limit)), n_(std::min(whole_groups(n, group), known_limit())) {}

  std::int64_t get() const { return n_; }
  std::int64_t of(std::int64_t n_left) const { return whole_groups(std::min(n_, n_left), group_); }

  /// Calls work() for n samples. False, and a smaller size, when memory ran out; throws on when there is nothing to halve.
  template <class Work>
  bool has_memory_for(std::int64_t n, const Work& work) {
    try {
      work();
      return true;
    } catch (const c10::OutOfMemoryError&) {
      if (!halve(n)) throw;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kOutOfMemory || !halve(n)) throw;
    }
    return false;
  }

  /// Says it once, and keeps it for later calls, when a size has proved right.
  void tell(Observer& observer) {
    if (first_ == 0) return;
    if (limit_) limit_->image_bytes = n_ * image_bytes_;
    if (told_) return;
    observer.on_message("the device has no memory for " + std::to_string(first_) + " samples together: going on with " + std::to_string(n_) + " (--batch-size)");
    told_ = true;
  }

 private:
  /// The smallest multiple of `group` that holds n.
  static std::int64_t whole_groups(std::int64_t n, std::int64_t group) { return (n + group - 1) / group * group; }

  /// Whole groups that an earlier call leaves room for; one at least.
  std::int64_t known_limit() const {
    if (!limit_ || limit_->image_bytes == 0) return std::numeric_limits<std::int64_t>::max();
    return std::max(limit_->image_bytes / image_bytes_ / group_, std::int64_t{1}) * group_;
  }

  bool halve(std::int64_t n) {
    if (n <= group_) return false;
    if (first_ == 0) first_ = n;
    n_ = whole_groups(n / 2, group_);
    return true;
  }

  std::int64_t group_, image_bytes_;
  std::shared_ptr<BatchLimit> limit_;
  std::int64_t n_, first_ = 0;
  bool told_ = false;
};

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
  const auto start = std::chrono::steady_clock::now();
  const NoiseProcess process = process_for(level_range(prior, options), options);
  const auto settings = complete_settings(entry, solver, options.settings);
  const auto levels_of = [&](int n) { return levels_for(process, n, options.levels, entry.leaps && likelihood, kLanding * prior.image_deviation(image_shape)); };
  std::map<double, bool> known_to_take_two;
  const auto takes_two = [&](double sigma) {
    if (!entry.takes_two || !likelihood) return false;
    const auto found = known_to_take_two.find(sigma);
    return found != known_to_take_two.end() ? found->second : known_to_take_two[sigma] = entry.takes_two(prior, image_shape, sigma, settings);
  };
  const std::vector<double> levels = levels_within_budget(level_count(entry, solver, options, settings), options.nfe, levels_of, takes_two);
  const std::int64_t group = entry.group_setting.empty() ? entry.group_size : static_cast<std::int64_t>(settings.at(entry.group_setting));
  const std::int64_t asked = options.batch_size > 0 ? options.batch_size : options.n_samples;
  const TensorSpec image{image_shape, prior.domain().dtype};
  BatchSize batch_size(solver && solver->adaptive ? 1 : asked, group, bytes_of(image), options.batch_limit);
  const at::Device device = likelihood ? likelihood->y().device() : options.device;

  Pace pace(options.deadline_s, options.clock ? options.clock : Run::steady_seconds, [&](double sigma) { return takes_two(sigma) ? 2.0 : 1.0; });
  Run run(options, options.checkpoint.empty() ? "" : run_identity(prior, likelihood, image_shape, options), pace);
  std::optional<Progress> progress;
  bool interrupted = false, out_of_time = false;
  while (run.n_finished() < options.n_samples && !interrupted && !out_of_time) {
    const std::int64_t left = options.n_samples - run.n_finished(), n = run.n_begun() > 0 ? run.n_begun() : batch_size.of(left);
    out_of_time = !pace.another_batch(n);
    if (out_of_time) break;
    const bool fits = batch_size.has_memory_for(n, [&] {
      const SamplingTask task{prior, likelihood, image, device, options.seed, run.n_finished(), n, options.solve, process, levels, settings, options.classifier};
      const auto method = make_method(entry, solver, task);
      if (!progress) {
        const auto n_levels = static_cast<std::int64_t>(method->levels().size());
        progress.emplace(observer, run.n_finished() * n_levels + n * run.state.level, options.n_samples * n_levels);
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

  Samples samples;
  samples.report = run.state.report;
  samples.report.interrupted = interrupted;
  samples.report.samples_left_out = out_of_time;
  for (std::vector<double>* trace : {&samples.report.misfit_trace, &samples.report.inflation_trace})
    for (double& value : *trace) value /= static_cast<double>(std::max<std::int64_t>(run.n_finished(), 1));
  std::vector<std::int64_t> none = {0};
  none.insert(none.end(), image_shape.begin(), image_shape.end());
  samples.x = run.n_finished() == 0 ? at::empty(none, at::TensorOptions().dtype(image.dtype).device(device)) : run.state.finished.to(device);
  // A last group may hold more samples than were asked for.
  samples.x = samples.x.narrow(0, 0, std::min(samples.x.size(0), options.n_samples));
  samples.report.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return samples;
}

}  // namespace postrec
