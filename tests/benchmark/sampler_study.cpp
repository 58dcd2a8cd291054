// The study of samplers: every method on posteriors known in closed form, as a markdown table.
//   postrec_sampler_study [--rows yes] [--methods a,b] [--beds a,b] [--nfe 20,50] [--seeds N] [--first-seed N] [--samples N] [--set NAME=VALUE]...
//                         [--solver NAME] [--levels KIND] [--tolerance T] [--table-scale F] [--denoiser-error E]
// Without --rows: the table of core/README.md, a line a method, with figures averaged over the Gaussian beds (T1c) and the mixtures (T2c), distances geometrically; then
// how many pairs of methods stand in the order of the study that it repeats. With --rows yes: a line for each bed, with what is below.
// SW: sliced Wasserstein distance to the posterior over that of exact sets. std: over the exact one. coverage: of 90 % intervals (the quantiles used
// give .8965 with 512 samples). weight error: the largest of the modes; bias: that of the samples of all seeds together. share: smallest effective
// sample size of a group of particles over its size.
// --table-scale multiplies the covariance c(sigma) that methods believe in; --denoiser-error adds an error of E times the posterior's spread to the
// denoiser, and its square to c. "exact" stands for samples of the posterior itself. Mean and standard deviation are over seeds.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "beds.hpp"
#include "mode_weights.hpp"
#include "postrec/error.hpp"
#include "postrec/sampler.hpp"
#include "statistics.hpp"

namespace postrec::test {
namespace {

/// A prior that is wrong in a known way.
class SpoiltPrior : public Prior {
 public:
  SpoiltPrior(std::shared_ptr<const MixturePrior> prior, double table_scale, double error)
      : prior_(std::move(prior)), table_scale_(table_scale), error_(error),
        phase_(RandomStreams(0x73706f69, 0, 1).uniform(0, prior_->domain().shape) * kTwoPi) {}

  TensorSpec domain() const override { return prior_->domain(); }
  const PriorInfo& info() const override { return prior_->info(); }
  SigmaRange range() const override { return prior_->range(); }

  // The error is a smooth function of x with about unit variance, coloured as the posterior's spread is.
  at::Tensor denoise(const at::Tensor& x_t, double sigma) const override {
    const at::Tensor denoised = prior_->denoise(x_t, sigma);
    if (error_ == 0.0) return denoised;
    const at::Tensor wave = (x_t * (3.0 / std::sqrt(1.0 + sigma * sigma)) + phase_).sin() * std::sqrt(2.0);
    return denoised + prior_->error_covariance(sigma, domain().shape).apply_sqrt(wave) * error_;
  }

  bool error_covariance_is_measured() const override { return table_scale_ != 1.0 || error_ != 0.0; }
  SpectralCovariance error_covariance(double sigma, const std::vector<std::int64_t>& image_shape) const override {
    const SpectralCovariance right = prior_->error_covariance(sigma, image_shape);
    return {right.basis(), right.eigenvalues() * (table_scale_ * (1.0 + error_ * error_))};
  }

 private:
  std::shared_ptr<const MixturePrior> prior_;
  double table_scale_;
  double error_;
  at::Tensor phase_;
};

struct Study {
  std::vector<std::string> methods, beds;
  std::vector<std::int64_t> nfe = {20, 50};
  std::int64_t n_seeds = 3;
  bool rows = false;
  std::uint64_t first_seed = 1;
  double table_scale = 1.0, denoiser_error = 0.0;
  SamplerOptions options;
};

struct Moments {
  double sum = 0.0, squares = 0.0, n = 0.0;

  void add(double value) {
    sum += value;
    squares += value * value;
    n += 1.0;
  }
  std::string text(int digits) const {
    const double mean = sum / n, variance = n > 1.0 ? std::max(0.0, (squares - n * mean * mean) / (n - 1.0)) : 0.0;
    char buffer[64];
    if (n > 1.0) std::snprintf(buffer, sizeof buffer, "%.*f +- %.*f", digits, mean, digits, std::sqrt(variance));
    else std::snprintf(buffer, sizeof buffer, "%.*f", digits, mean);
    return buffer;
  }
};

/// A bed with all that samples are compared with.
struct Problem {
  explicit Problem(Bed bed) : bed(std::move(bed)), posterior(this->bed.posterior()) {}

  const Comparison& comparison(std::int64_t n_samples) const {
    if (!comparison_) comparison_ = std::make_unique<Comparison>(posterior, n_samples);
    return *comparison_;
  }

  Bed bed;
  ExactPosterior posterior;

 private:
  mutable std::unique_ptr<Comparison> comparison_;
};

Samples run(const Study& study, const Problem& problem, SamplerOptions how) {
  if (how.method == "exact") {
    Samples samples;
    samples.x = problem.posterior.sample(how.n_samples, 10000 + how.seed);
    return samples;
  }
  const SpoiltPrior prior(problem.bed.prior, study.table_scale, study.denoiser_error);
  const GaussianLikelihood likelihood(problem.bed.op, problem.bed.y, problem.bed.sigma_y);
  Observer observer;
  return sample(prior, &likelihood, problem.bed.op->domain().shape, how, observer);
}

/// What the samples of all seeds come to; `refusal`: why there are none.
struct Figures {
  Moments distance, spread, coverage, weight_error, bias, share, seconds;
  std::string refusal;
};

Figures figures_of(const Study& study, const Problem& problem, const SamplerOptions& options) {
  Figures figures;
  std::vector<at::Tensor> all;
  try {
    for (std::int64_t i = 0; i < study.n_seeds; ++i) {
      SamplerOptions how = options;
      how.seed = study.first_seed + static_cast<std::uint64_t>(i);
      const Samples samples = run(study, problem, how);
      const at::Tensor x = as_real_rows(samples.x);
      const Agreement agreement = problem.comparison(options.n_samples)(x);
      figures.distance.add(agreement.distance);
      figures.spread.add(agreement.spread);
      figures.coverage.add(agreement.coverage);
      figures.weight_error.add(weight_error(problem.posterior, x));
      all.push_back(x);
      const auto& shares = samples.report.effective_share;
      figures.share.add(shares.empty() ? 1.0 : *std::min_element(shares.begin(), shares.end()));
      figures.seconds.add(samples.report.seconds);
    }
    figures.bias.add(weight_error(problem.posterior, at::cat(all)));
  } catch (const Error& error_of_method) {
    figures.refusal = error_of_method.what();
  }
  return figures;
}

void print_row(const Problem& problem, const SamplerOptions& options, const Figures& figures) {
  std::printf("| %s | %s | %d | ", options.method.c_str(), problem.bed.name.c_str(), static_cast<int>(options.nfe));
  if (!figures.refusal.empty()) {
    std::printf("%s ||||||||\n", figures.refusal.c_str());
    return;
  }
  const bool has_modes = problem.posterior.weights.size() > 1;
  std::printf("%s | %s | %s | %s | %s | %s | %s |\n", figures.distance.text(2).c_str(), figures.spread.text(3).c_str(), figures.coverage.text(3).c_str(),
              has_modes ? figures.weight_error.text(3).c_str() : "", has_modes ? figures.bias.text(3).c_str() : "", figures.share.text(2).c_str(),
              figures.seconds.text(1).c_str());
  std::fflush(stdout);
}

/// A method on a kind of beds: distance (a geometric mean), spread and coverage.
struct Cell {
  double log_distance = 0.0, spread = 0.0, coverage = 0.0, n = 0.0;

  void add(const Figures& figures) {
    log_distance += std::log(figures.distance.sum / figures.distance.n);
    spread += figures.spread.sum / figures.spread.n;
    coverage += figures.coverage.sum / figures.coverage.n;
    n += 1.0;
  }
  double distance() const { return std::exp(log_distance / n); }
  std::string text() const {
    if (n == 0.0) return "";
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%.2f / %.2f / %.2f", distance(), spread / n, coverage / n);
    return buffer;
  }
};

/// Distances that the study found, which beds like these were made for: T1 at 20 and 50 evaluations, T2 at 20 and 50. Other problems of the same two kinds, and a table c that is
/// deliberately wrong, so that the order and not the figures can be compared.
const std::map<std::string, std::array<double, 4>>& published() {
  static const std::map<std::string, std::array<double, 4>> table = {
      {"dps", {9.3, 5.6, 7.3, 7.1}},        {"pigdm", {18, 2.8, 32, 30}},      {"dds", {3.3, 2.8, 6.5, 6.3}},
      {"diffpir", {2.3, 2.2, 5.0, 4.9}},    {"daps-exact", {39, 8.6, 59, 15}}, {"mmps", {6.2, 4.2, 6.4, 5.4}},
      {"preconditioned-langevin", {51, 8.4, 70, 13}}, {"projection", {4.3, 3.1, 6.7, 6.2}}, {"bridge", {1.5, 1.4, 4.4, 3.7}}, {"brsmc", {1.4, 1.3, 3.8, 2.3}}};
  return table;
}

/// Pairs of methods that the study tells apart by a factor of 1.5, and those of them that stand the other way round here.
void print_order(const std::map<std::string, std::vector<Cell>>& cells) {
  constexpr double kApart = 1.5;
  int n_pairs = 0;
  std::vector<std::string> reversed;
  for (const auto& [better, its] : published())
    for (const auto& [worse, others] : published())
      for (std::size_t k = 0; k < its.size(); ++k) {
        if (its[k] * kApart >= others[k]) continue;
        ++n_pairs;
        if (cells.at(better)[k].distance() > cells.at(worse)[k].distance()) reversed.push_back(better + " before " + worse);
      }
  std::printf("\nOrder of the study: %d of %d pairs that it tells apart by a factor of %.1f.", n_pairs - static_cast<int>(reversed.size()), n_pairs, kApart);
  std::map<std::string, int> times;
  for (const std::string& pair : reversed) ++times[pair];
  for (const auto& [pair, n] : times) std::printf(" %s (%d)%s", pair.c_str(), n, pair == times.rbegin()->first ? " not here.\n" : ",");
  if (times.empty()) std::printf("\n");
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') parts.emplace_back();
    else parts.back() += c;
  }
  return parts;
}

Study parse(const std::vector<std::string>& arguments) {
  Study study;
  study.options.n_samples = 512;
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    const std::string& name = arguments[i];
    if (i + 1 == arguments.size()) throw Error(ErrorKind::kUsage, "option " + name + " has no value", "each option takes one");
    const std::string& value = arguments[i + 1];
    if (name == "--methods") study.methods = split(value);
    else if (name == "--rows") study.rows = value == "yes";
    else if (name == "--beds") study.beds = split(value);
    else if (name == "--seeds") study.n_seeds = std::stoll(value);
    else if (name == "--first-seed") study.first_seed = std::stoull(value);
    else if (name == "--samples") study.options.n_samples = std::stoll(value);
    else if (name == "--solver") study.options.solver = value;
    else if (name == "--levels") study.options.levels = value;
    else if (name == "--tolerance") study.options.solve.tolerance = std::stod(value);
    else if (name == "--table-scale") study.table_scale = std::stod(value);
    else if (name == "--denoiser-error") study.denoiser_error = std::stod(value);
    else if (name == "--set") study.options.settings[value.substr(0, value.find('='))] = std::stod(value.substr(value.find('=') + 1));
    else if (name == "--nfe") {
      study.nfe.clear();
      for (const std::string& number : split(value)) study.nfe.push_back(std::stoll(number));
    } else throw Error(ErrorKind::kUsage, "unknown option " + name, "see the top of sampler_study.cpp");
  }
  if (study.methods.empty()) {
    study.methods.push_back("exact");
    for (const SamplerInfo& info : sampling_methods())
      if (info.name != "prior" && info.name != "class-guidance") study.methods.push_back(info.name);  // those sample without a measurement
  }
  return study;
}

std::vector<Problem> problems_of(const Study& study) {
  std::vector<Problem> problems;
  for (const auto make : {t1c_box8, t1c_mri4x, t2c_box6, t2c_mri1, t2c_box4}) {
    Bed bed = make();
    if (study.beds.empty() || std::find(study.beds.begin(), study.beds.end(), bed.name) != study.beds.end()) problems.emplace_back(std::move(bed));
  }
  return problems;
}

SamplerOptions options_of(const Study& study, const std::string& method, std::int64_t nfe) {
  SamplerOptions options = study.options;
  options.method = method;
  options.nfe = nfe;
  return options;
}

void print_rows(const Study& study, const std::vector<Problem>& problems) {
  std::printf("| method | bed | NFE | SW | std | coverage | weight error | bias | share | seconds |\n|---|---|---|---|---|---|---|---|---|---|\n");
  for (const std::string& method : study.methods)
    for (const Problem& problem : problems)
      for (const std::int64_t nfe : study.nfe) print_row(problem, options_of(study, method, nfe), figures_of(study, problem, options_of(study, method, nfe)));
}

void print_table(const Study& study, const std::vector<Problem>& problems) {
  std::printf("| method |");
  for (const char* kind : {"T1c", "T2c"})
    for (const std::int64_t nfe : study.nfe) std::printf(" %s, %lld |", kind, static_cast<long long>(nfe));
  std::printf("\n|---|");
  for (std::size_t i = 0; i < 2 * study.nfe.size(); ++i) std::printf("---|");
  std::printf("\n");
  std::map<std::string, std::vector<Cell>> cells;
  std::map<std::string, std::string> refusals;
  for (const std::string& method : study.methods) {
    std::vector<Cell>& row = cells[method];
    row.resize(2 * study.nfe.size());
    for (const Problem& problem : problems)
      for (std::size_t k = 0; k < study.nfe.size(); ++k) {
        const Figures figures = figures_of(study, problem, options_of(study, method, study.nfe[k]));
        if (figures.refusal.empty()) row[(problem.bed.name.rfind("T2", 0) == 0 ? study.nfe.size() : 0) + k].add(figures);
        else refusals[method] = figures.refusal;
      }
    std::printf("| %s |", method.c_str());
    for (const Cell& cell : row) std::printf(" %s |", cell.text().c_str());
    std::printf("\n");
    std::fflush(stdout);
  }
  for (const auto& [method, why] : refusals) std::printf("\n%s: %s\n", method.c_str(), why.c_str());
  const bool as_in_study = study.nfe == std::vector<std::int64_t>{20, 50} && std::all_of(published().begin(), published().end(), [&](const auto& entry) { return cells.count(entry.first) > 0; });
  if (as_in_study) print_order(cells);
}

void print(const Study& study) {
  const std::vector<Problem> problems = problems_of(study);
  if (study.rows) print_rows(study, problems);
  else print_table(study, problems);
}

}  // namespace
}  // namespace postrec::test

int main(int argc, char** argv) {
  try {
    postrec::test::print(postrec::test::parse({argv + 1, argv + argc}));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 64;
  }
  return 0;
}
