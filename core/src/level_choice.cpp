#include "level_choice.hpp"

#include <cmath>

#include "postrec/error.hpp"
#include "postrec/noise_schedule.hpp"

namespace postrec {
namespace {

/// Where a leap lands, in standard deviations of a pixel of the prior's images: above it, levels cost as much and change nothing (core/README.md).
constexpr double kLanding = 6.0;

NoiseProcess process_for(const Prior& prior, const SamplerOptions& options) {
  const SigmaRange range = prior.range();
  NoiseProcessOptions process;
  process.sigma_min = options.sigma_min > 0.0 ? options.sigma_min : range.minimum;
  process.sigma_max = options.sigma_max > 0.0 ? options.sigma_max : range.maximum;
  return make_noise_process(options.process, process);
}

}  // namespace

LevelChoice::LevelChoice(const For& what, const SamplerOptions& options)
    : for_(what), process_(process_for(what.prior, options)), levels_(within_budget(most_levels(options), options)) {}

int LevelChoice::work(double sigma, std::size_t n_levels) {
  if (!for_.method.takes_two || !for_.has_measurement) return 1;
  const auto found = work_.find({sigma, n_levels});
  if (found != work_.end()) return found->second;
  return work_[{sigma, n_levels}] = for_.method.takes_two(for_.prior, for_.image_shape, sigma, n_levels, for_.settings) ? 2 : 1;
}

// A level costs evaluations of the method times calls by its solver, which calls once at the last level.
int LevelChoice::most_levels(const SamplerOptions& options) const {
  if (options.nfe == 0) return options.n_steps;
  const double call = for_.method.evaluations.with(for_.settings), calls = for_.solver ? for_.solver->evaluations.with(for_.settings) : 1.0;
  const double least = call + for_.method.evaluations_besides.with(for_.settings), left = static_cast<double>(options.nfe) - least;
  if (left < 0.0)
    throw Error(ErrorKind::kUsage, "sampler option nfe is " + std::to_string(options.nfe),
                "method '" + for_.method.info.name + "' needs at least " + std::to_string(static_cast<std::int64_t>(std::ceil(least))) + " with these settings");
  return 1 + static_cast<int>(std::floor(left / (call * calls) + 1e-9));
}

// auto: a leap for the methods that are made for it.
std::vector<double> LevelChoice::levels_of(int n, const std::string& kind) const {
  const SigmaRange range = process_.range();
  if (kind == "leap" || (kind == "auto" && for_.method.leaps && for_.has_measurement))
    return NoiseSchedule::leap(n, range.maximum, kLanding * for_.prior.image_deviation(for_.image_shape), range.minimum).sigmas();
  if (kind == "karras" || kind == "auto") return NoiseSchedule::karras(n, range.maximum, range.minimum).sigmas();
  if (kind == "geometric") return NoiseSchedule::geometric(n, range.maximum, range.minimum).sigmas();
  return NoiseSchedule::even_in_time(n, process_).sigmas();
}

// n levels if every one takes one evaluation; fewer where some take two.
std::vector<double> LevelChoice::within_budget(int n, const SamplerOptions& options) {
  for (;;) {
    std::vector<double> levels = levels_of(n, options.levels);
    if (options.nfe == 0 || n == 1) return levels;
    std::int64_t over = -options.nfe;
    for (const double sigma : levels) over += work(sigma, levels.size());
    if (over <= 0) return levels;
    n -= static_cast<int>((over + 1) / 2);     // a level less saves two evaluations at most
  }
}

}  // namespace postrec
