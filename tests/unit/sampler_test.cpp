#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "beds.hpp"
#include "expect_error.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/sampler.hpp"
#include "wrong_table.hpp"

namespace postrec::test {
namespace {

SamplerOptions options(std::int64_t n_samples, std::int64_t batch_size, int n_steps = 4) {
  SamplerOptions result;
  result.n_samples = n_samples;
  result.batch_size = batch_size;
  result.n_steps = n_steps;
  result.seed = 11;
  return result;
}

struct Problem {
  std::shared_ptr<const Prior> prior;
  std::shared_ptr<const Operator> op;
  at::Tensor y;
  double sigma_y;
};

Problem masking_problem() {
  const auto op = std::make_shared<MaskOperator>(hole(37, 10, 20), 1, at::kFloat);
  const auto prior = std::make_shared<GaussianPrior>(SpectralBasis::kDct, lorentzian_spectrum(24, 0.2), at::full({1}, 0.1f), 0.0, PriorInfo{});
  return {prior, op, op->forward(wave(37, 1, 2, 0).unsqueeze(0))[0], 0.05};
}

Problem coil_problem() {
  at::Tensor mask = at::zeros({30, 34});
  for (std::int64_t row = 0; row < 30; row += 3) mask[row].fill_(1.0);
  const auto op = std::make_shared<CoilOperator>(ring_of_coils(4, 30, 34), mask);
  const auto prior = std::make_shared<GaussianPrior>(SpectralBasis::kDft, lorentzian_spectrum(24, 0.2), at::zeros({1}), 0.0, PriorInfo{});
  const at::Tensor x = RandomStreams(1, 0, 1).normal(0, {1, 30, 34}, at::kComplexFloat);
  return {prior, op, op->forward(x)[0], 0.1};
}

at::Tensor run(const Problem& problem, const SamplerOptions& how) {
  const GaussianLikelihood likelihood(problem.op, problem.y, problem.sigma_y);
  Observer observer;
  return sample(*problem.prior, &likelihood, problem.op->domain().shape, how, observer).x;
}

// Law: reproducible.
TEST(Sampler, reproducible) {
  for (const Problem& problem : {masking_problem(), coil_problem()}) {
    at::set_num_threads(2);
    const at::Tensor all = run(problem, options(8, 0));
    EXPECT_EQ(all.size(0), 8);
    for (const int threads : {1, 2})
      for (const std::int64_t batch_size : {1, 3, 8}) {
        at::set_num_threads(threads);
        EXPECT_TRUE(at::equal(run(problem, options(8, batch_size)), all)) << "batch " << batch_size << " threads " << threads;
      }
    // Fewer samples are the first of more; another seed gives others.
    EXPECT_TRUE(at::equal(run(problem, options(3, 0)), all.narrow(0, 0, 3)));
    SamplerOptions other = options(8, 0);
    other.seed = 12;
    EXPECT_FALSE(at::equal(run(problem, other), all));
  }
}

TEST(Sampler, reproducible_without_data) {
  const Problem problem = masking_problem();
  Observer observer;
  const at::Tensor all = sample(*problem.prior, nullptr, {1, 20, 23}, options(5, 0), observer).x;
  EXPECT_TRUE(at::equal(sample(*problem.prior, nullptr, {1, 20, 23}, options(5, 2), observer).x, all));
}

TEST(Sampler, ReportSaysWhatHappened) {
  const Problem problem = masking_problem();
  const GaussianLikelihood likelihood(problem.op, problem.y, problem.sigma_y);
  struct Watch : Observer {
    void on_step(const Step& step) override { steps.push_back(step); }
    std::vector<Step> steps;
  } watch;
  const Samples samples = sample(*problem.prior, &likelihood, {1, 37, 37}, options(5, 2, 6), watch);
  const SamplerReport& report = samples.report;
  EXPECT_EQ(report.nfe, 6);
  EXPECT_FALSE(report.interrupted);
  EXPECT_GT(report.seconds, 0.0);
  ASSERT_EQ(report.sigmas.size(), 6u);
  EXPECT_EQ(report.sigmas.front(), problem.prior->range().maximum);
  EXPECT_EQ(report.sigmas.back(), problem.prior->range().minimum);
  ASSERT_EQ(report.solve_iterations.size(), 6u);
  EXPECT_GT(report.solve_iterations.front(), 0);
  // The last denoised image hardly differs from the samples.
  ASSERT_EQ(report.misfit_trace.size(), 6u);
  EXPECT_NEAR(report.misfit_trace.back(), likelihood.reduced_chi2(samples.x).mean().item<double>(), 0.2);
  EXPECT_GT(report.misfit_trace.front(), 10 * report.misfit_trace.back());
  ASSERT_EQ(watch.steps.size(), 18u);
  EXPECT_EQ(watch.steps.back().done, 30);
  EXPECT_EQ(watch.steps.back().total, 30);
  for (std::size_t i = 1; i < watch.steps.size(); ++i) EXPECT_GT(watch.steps[i].done, watch.steps[i - 1].done);
}

struct StopAfter : Observer {
  explicit StopAfter(int limit) : limit(limit) {}
  void on_step(const Step&) override { ++n_steps; }
  bool cancelled() const override { return n_steps >= limit; }
  int limit;
  int n_steps = 0;
};

TEST(Sampler, CancellingKeepsFinishedSamples) {
  const Problem problem = masking_problem();
  const GaussianLikelihood likelihood(problem.op, problem.y, problem.sigma_y);
  const at::Tensor all = run(problem, options(8, 3));
  StopAfter stop(10);  // two batches of four steps, and two steps of the third
  const Samples samples = sample(*problem.prior, &likelihood, {1, 37, 37}, options(8, 3), stop);
  EXPECT_TRUE(samples.report.interrupted);
  EXPECT_EQ(stop.n_steps, 10);
  EXPECT_TRUE(at::equal(samples.x, all.narrow(0, 0, 6)));
  EXPECT_LT(samples.report.misfit_trace.back(), samples.report.misfit_trace.front());

  StopAfter at_once(0);
  const Samples none = sample(*problem.prior, &likelihood, {1, 37, 37}, options(8, 3), at_once);
  EXPECT_TRUE(none.report.interrupted);
  EXPECT_EQ(none.x.sizes(), at::IntArrayRef({0, 1, 37, 37}));
}

TEST(Sampler, NanNamesTheStep) {
  struct BadPrior : GaussianPrior {
    using GaussianPrior::GaussianPrior;
    at::Tensor denoise(const at::Tensor& x, double sigma) const override { return sigma < 1.0 ? x * NAN : GaussianPrior::denoise(x, sigma); }
  };
  const BadPrior prior(SpectralBasis::kDct, lorentzian_spectrum(24, 0.2), at::zeros({1}), 0.0, PriorInfo{});
  SamplerOptions how = options(2, 0, 3);
  how.sigma_max = 10.0;
  how.sigma_min = 0.1;
  Observer observer;
  expect_error(ErrorKind::kNumerical, "step 2, sigma 0.1", [&] { sample(prior, nullptr, {1, 24, 24}, how, observer); });
}

TEST(Sampler, validate) {
  const auto refuse = [](const std::string& named, const auto& change) {
    SamplerOptions how;
    change(how);
    expect_error(ErrorKind::kUsage, named, [&] { how.validate(); });
  };
  refuse("known methods are ", [](SamplerOptions& o) { o.method = "magic"; });
  refuse("known solvers are ", [](SamplerOptions& o) { o.method = "prior", o.solver = "magic"; });
  refuse("takes steps of its own", [](SamplerOptions& o) { o.solver = "dpm-solver-2m"; });
  refuse("has no setting 'colour'", [](SamplerOptions& o) { o.settings["colour"] = 1.0; });
  refuse("nfe is -1", [](SamplerOptions& o) { o.nfe = -1; });
  refuse("levels", [](SamplerOptions& o) { o.levels = "uneven"; });
  refuse("n_samples is 0", [](SamplerOptions& o) { o.n_samples = 0; });
  refuse("batch_size is -1", [](SamplerOptions& o) { o.batch_size = -1; });
  refuse("n_steps is 0", [](SamplerOptions& o) { o.n_steps = 0; });
  refuse("sigma_max", [](SamplerOptions& o) { o.sigma_max = -1.0; });
  refuse("sigma_max", [](SamplerOptions& o) { o.sigma_max = INFINITY; });
  refuse("sigma_min", [](SamplerOptions& o) { o.sigma_max = 1.0, o.sigma_min = 2.0; });
  refuse("tolerance", [](SamplerOptions& o) { o.solve.tolerance = 0.0; });
  refuse("max_iterations", [](SamplerOptions& o) { o.solve.max_iterations = 0; });
  SamplerOptions().validate();
}

// Every name in the tables can be asked for, says where it comes from, and its defaults lie in their ranges.
TEST(Sampler, CatalogueIsConsistent) {
  for (const SamplerInfo& info : sampling_methods()) {
    SamplerOptions how;
    how.method = info.name;
    for (const SamplerSetting& setting : info.settings) {
      how.settings[setting.name] = setting.standard;
      EXPECT_FALSE(setting.help.empty()) << info.name << " " << setting.name;
    }
    how.validate();
    EXPECT_FALSE(info.summary.empty()) << info.name;
    EXPECT_FALSE(info.source.empty()) << info.name;
  }
  for (const SamplerInfo& info : reverse_solvers()) {
    SamplerOptions how;
    how.method = "prior";
    how.solver = info.name;
    how.validate();
    EXPECT_FALSE(info.source.empty()) << info.name;
  }
}

TEST(Sampler, BudgetSetsTheLevels) {
  const Problem problem = masking_problem();
  Observer observer;
  SamplerOptions how = options(1, 0, 4);
  how.nfe = 7;
  EXPECT_EQ(sample(*problem.prior, nullptr, {1, 37, 37}, how, observer).report.nfe, 7);
}

TEST(Sampler, RefusesWhatDoesNotFitTogether) {
  const Problem real = masking_problem(), complex = coil_problem();
  Observer observer;
  const GaussianLikelihood likelihood(real.op, real.y, real.sigma_y);
  expect_error(ErrorKind::kBadData, "real or complex", [&] { sample(*complex.prior, &likelihood, {1, 37, 37}, options(1, 0), observer); });
  expect_error(ErrorKind::kBadData, "shape", [&] { sample(*real.prior, &likelihood, {1, 38, 37}, options(1, 0), observer); });
  expect_error(ErrorKind::kBadData, "shape", [&] { sample(*real.prior, nullptr, {3, 37, 37}, options(1, 0), observer); });
}

struct Watch : Observer {
  void on_message(const std::string& text) override { messages.push_back(text); }
  std::vector<std::string> messages;
};

TEST(Sampler, SaysWhenMoreSamplesAreComputedThanAskedFor) {
  const Problem problem = coil_problem();
  const GaussianLikelihood likelihood(problem.op, problem.y, problem.sigma_y);
  SamplerOptions how = options(3, 1);
  how.method = "brsmc";
  how.settings["group"] = 2;
  Watch watch;
  EXPECT_EQ(sample(*problem.prior, &likelihood, {1, 30, 34}, how, watch).x.size(0), 3);
  ASSERT_EQ(watch.messages.size(), 1u);
  EXPECT_NE(watch.messages[0].find("brsmc come in groups of 2"), std::string::npos) << watch.messages[0];
  how.n_samples = 4;
  sample(*problem.prior, &likelihood, {1, 30, 34}, how, watch);
  EXPECT_EQ(watch.messages.size(), 1u);
}

TEST(Sampler, SaysWhenTheSolveDoesNotConverge) {
  const Problem problem = coil_problem();
  const GaussianLikelihood likelihood(problem.op, problem.y, problem.sigma_y);
  Watch watch;
  SamplerOptions how = options(2, 1);
  how.solve.max_iterations = 2;
  sample(*problem.prior, &likelihood, {1, 30, 34}, how, watch);
  ASSERT_EQ(watch.messages.size(), 1u);
  EXPECT_NE(watch.messages[0].find("after 2 iterations"), std::string::npos) << watch.messages[0];
}

TEST(Sampler, SaysWhenALevelLiesOutsideWhatANetworkWasTrainedFor) {
  const Problem problem = masking_problem();
  const WrongTable learned(*problem.prior, 1.0, /*measured=*/true);
  const auto messages = [&](const Prior& prior, const std::string& method, double sigma_y, double share_of_minimum) {
    const GaussianLikelihood likelihood(problem.op, problem.y, sigma_y);
    SamplerOptions how = options(2, 1);
    how.method = method;
    if (method == "split-gibbs") how.settings = {{"start-steps", 0.0}, {"group", 1.0}};
    how.sigma_min = share_of_minimum * prior.range().minimum;
    Watch watch;
    sample(prior, &likelihood, {1, 37, 37}, how, watch);
    return watch.messages;
  };
  const double below = 0.5 * learned.range().minimum;
  EXPECT_TRUE(messages(learned, "bridge", problem.sigma_y, 1.0).empty());
  EXPECT_TRUE(messages(*problem.prior, "bridge", problem.sigma_y, 0.5).empty());   // exact at every level
  EXPECT_TRUE(messages(learned, "split-gibbs", problem.sigma_y, 0.0).empty());
  for (const auto& told : {messages(learned, "bridge", problem.sigma_y, 0.5), messages(learned, "split-gibbs", below, 0.0)}) {
    ASSERT_EQ(told.size(), 1u);
    EXPECT_NE(told[0].find("was trained for"), std::string::npos) << told[0];
  }
}

}  // namespace
}  // namespace postrec::test
