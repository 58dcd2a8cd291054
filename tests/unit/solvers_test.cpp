#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "beds.hpp"
#include "expect_error.hpp"
#include "method_table.hpp"
#include "mixture_classifier.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/sampler.hpp"

namespace postrec::test {
namespace {

using Settings = std::map<std::string, double>;

std::vector<std::string> solver_names() {
  std::vector<std::string> names;
  for (const SamplerInfo& info : reverse_solvers()) names.push_back(info.name);
  return names;
}

bool adaptive(const std::string& solver) { return find_solver(solver).adaptive; }

GaussianPrior gaussian() { return {SpectralBasis::kDct, lorentzian_spectrum(7, 0.25), at::full({1}, 0.3f), 0.0, PriorInfo{}}; }

NoiseProcess process(const std::string& name) {
  NoiseProcessOptions options;
  options.sigma_min = 0.01;
  options.sigma_max = 20.0;
  return make_noise_process(name, options);
}

/// A solver and the task that it works for: `n` samples of 7x6 pixels.
struct Stand {
  Stand(const std::string& solver, const std::string& process_name, const Settings& given, std::int64_t n)
      : entry(find_solver(solver)),
        task{prior, nullptr, {{1, 7, 6}, at::kFloat}, at::kCPU, 5, 0, n, {}, process(process_name), {20.0, 4.0, 1.0, 0.2, 0.01},
             complete_settings(find_method("prior"), &entry, given)},
        solver(entry.make(task)) {}

  at::Tensor noise(const Level& level, Draw purpose, std::uint64_t repeat = 0) const { return task.normal(draw_at(level.step, purpose, repeat), task.image); }
  at::Tensor start() const { return RandomStreams(9, 0, task.n_samples).normal(0, task.image.shape, at::kFloat) * 2.0; }

  GaussianPrior prior = gaussian();
  const SolverEntry& entry;
  SamplingTask task;
  std::unique_ptr<Solver> solver;
};

// No denoiser of anything: the rules must hold for all.
at::Tensor any_denoiser(const at::Tensor& x, double sigma) { return 0.3 + (x / (1.0 + sigma)).tanh() + 0.1 * x.roll(1, -1); }

constexpr Level kLevel{2, 1.0, 0.2, 5};

void expect_close(const at::Tensor& found, const at::Tensor& wanted, const std::string& what) {
  // Float32 arithmetic in another order, on numbers of size 10.
  EXPECT_LT((found.to(at::kDouble) - wanted).abs().max().item<double>(), 2e-5) << what;
}

// A step of VP in the words of the papers, about x' = alpha^(1/2) (x + sigma n), alpha = 1/(1 + sigma^2), double throughout.
struct VpStep {
  explicit VpStep(const at::Tensor& x_sigma, const Level& level)
      : alpha(1.0 / (1.0 + level.sigma * level.sigma)),
        alpha_next(1.0 / (1.0 + level.next_sigma * level.next_sigma)),
        beta(1.0 - alpha / alpha_next),
        denoised(any_denoiser(x_sigma, level.sigma).to(at::kDouble)),
        x(std::sqrt(alpha) * x_sigma.to(at::kDouble)),
        eps((x - std::sqrt(alpha) * denoised) / std::sqrt(1.0 - alpha)),
        score(-eps / std::sqrt(1.0 - alpha)) {}
  at::Tensor back(const at::Tensor& x_next) const { return x_next / std::sqrt(alpha_next); }

  double alpha, alpha_next, beta;
  at::Tensor denoised, x, eps, score;
};

// beta(t) and t of sigma for the published betas, from B = log(1 + sigma^2), B = t (.1 + t 19.9/2).
double time_of_integral(double b) { return (-0.1 + std::sqrt(0.01 + 2.0 * 19.9 * b)) / 19.9; }

TEST(Solvers, EulerMaruyamaIsThePublishedRule) {
  const double sigma = kLevel.sigma, next = kLevel.next_sigma;
  {
    Stand stand("euler-maruyama", "vp", {}, 3);
    const at::Tensor x = stand.start(), found = stand.solver->step(x, kLevel, any_denoiser), z = stand.noise(kLevel, Draw::kStep).to(at::kDouble);
    const double t = time_of_integral(std::log(1.0 + sigma * sigma)), dt = t - time_of_integral(std::log(1.0 + next * next)), beta = 0.1 + 19.9 * t;
    const VpStep vp(x, kLevel);
    expect_close(found, vp.back(vp.x + (0.5 * beta * vp.x + beta * vp.score) * dt + std::sqrt(beta * dt) * z), "VP");
  }
  {
    Stand stand("euler-maruyama", "sub-vp", {}, 3);
    const at::Tensor x = stand.start(), found = stand.solver->step(x, kLevel, any_denoiser), z = stand.noise(kLevel, Draw::kStep).to(at::kDouble);
    // The standard deviation of sub-VP's noise is 1 - e^-B, the scale e^(-B/2): sigma = e^(B/2) - e^(-B/2). [Song 2021, eq. 29]
    const auto integral = [](double s) { return 2.0 * std::log(0.5 * (s + std::sqrt(s * s + 4.0))); };
    const double b = integral(sigma), t = time_of_integral(b), dt = t - time_of_integral(integral(next)), beta = 0.1 + 19.9 * t;
    const double scale = std::exp(-0.5 * b), deviation = 1.0 - std::exp(-b), g2 = beta * (1.0 - std::exp(-2.0 * b));
    const at::Tensor scaled = scale * x.to(at::kDouble), score = (scale * any_denoiser(x, sigma).to(at::kDouble) - scaled) / (deviation * deviation);
    const at::Tensor wanted = scaled + (0.5 * beta * scaled + g2 * score) * dt + std::sqrt(g2 * dt) * z;
    expect_close(found, wanted / std::exp(-0.5 * integral(next)), "sub-VP");
  }
  {
    Stand stand("euler-maruyama", "ve", {}, 3);
    const at::Tensor x = stand.start(), found = stand.solver->step(x, kLevel, any_denoiser), z = stand.noise(kLevel, Draw::kStep).to(at::kDouble);
    const double ratio = std::log(20.0 / 0.01), dt = std::log(sigma / next) / ratio, g2 = 2.0 * sigma * sigma * ratio;
    const at::Tensor score = (any_denoiser(x, sigma).to(at::kDouble) - x) / (sigma * sigma);
    expect_close(found, x + g2 * dt * score + std::sqrt(g2 * dt) * z, "VE");
  }
}

TEST(Solvers, ReverseDiffusionIsThePublishedRule) {
  {
    Stand stand("reverse-diffusion", "vp", {}, 3);
    const at::Tensor x = stand.start(), found = stand.solver->step(x, kLevel, any_denoiser), z = stand.noise(kLevel, Draw::kStep).to(at::kDouble);
    const VpStep vp(x, kLevel);
    expect_close(found, vp.back((2.0 - std::sqrt(1.0 - vp.beta)) * vp.x + vp.beta * vp.score + std::sqrt(vp.beta) * z), "VP");
  }
  for (const std::string name : {"ve", "edm"}) {
    Stand stand("reverse-diffusion", name, {}, 3);
    const at::Tensor x = stand.start(), found = stand.solver->step(x, kLevel, any_denoiser), z = stand.noise(kLevel, Draw::kStep).to(at::kDouble);
    const double variance = kLevel.sigma * kLevel.sigma - kLevel.next_sigma * kLevel.next_sigma;
    const at::Tensor score = (any_denoiser(x, kLevel.sigma).to(at::kDouble) - x) / (kLevel.sigma * kLevel.sigma);
    expect_close(found, x + variance * score + std::sqrt(variance) * z, name);
  }
}

TEST(Solvers, AncestralIsDdpmDdimAndTheRuleOfVe) {
  for (const std::string name : {"vp", "ve"}) {        // one rule: both papers' forms must come out of it whatever the process
    Stand ddpm("ancestral", name, {}, 3), ddim("ancestral", name, {{"eta", 0.0}}, 3), half("ancestral", name, {{"eta", 0.5}}, 3);
    const at::Tensor x = ddpm.start(), z = ddpm.noise(kLevel, Draw::kStep).to(at::kDouble);
    const VpStep vp(x, kLevel);
    const double posterior = vp.beta * (1.0 - vp.alpha_next) / (1.0 - vp.alpha);
    expect_close(ddpm.solver->step(x, kLevel, any_denoiser),
                 vp.back((vp.x + vp.beta * vp.score) / std::sqrt(1.0 - vp.beta) + std::sqrt(posterior) * z), "DDPM");
    expect_close(ddim.solver->step(x, kLevel, any_denoiser), vp.back(std::sqrt(vp.alpha_next) * vp.denoised + std::sqrt(1.0 - vp.alpha_next) * vp.eps), "DDIM");
    const double quarter = 0.25 * posterior;
    expect_close(half.solver->step(x, kLevel, any_denoiser),
                 vp.back(std::sqrt(vp.alpha_next) * vp.denoised + std::sqrt(1.0 - vp.alpha_next - quarter) * vp.eps + std::sqrt(quarter) * z), "eta .5");
    const double s2 = kLevel.sigma * kLevel.sigma, t2 = kLevel.next_sigma * kLevel.next_sigma;
    const at::Tensor score = (any_denoiser(x, kLevel.sigma).to(at::kDouble) - x) / s2;
    expect_close(ddpm.solver->step(x, kLevel, any_denoiser), x + (s2 - t2) * score + std::sqrt(t2 * (s2 - t2) / s2) * z, "VE");
  }
}

// Corrections of x' as the algorithms write them, after the predictor, which has its own test.
TEST(Solvers, CorrectorsAreThePublishedRules) {
  const auto norms = [](const at::Tensor& v) { return v.flatten(1).square().sum(1).sqrt().view({-1, 1, 1, 1}); };
  const double sigma = kLevel.next_sigma, scale = 1.0 / std::sqrt(1.0 + sigma * sigma);
  const auto score = [&](const at::Tensor& scaled) {   // of x', VP
    const at::Tensor x = scaled / scale;
    return (any_denoiser(x, sigma) - x) / (sigma * sigma * scale);
  };
  Stand predictor("reverse-diffusion", "vp", {}, 3), langevin("predictor-corrector", "vp", {{"corrector-steps", 2.0}}, 3);
  Stand hamiltonian("predictor-corrector-hmc", "vp", {{"leapfrog-steps", 2.0}, {"snr", 0.2}}, 3);
  const at::Tensor x = predictor.start(), predicted = predictor.solver->step(x, kLevel, any_denoiser).to(at::kDouble);
  const VpStep vp(x, kLevel);
  at::Tensor scaled = predicted * scale;
  for (const std::uint64_t move : {0, 1}) {
    const at::Tensor g = score(scaled), z = langevin.noise(kLevel, Draw::kCorrector, move).to(at::kDouble);
    const at::Tensor epsilon = 2.0 * (1.0 - vp.beta) * (0.16 * norms(z) / norms(g)).square();
    scaled = scaled + epsilon * g + (2.0 * epsilon).sqrt() * z;
  }
  expect_close(langevin.solver->step(x, kLevel, any_denoiser), scaled / scale, "Langevin");

  scaled = predicted * scale;
  const at::Tensor g = score(scaled), z = hamiltonian.noise(kLevel, Draw::kCorrector).to(at::kDouble);
  const at::Tensor leap = 2.0 * std::sqrt(1.0 - vp.beta) * 0.2 * norms(z) / norms(g);
  at::Tensor momentum = z + 0.5 * leap * g;
  scaled = scaled + leap * momentum;
  momentum = momentum + leap * score(scaled);
  scaled = scaled + leap * momentum;
  expect_close(hamiltonian.solver->step(x, kLevel, any_denoiser), scaled / scale, "Hamiltonian");
}

TEST(Solvers, StochasticHeunIsAlgorithm2) {
  Stand stand("stochastic-heun", "edm", {{"s-churn", 1.0}, {"s-noise", 1.1}}, 3);
  const at::Tensor x = stand.start(), z = stand.noise(kLevel, Draw::kStep).to(at::kDouble);
  const double t = kLevel.sigma, up = t * (1.0 + 1.0 / 5.0), next = kLevel.next_sigma;  // five levels
  const at::Tensor noisy = x + 1.1 * std::sqrt(up * up - t * t) * z;
  const at::Tensor d = (noisy - any_denoiser(noisy, up)) / up, euler = noisy + (next - up) * d;
  const at::Tensor wanted = noisy + (next - up) * 0.5 * (d + (euler - any_denoiser(euler, next)) / next);
  expect_close(stand.solver->step(x, kLevel, any_denoiser), wanted, "churned");

  Stand still("stochastic-heun", "edm", {{"s-tmin", 2.0}}, 3), flow("flow-heun", "edm", {}, 3);
  EXPECT_TRUE(at::equal(still.solver->step(x, kLevel, any_denoiser), flow.solver->step(x, kLevel, any_denoiser))) << "no noise below s-tmin";
  Stand capped("stochastic-heun", "edm", {{"s-churn", 100.0}, {"s-tmax", 100.0}}, 1);
  const Level first{0, 20.0, 4.0};
  capped.solver->step(capped.start(), first, [](const at::Tensor& v, double sigma) {
    EXPECT_LE(sigma, 20.0);
    return any_denoiser(v, sigma);
  });
}

// Two steps in the words of the paper: alpha_t D, lambda = log(alpha/sigma), D extrapolated by the ratio of the steps.
TEST(Solvers, DpmSolver2mSdeIsThePublishedRule) {
  Stand stand("dpm-solver-2m-sde", "vp", {}, 3);
  const Level before{1, 4.0, 1.0};
  const at::Tensor start = stand.start() * 3.0, x = stand.solver->step(start, before, any_denoiser), z = stand.noise(kLevel, Draw::kStep).to(at::kDouble);
  const VpStep first(start, before), vp(x, kLevel);
  const double h = std::log(kLevel.sigma / kLevel.next_sigma), r = std::log(4.0) / h, grown = 1.0 - std::exp(-2.0 * h);
  const double alpha_next = std::sqrt(vp.alpha_next), noise_next = std::sqrt(1.0 - vp.alpha_next);
  const at::Tensor wanted = noise_next / std::sqrt(1.0 - vp.alpha) * std::exp(-h) * vp.x + alpha_next * grown * vp.denoised +
                            0.5 * alpha_next * grown * (vp.denoised - first.denoised) / r + noise_next * std::sqrt(grown) * z;
  expect_close(stand.solver->step(x, kLevel, any_denoiser), vp.back(wanted), "second step");
}

// One step of algorithm 1 over the whole interval, which so large a tolerance accepts, and the step that it would try next.
TEST(Solvers, AdaptiveSdeIsAlgorithm1) {
  const Settings loose = {{"first-step", 1.0}, {"absolute-tolerance", 100.0}, {"safety", 0.8}, {"exponent", 0.7}};
  Stand stand("adaptive-sde", "vp", loose, 1);
  const at::Tensor start = stand.start(), z = stand.noise(kLevel, Draw::kStep).to(at::kDouble);
  const auto time = [](double sigma) { return time_of_integral(std::log(1.0 + sigma * sigma)); };
  const double h = time(kLevel.sigma) - time(kLevel.next_sigma);
  const auto move = [&](const at::Tensor& x, double sigma) {  // -h f + h g^2 score + h^(1/2) g z of x'
    const double beta = 0.1 + 19.9 * time(sigma), alpha = 1.0 / (1.0 + sigma * sigma);
    const at::Tensor score = (std::sqrt(alpha) * any_denoiser(x / std::sqrt(alpha), sigma) - x) / (1.0 - alpha);
    return h * (0.5 * beta * x + beta * score) + std::sqrt(h * beta) * z;
  };
  const VpStep vp(start, kLevel);
  const at::Tensor euler = vp.x + move(vp.x, kLevel.sigma), improved = 0.5 * (euler + vp.x + move(euler, kLevel.next_sigma));
  expect_close(stand.solver->step(start, kLevel, any_denoiser), vp.back(improved), "step");
  const auto state = stand.solver->state();
  expect_close(state.at("before"), euler, "x' before extrapolation");
  const double size = ((euler - improved) / 100.0).square().mean().sqrt().item<double>();
  EXPECT_NEAR(state.at("length").item<double>(), std::min(1.0, 0.8 * h * std::pow(size, -0.7)), 1e-4);

  // A hundredth of that tolerance refuses the same step, and arrives all the same.
  Settings strict = loose;
  strict["absolute-tolerance"] = strict["relative-tolerance"] = 0.01;
  Stand other("adaptive-sde", "vp", strict, 1);
  double lowest = kLevel.sigma;
  int n_calls = 0;
  other.solver->step(start, kLevel, [&](const at::Tensor& x, double sigma) {
    ++n_calls;
    lowest = std::min(lowest, sigma);
    return any_denoiser(x, sigma);
  });
  EXPECT_GT(n_calls, 4);
  EXPECT_NEAR(lowest, kLevel.next_sigma, 1e-12);
}

TEST(Solvers, TheLastStepIsOneEvaluation) {
  for (const std::string& name : solver_names())
    for (const std::string process_name : {"edm", "vp"}) {
      Stand stand(name, process_name, {}, 1);
      int n_calls = 0;
      const at::Tensor x = stand.start(), found = stand.solver->step(x, {4, 0.01, 0.0}, [&](const at::Tensor& v, double sigma) {
        ++n_calls;
        return any_denoiser(v, sigma);
      });
      EXPECT_EQ(n_calls, 1) << name;
      expect_close(found, any_denoiser(x, 0.01).to(at::kDouble), name);
    }
}

// The flow of a Gaussian in closed form, and the denoised image at its end. The start has the prior's mean and covariance and is made of draw 0 of each stream.
at::Tensor flow_end(const GaussianPrior& prior, const at::Tensor& white) {
  const SigmaRange range = prior.range();
  const SpectralCovariance basis(SpectralBasis::kDct, prior.spectrum());
  const at::Tensor s = prior.spectrum().to(at::kDouble), low = s + range.minimum * range.minimum, high = s + range.maximum * range.maximum;
  const at::Tensor in_basis = basis.to_basis(prior.draw_noisy(white, range.maximum) - 0.3).to(at::kDouble);
  return basis.from_basis((in_basis * (low / high).sqrt() * s / low).to(at::kFloat)) + 0.3;
}

double flow_error(const SamplerOptions& how) {
  const GaussianPrior prior(SpectralBasis::kDct, lorentzian_spectrum(8, 0.25), at::full({1}, 0.3f), 0.0, PriorInfo{});
  Observer observer;
  const at::Tensor white = RandomStreams(how.seed, 0, how.n_samples).normal(0, {1, 8, 8}, at::kFloat);
  return (sample(prior, nullptr, {1, 8, 8}, how, observer).x - flow_end(prior, white)).square().mean().sqrt().item<double>();
}

SamplerOptions unconditional(const std::string& solver, std::int64_t n_samples, int n_steps) {
  SamplerOptions how;
  how.method = "prior";
  how.solver = solver;
  how.n_samples = n_samples;
  how.n_steps = n_steps;
  how.seed = 3;
  return how;
}

// Halving the steps divides the error of a rule of order p by 2^p. Seen: 2.04 (Heun), 1.99 (2M), .98 (DDIM).
TEST(Solvers, OrderOfConvergenceOfTheFlows) {
  for (const auto& [solver, order] : std::map<std::string, double>{{"flow-heun", 2.0}, {"dpm-solver-2m", 2.0}, {"ancestral", 1.0}}) {
    SamplerOptions how = unconditional(solver, 4, 40);
    how.levels = "geometric";
    if (solver == "ancestral") how.settings["eta"] = 0.0;
    const double coarse = flow_error(how);
    how.n_steps = 79;                          // every interval in two halves
    const double fine = flow_error(how);
    EXPECT_NEAR(std::log2(coarse / fine), order, 0.25) << solver << " " << coarse << " " << fine;
  }
}

// The error follows the tolerance: seen .39, .26, .24 and .24 of it, because errors at high noise contract later. A rule of order p needs
// tolerance^(-1/p) evaluations: an exponent below 1/4 (seen .12) is that of a rule above order 4.
TEST(Solvers, AdaptiveFlowFollowsItsTolerance) {
  const GaussianPrior prior(SpectralBasis::kDct, lorentzian_spectrum(8, 0.25), at::full({1}, 0.3f), 0.0, PriorInfo{});
  SamplerOptions how = unconditional("flow-adaptive", 3, 2);
  Observer observer;
  std::map<double, double> evaluations;
  for (const double tolerance : {1e-2, 1e-3, 1e-4, 1e-5}) {
    how.settings["tolerance"] = tolerance;
    EXPECT_LT(flow_error(how), tolerance);
    EXPECT_GT(flow_error(how), 0.05 * tolerance);
    evaluations[tolerance] = static_cast<double>(sample(prior, nullptr, {1, 8, 8}, how, observer).report.nfe);
  }
  EXPECT_LT(std::log10(evaluations[1e-5] / evaluations[1e-2]) / 3.0, 0.25);
}

// Law: reproducible, for every solver: no sample knows of the others, not even through the length of a step.
TEST(Solvers, reproducible) {
  const GaussianPrior prior = gaussian();
  Observer observer;
  for (const std::string& name : solver_names()) {
    SamplerOptions how = unconditional(name, 3, 3);
    how.process = "vp";
    if (name == "adaptive-sde") how.settings["relative-tolerance"] = 0.1;
    at::set_num_threads(2);
    const at::Tensor all = sample(prior, nullptr, {1, 20, 23}, how, observer).x;
    for (const std::int64_t batch_size : {1, 2}) {
      at::set_num_threads(static_cast<int>(batch_size));
      how.batch_size = batch_size;
      EXPECT_TRUE(at::equal(sample(prior, nullptr, {1, 20, 23}, how, observer).x, all)) << name << " batch " << batch_size;
    }
    EXPECT_FALSE(at::equal(all[0], all[1])) << name;
  }
}

// What a solver keeps between levels is all in its state: another one goes on with the same bits.
TEST(Solvers, StateIsAllThatGoesOn) {
  for (const std::string& name : solver_names()) {
    Stand stand(name, "vp", {}, 1);
    const std::vector<double>& sigmas = stand.task.sigmas;
    at::Tensor x = stand.start() * 10.0, resumed;
    std::unique_ptr<Solver> other;
    const Denoiser denoise = [&](const at::Tensor& v, double sigma) { return stand.prior.denoise(v, sigma); };
    for (int i = 0; i < static_cast<int>(sigmas.size()); ++i) {
      const Level level{i, sigmas[i], i + 1 < static_cast<int>(sigmas.size()) ? sigmas[i + 1] : 0.0, static_cast<int>(sigmas.size())};
      if (i == 2) {
        other = stand.entry.make(stand.task);
        other->restore(stand.solver->state());
        resumed = x;
      }
      if (other) resumed = other->step(resumed, level, denoise);
      x = stand.solver->step(x, level, denoise);
    }
    EXPECT_TRUE(at::equal(x, resumed)) << name;
  }
}

TEST(Solvers, TheBudgetIsKept) {
  const GaussianPrior prior = gaussian();
  Observer observer;
  for (const std::string& name : solver_names()) {
    SamplerOptions how = unconditional(name, 1, 20);
    how.nfe = 23;
    if (adaptive(name)) {
      expect_error(ErrorKind::kUsage, "nfe is 23", [&] { how.validate(); });
      continue;
    }
    const auto nfe = [&] { return sample(prior, nullptr, {1, 7, 7}, how, observer).report.nfe; };
    EXPECT_LE(nfe(), 23) << name;
    EXPECT_GE(nfe(), 16) << name;              // all but one level of what it costs
    const std::string& setting = find_solver(name).evaluations.setting;
    if (setting.empty()) continue;
    how.settings[setting] = 5.0;
    EXPECT_LE(nfe(), 23) << name;
    EXPECT_GE(nfe(), 13) << name;
  }
}

// Positions fit into the 32 bits that streams have, and repeats never meet another step.
TEST(Solvers, PlacesOfDrawsAreDistinct) {
  EXPECT_LT(draw_at(4094, Draw::kResample, (1u << 16) - 1), std::uint64_t{1} << 32);
  EXPECT_EQ(draw_at(0, Draw::kWhiteImage), 16u);
  EXPECT_GT(draw_at(0, Draw::kWhiteImage, 1), draw_at(4094, Draw::kResample));
  expect_error(ErrorKind::kUsage, "step 4095", [] { draw_at(4095, Draw::kStep); });
}

TEST(ClassGuidance, SaysWhatItNeeds) {
  const auto bed = t2c_box6();
  const MixtureClassifier classifier(bed.prior);
  SamplerOptions how = unconditional("", 1, 3);
  how.method = "class-guidance";
  Observer observer;
  const auto run = [&] { sample(*bed.prior, nullptr, {1, 8, 8}, how, observer); };
  expect_error(ErrorKind::kUsage, "without a classifier", run);
  how.classifier = &classifier;
  for (const double wrong : {4.0, 0.5}) {
    how.settings["class"] = wrong;
    expect_error(ErrorKind::kUsage, "0 to 3", run);
  }
}

// The classifier of the tests itself: log p(k | x_t) sums to one, and its gradient is that of the log-probability.
TEST(ClassGuidance, ExactClassifierOfAMixture) {
  const auto bed = t2c_box6();
  const MixtureClassifier classifier(bed.prior);
  const double sigma = 1.5, step = 0.05;
  const at::Tensor x = RandomStreams(4, 0, 2).normal(0, {1, 8, 8}, at::kFloat), v = RandomStreams(5, 0, 2).normal(0, {1, 8, 8}, at::kFloat);
  double total = 0.0;
  for (int k = 0; k < 4; ++k) {
    const auto answer = classifier.log_probability(x, sigma, k);
    total += std::exp(answer.log_probability[1]);
    const auto at_offset = [&](double offset) { return classifier.log_probability(x + offset * v, sigma, k).log_probability[1]; };
    const double slope = (at_offset(step) - at_offset(-step)) / (2.0 * step);
    // Central difference of a function whose third derivative is of size 1: step^2 = 2.5e-3.
    EXPECT_NEAR((answer.gradient[1] * v[1]).sum().item<double>(), slope, 5e-3) << k;
  }
  EXPECT_NEAR(total, 1.0, 1e-9);
}

}  // namespace
}  // namespace postrec::test
