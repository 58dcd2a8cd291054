// The study of samplers: every method on posteriors known in closed form, as a markdown table.
//   postrec_sampler_study [--methods a,b] [--beds a,b] [--nfe 10,20,50] [--seeds N] [--first-seed N] [--samples N] [--set NAME=VALUE]...
//                         [--solver NAME] [--levels KIND] [--tolerance T] [--table-scale F] [--denoiser-error E]
// SW: sliced Wasserstein distance to the posterior over that of exact sets. std: over the exact one. coverage: of 90 % intervals (the quantiles used
// give .8965 with 512 samples). weight error: the largest of the modes; bias: that of the samples of all seeds together. share: smallest effective
// sample size of a group of particles over its size.
// --table-scale multiplies the covariance c(sigma) that methods believe in; --denoiser-error adds an error of E times the posterior's spread to the
// denoiser, and its square to c. "exact" stands for samples of the posterior itself. Mean and standard deviation are over seeds.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
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
  std::vector<std::int64_t> nfe = {10, 20, 50};
  std::int64_t n_seeds = 1;
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

void print_row(const Study& study, const Problem& problem, const SamplerOptions& options) {
  std::printf("| %s | %s | %d | ", options.method.c_str(), problem.bed.name.c_str(), static_cast<int>(options.nfe));
  Moments distance, spread, coverage, error, share, seconds;
  std::vector<at::Tensor> all;
  try {
    for (std::int64_t i = 0; i < study.n_seeds; ++i) {
      SamplerOptions how = options;
      how.seed = study.first_seed + static_cast<std::uint64_t>(i);
      const Samples samples = run(study, problem, how);
      const at::Tensor x = as_real_rows(samples.x);
      const Agreement agreement = problem.comparison(options.n_samples)(x);
      distance.add(agreement.distance);
      spread.add(agreement.spread);
      coverage.add(agreement.coverage);
      error.add(weight_error(problem.posterior, x));
      all.push_back(x);
      const auto& shares = samples.report.effective_share;
      share.add(shares.empty() ? 1.0 : *std::min_element(shares.begin(), shares.end()));
      seconds.add(samples.report.seconds);
    }
  } catch (const Error& error_of_method) {
    std::printf("%s ||||||||\n", error_of_method.what());
    return;
  }
  const bool has_modes = problem.posterior.weights.size() > 1;
  Moments bias;
  bias.add(weight_error(problem.posterior, at::cat(all)));
  std::printf("%s | %s | %s | %s | %s | %s | %s |\n", distance.text(2).c_str(), spread.text(3).c_str(), coverage.text(3).c_str(),
              has_modes ? error.text(3).c_str() : "", has_modes ? bias.text(3).c_str() : "", share.text(2).c_str(), seconds.text(1).c_str());
  std::fflush(stdout);
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
    for (const SamplerInfo& info : sampling_methods()) study.methods.push_back(info.name);
  }
  return study;
}

void print_table(const Study& study) {
  std::printf("| method | bed | NFE | SW | std | coverage | weight error | bias | share | seconds |\n|---|---|---|---|---|---|---|---|---|---|\n");
  std::vector<Problem> problems;
  for (const auto make : {t1c_box8, t1c_mri4x, t2c_box6, t2c_mri1, t2c_box4}) {
    Bed bed = make();
    if (study.beds.empty() || std::find(study.beds.begin(), study.beds.end(), bed.name) != study.beds.end()) problems.emplace_back(std::move(bed));
  }
  for (const std::string& method : study.methods)
    for (const Problem& problem : problems)
      for (const std::int64_t nfe : study.nfe) {
        SamplerOptions options = study.options;
        options.method = method;
        options.nfe = nfe;
        print_row(study, problem, options);
      }
}

}  // namespace
}  // namespace postrec::test

int main(int argc, char** argv) {
  try {
    postrec::test::print_table(postrec::test::parse({argv + 1, argv + argc}));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 64;
  }
  return 0;
}
