// SamplerOptions::nfe: what a run takes is what was allowed, whatever method, solver and settings.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "beds.hpp"
#include "expect_error.hpp"
#include "method_table.hpp"
#include "mixture_classifier.hpp"
#include "wrong_table.hpp"

namespace postrec::test {
namespace {

using Settings = std::map<std::string, double>;

class Budget : public ::testing::Test {
 protected:
  SamplerOptions options(const std::string& method, std::int64_t nfe, Settings settings = {}) const {
    SamplerOptions how;
    how.method = method;
    how.settings = std::move(settings);
    how.n_samples = 1;
    how.nfe = nfe;
    how.classifier = &classifier_;
    return how;
  }

  std::int64_t nfe_of(const SamplerOptions& how, bool with_data) const {
    Observer observer;
    return sample(*bed_.prior, with_data ? &likelihood_ : nullptr, {1, 16, 16}, how, observer).report.nfe;
  }
  std::int64_t nfe_of(const SamplerOptions& how) const { return nfe_of(how, find_method(how.method).needs != Needs::kNoMeasurement); }

  void expect_kept(const SamplerOptions& how) const {
    const std::int64_t nfe = nfe_of(how);
    EXPECT_LE(nfe, how.nfe) << how.method << " " << how.solver;
    EXPECT_GE(2 * nfe, how.nfe) << how.method << " " << how.solver;
  }

  // Frequencies are seen: no method is at a loss.
  Bed bed_ = t1c_mri4x();
  GaussianLikelihood likelihood_{bed_.op, bed_.y, bed_.sigma_y};
  MixtureClassifier classifier_{bed_.prior};
};

TEST_F(Budget, IsKeptByEveryMethod) {
  for (const auto& [name, method] : method_table()) expect_kept(options(name, 60, name == "split-gibbs" ? Settings{{"start-steps", 30}} : Settings{}));
  // Without a measurement too.
  for (const auto& [name, method] : method_table())
    if (method.needs == Needs::kEither) {
      EXPECT_LE(nfe_of(options(name, 60), false), 60) << name;
    }
}

TEST_F(Budget, CountsWhatTheSettingsCost) {
  for (const auto& [name, settings] : std::map<std::string, Settings>{{"annealed-langevin", {{"steps-per-level", 9}}},
                                                                      {"daps", {{"ode-steps", 12}, {"langevin-steps", 2}}},
                                                                      {"daps-exact", {{"ode-steps", 2}}},
                                                                      {"mmps", {{"iterations", 7}}},
                                                                      {"preconditioned-langevin", {{"steps-per-level", 8}}},
                                                                      {"split-gibbs", {{"sde-steps", 3}, {"start-steps", 10}}}})
    for (const std::int64_t nfe : {60, 61}) expect_kept(options(name, nfe, settings));
  // A method's evaluations are of each call of its solver.
  SamplerOptions how = options("mmps", 60, {{"iterations", 3}, {"corrector-steps", 2}});
  how.solver = "predictor-corrector";
  expect_kept(how);
}

// A level less saves one evaluation or two, and moves the others: the budget is used but for one or two.
TEST_F(Budget, CountsTheLevelsThatTakeTwo) {
  const WrongTable measured(*bed_.prior, 1.0, true);
  Observer observer;
  for (const std::int64_t nfe : {15, 16, 60})
    for (const double to : {0.0, 0.3, 1.0}) {
      const SamplerReport report = sample(measured, &likelihood_, {1, 16, 16}, options("bridge", nfe, {{"jacobian-from", 0.1}, {"jacobian-to", to}, {"jacobian-levels", 1.0}}), observer).report;
      EXPECT_LE(report.nfe, nfe) << to;
      EXPECT_GE(report.nfe, nfe - 2) << to;
      EXPECT_EQ(report.nfe > static_cast<std::int64_t>(report.sigmas.size()), to > 0.0) << to;
    }
}

// Levels that take two belong to walks of `jacobian-levels` at least, whether the user says how many levels or how many evaluations.
TEST_F(Budget, LevelsOfAShortWalkTakeOne) {
  const WrongTable measured(*bed_.prior, 1.0, true);
  Observer observer;
  SamplerOptions how = options("bridge", 0, {{"jacobian-from", 0.1}, {"jacobian-to", 1.0}});
  for (const int n : {7, 8}) {
    how.n_steps = n;
    const std::int64_t nfe = sample(measured, &likelihood_, {1, 16, 16}, how, observer).report.nfe;
    EXPECT_EQ(nfe > n, n >= 8) << n;
    SamplerOptions within = how;
    within.nfe = nfe;
    const SamplerReport report = sample(measured, &likelihood_, {1, 16, 16}, within, observer).report;
    EXPECT_EQ(report.sigmas.size(), static_cast<std::size_t>(n));
    EXPECT_EQ(report.nfe, nfe);
  }
}

TEST_F(Budget, SaysTheLeast) {
  const std::map<std::string, std::int64_t> least = {{"split-gibbs", 80}, {"mmps", 3}, {"daps", 5}, {"annealed-langevin", 6}, {"pigdm", 2}};
  for (const auto& [name, n] : least) {
    expect_error(ErrorKind::kUsage, "nfe is " + std::to_string(n - 1), [&, name = name, n = n] { nfe_of(options(name, n - 1)); });
    expect_error(ErrorKind::kUsage, "'" + name + "' needs at least " + std::to_string(n) + " with", [&, name = name, n = n] { nfe_of(options(name, n - 1)); });
    EXPECT_LE(nfe_of(options(name, n)), n) << name;
  }
  // The last level alone has no step: one call of the solver.
  SamplerOptions how = options("dps", 2);
  how.solver = "stochastic-heun";
  EXPECT_EQ(nfe_of(how), 2);
  for (const char* method : {"twisted-smc", "preconditioned-langevin"}) EXPECT_EQ(nfe_of(options(method, 1)), 1) << method;
}

}  // namespace
}  // namespace postrec::test
