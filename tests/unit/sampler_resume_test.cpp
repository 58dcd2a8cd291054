// A run that is stopped at any moment and goes on; a run that must end in time.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "beds.hpp"
#include "expect_error.hpp"
#include "level_choice.hpp"
#include "method_table.hpp"
#include "mixture_classifier.hpp"
#include "networks.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/sampler.hpp"

namespace postrec::test {
namespace {

namespace fs = std::filesystem;

struct StopAfter : Observer {
  explicit StopAfter(int limit) : limit(limit) {}
  void on_step(const Step& step) override {
    ++n_steps;
    last = step;
  }
  bool cancelled() const override { return n_steps >= limit; }
  int limit;
  int n_steps = 0;
  Step last;
};

class Resume : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / ("resume_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static SamplerOptions options() {
    SamplerOptions result;
    result.n_samples = 5;
    result.batch_size = 2;
    result.n_steps = 4;
    result.seed = 3;
    result.checkpoint_interval_s = 0.0;        // after every level
    return result;
  }
  SamplerOptions with_checkpoint() const {
    SamplerOptions result = options();
    result.checkpoint = folder_ / "run.safetensors";
    return result;
  }

  Samples run(const SamplerOptions& how, Observer& observer) const { return sample(*bed_.prior, &likelihood_, {1, 8, 8}, how, observer); }
  Samples run(const SamplerOptions& how) const {
    Observer observer;
    return run(how, observer);
  }

  fs::path folder_;
  Bed bed_ = t2c_box6();
  GaussianLikelihood likelihood_{bed_.op, bed_.y, bed_.sigma_y};
};

// Law: resume. Three batches of four levels, stopped after every number of levels.
TEST_F(Resume, resume) {
  const Samples whole = run(options());
  for (int n_steps = 0; n_steps <= 12; ++n_steps) {
    StopAfter stop(n_steps);
    const Samples part = run(with_checkpoint(), stop);
    EXPECT_EQ(part.report.interrupted, n_steps < 12);
    StopAfter never(1000);
    const Samples rest = run(with_checkpoint(), never);
    EXPECT_TRUE(at::equal(rest.x, whole.x)) << "stopped after " << n_steps;
    EXPECT_EQ(never.n_steps, 12 - n_steps) << "levels that were done are not done again";
    if (n_steps < 12) {
      EXPECT_EQ(never.last.done, never.last.total);
    }
    EXPECT_EQ(rest.report.misfit_trace, whole.report.misfit_trace);
    EXPECT_EQ(rest.report.nfe, whole.report.nfe);
    EXPECT_GE(rest.report.network_seconds, part.report.network_seconds) << "what was done before counts";
    fs::remove(with_checkpoint().checkpoint);
  }
}

// Every method and solver goes on with the same bits: what they keep between levels is in the checkpoint.
TEST_F(Resume, EveryMethodAndSolver) {
  std::vector<SamplerOptions> all;
  for (const SamplerInfo& info : sampling_methods()) {
    all.push_back(with_checkpoint());
    all.back().method = info.name;
  }
  for (const SamplerInfo& info : reverse_solvers()) {
    all.push_back(with_checkpoint());
    all.back().method = "prior";
    all.back().solver = info.name;
  }
  for (SamplerOptions how : all) {
    SCOPED_TRACE(how.method + " " + how.solver);
    const GaussianLikelihood* likelihood = how.method == "prior" ? nullptr : &likelihood_;
    Observer observer;
    Samples whole;
    try {
      how.checkpoint.clear();
      whole = sample(*bed_.prior, likelihood, {1, 8, 8}, how, observer);
    } catch (const Error& error) {             // a method that this bed cannot serve
      EXPECT_TRUE(error.kind() == ErrorKind::kUsage || error.kind() == ErrorKind::kConfiguration || error.kind() == ErrorKind::kUnavailable) << error.what();
      continue;
    }
    how.checkpoint = folder_ / "each.safetensors";
    for (const int n_steps : {0, 2}) {         // before the first level; and in the middle of a batch, or between two where a method takes few steps
      StopAfter stop(n_steps);
      EXPECT_TRUE(sample(*bed_.prior, likelihood, {1, 8, 8}, how, stop).report.interrupted);
      EXPECT_TRUE(at::equal(sample(*bed_.prior, likelihood, {1, 8, 8}, how, observer).x, whole.x)) << n_steps;
      fs::remove(how.checkpoint);
    }
  }
}

// Samples come in whole groups, and so does what is to do.
TEST_F(Resume, StepsOfWholeGroupsAreAllThereAre) {
  SamplerOptions how = options();
  how.method = "brsmc";
  how.settings["group"] = 4;
  StopAfter never(1000);
  run(how, never);
  EXPECT_EQ(never.last.total, 8 * how.n_steps);
  EXPECT_EQ(never.last.done, never.last.total);
}

TEST_F(Resume, AfterKillMinusNine) {
  const Samples whole = run(options());
  for (const int n_steps : {1, 5, 6, 11}) {
    struct Die : StopAfter {
      using StopAfter::StopAfter;
      void on_step(const Step& step) override {
        StopAfter::on_step(step);
        // The checkpoint of this level is written after it was reported: what is found is the state after the level before.
        if (n_steps == limit) ::kill(getpid(), SIGKILL);
      }
      bool cancelled() const override { return false; }
    };
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      at::set_num_threads(1);                  // a forked process has no worker threads
      Die die(n_steps);
      run(with_checkpoint(), die);
      _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    EXPECT_EQ(fs::exists(with_checkpoint().checkpoint), n_steps > 1);
    StopAfter never(1000);
    EXPECT_TRUE(at::equal(run(with_checkpoint(), never).x, whole.x)) << n_steps;
    EXPECT_EQ(never.n_steps, 12 - (n_steps - 1));
    fs::remove(with_checkpoint().checkpoint);
  }
}

// The mixture's own classifier, and one that is less sure.
struct ShyClassifier : MixtureClassifier {
  using MixtureClassifier::MixtureClassifier;
  Answer log_probability(const at::Tensor& x_t, double sigma, std::int64_t k) const override {
    Answer answer = MixtureClassifier::log_probability(x_t, sigma, k);
    answer.gradient = answer.gradient * 0.5;
    return answer;
  }
};

TEST_F(Resume, RefusesAnotherClassifier) {
  const MixtureClassifier classifier(bed_.prior);
  const ShyClassifier other(bed_.prior);
  const auto sample_class = [&](const Classifier& asked, double class_index, Observer& observer) {
    SamplerOptions how = with_checkpoint();
    how.method = "class-guidance";
    how.settings["class"] = class_index;
    how.classifier = &asked;
    return sample(*bed_.prior, nullptr, {1, 8, 8}, how, observer);
  };
  StopAfter stop(6);
  Observer observer;
  sample_class(classifier, 3.0, stop);
  expect_error(ErrorKind::kConfiguration, "another measurement, prior or options", [&] { sample_class(other, 3.0, observer); });
  expect_error(ErrorKind::kConfiguration, "another measurement, prior or options", [&] { sample_class(classifier, 2.0, observer); });
  EXPECT_EQ(sample_class(classifier, 3.0, observer).x.size(0), 5);
  // No checkpoint hides a class that there is not.
  expect_error(ErrorKind::kUsage, "0 to 3", [&] {
    fs::remove(with_checkpoint().checkpoint);
    sample_class(classifier, 4.0, observer);
  });
}

TEST_F(Resume, RefusesAnotherPrecision) {
  const NetworkPrior prior = small_network_prior(SpectralBasis::kDct, 1);
  const auto sample_in = [&](NetworkPrecision precision, Observer& observer) {
    return sample(prior.in_precision(precision), nullptr, {1, 8, 8}, with_checkpoint(), observer);
  };
  StopAfter stop(6);
  Observer observer;
  sample_in(NetworkPrecision::kTf32, stop);
  for (const auto other : {NetworkPrecision::kFloat32, NetworkPrecision::kBfloat16})
    expect_error(ErrorKind::kConfiguration, "another measurement, prior or options", [&] { sample_in(other, observer); });
  EXPECT_EQ(sample_in(NetworkPrecision::kTf32, observer).x.size(0), 5);
}

TEST_F(Resume, RefusesAnotherRunAndDamagedFiles) {
  StopAfter stop(6);
  run(with_checkpoint(), stop);
  const auto refuse = [&](const auto& change) {
    SamplerOptions how = with_checkpoint();
    change(how);
    expect_error(ErrorKind::kConfiguration, "another measurement, prior or options", [&] { run(how); });
  };
  refuse([](auto& o) { o.seed = 4; });
  refuse([](auto& o) { o.n_steps = 5; });
  refuse([](auto& o) { o.sigma_max = 3.0; });
  refuse([](auto& o) { o.solve.tolerance = 1e-2; });
  Observer observer;
  const GaussianLikelihood other(bed_.op, bed_.y, 2 * bed_.sigma_y);
  expect_error(ErrorKind::kConfiguration, "another measurement", [&] { sample(*bed_.prior, &other, {1, 8, 8}, with_checkpoint(), observer); });
  {
    std::fstream file(with_checkpoint().checkpoint, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(-2, std::ios::end);             // in the last number
    const int byte = file.get();
    file.seekp(-2, std::ios::end);
    file.put(static_cast<char>(byte ^ 1));
  }
  expect_error(ErrorKind::kBadData, "run.safetensors' is damaged", [&] { run(with_checkpoint()); });
  fs::resize_file(with_checkpoint().checkpoint, fs::file_size(with_checkpoint().checkpoint) - 4);
  expect_error(ErrorKind::kBadData, "run.safetensors", [&] { run(with_checkpoint()); });
  std::ofstream(with_checkpoint().checkpoint) << "not a checkpoint";
  expect_error(ErrorKind::kBadData, "run.safetensors", [&] { run(with_checkpoint()); });
}

// A prior whose every use takes a second of a clock that nothing else moves.
struct SlowPrior : MixturePrior {
  SlowPrior(const MixturePrior& prior, double& now) : MixturePrior(prior), now(now) {}
  at::Tensor denoise(const at::Tensor& x, double sigma) const override {
    now += static_cast<double>(x.size(0));
    return MixturePrior::denoise(x, sigma);
  }
  double& now;
};

class Deadline : public Resume {
 protected:
  Samples within(double seconds, std::int64_t n_samples, std::int64_t batch_size, int n_steps, const std::string& method = "bridge") {
    SamplerOptions how = options();
    how.method = method;
    how.n_samples = n_samples;
    how.batch_size = batch_size;
    how.n_steps = n_steps;
    how.deadline_s = seconds;
    now_ = 100.0;
    how.clock = [this] { return now_; };
    const SlowPrior prior(*bed_.prior, now_);
    Observer observer;
    const Samples samples = sample(prior, &likelihood_, {1, 8, 8}, how, observer);
    took_ = now_ - 100.0;
    return samples;
  }

  double now_ = 0.0;
  double took_ = 0.0;
};

// What these methods do at a level depends on the next one, or on how many there are.
TEST_F(Deadline, AThinnedWalkIsTheWalkOfItsLevels) {
  for (const char* method : {"dds", "dps", "pigdm", "daps"}) {
    SCOPED_TRACE(method);
    const Samples thinned = within(method == std::string("daps") ? 150.0 : 30.0, 2, 2, 40, method);
    EXPECT_TRUE(thinned.report.levels_left_out);
    const std::vector<double>& sigmas = thinned.report.sigmas;

    SamplerOptions how = options();
    how.method = method;
    const MethodEntry& entry = find_method(method);
    const SolverEntry* solver = solver_of(entry, how.solver);
    const auto settings = complete_settings(entry, solver, how.settings);
    const LevelChoice choice({*bed_.prior, {1, 8, 8}, true, entry, solver, settings}, how);
    const SamplingTask task{*bed_.prior, &likelihood_, {{1, 8, 8}, at::kFloat}, at::kCPU, how.seed, 0, 2, how.solve, choice.process(), sigmas, settings};
    const auto walk = make_method(entry, solver, task);
    at::Tensor x = walk->start(sigmas.front());
    for (std::size_t i = 0; i < sigmas.size(); ++i) {
      LevelRecord record;
      x = walk->advance(x, {static_cast<int>(i), sigmas[i], i + 1 < sigmas.size() ? sigmas[i + 1] : 0.0, static_cast<int>(sigmas.size())}, record);
    }
    EXPECT_TRUE(x.equal(thinned.x));
  }
}

TEST_F(Deadline, TheTimeOfAStoppedRunCountsAndThePauseDoesNot) {
  const SlowPrior prior(*bed_.prior, now_);
  const auto seconds = [&](const SamplerOptions& options, Observer& observer) {
    SamplerOptions how = options;
    how.clock = [this] { return now_; };
    return sample(prior, &likelihood_, {1, 8, 8}, how, observer).report.seconds;
  };
  Observer nobody;
  EXPECT_EQ(seconds(options(), nobody), 20.0);  // five samples of four levels
  for (const int n_steps : {0, 1, 6, 11}) {
    StopAfter stop(n_steps);
    EXPECT_LT(seconds(with_checkpoint(), stop), 20.0);
    now_ += 1000.0;
    EXPECT_EQ(seconds(with_checkpoint(), nobody), 20.0) << n_steps;
    fs::remove(with_checkpoint().checkpoint);
  }
}

TEST_F(Deadline, EnoughTimeChangesNothing) {
  const Samples samples = within(1000.0, 5, 2, 4);
  EXPECT_TRUE(at::equal(samples.x, run(options()).x));
  EXPECT_FALSE(samples.report.levels_left_out);
  EXPECT_FALSE(samples.report.samples_left_out);
}

// 8 samples of 40 levels would take 320 s.
TEST_F(Deadline, LeavesOutLevelsBeforeSamples) {
  for (const double seconds : {300.0, 200.0, 100.0, 70.0}) {
    const Samples samples = within(seconds, 8, 2, 40);
    EXPECT_LE(took_, seconds);
    EXPECT_GT(took_, 0.8 * seconds) << "the time is used";
    EXPECT_EQ(samples.x.size(0), 8);
    EXPECT_TRUE(samples.report.levels_left_out);
    EXPECT_FALSE(samples.report.samples_left_out);
    EXPECT_EQ(samples.report.sigmas.front(), bed_.prior->range().maximum);
    EXPECT_EQ(samples.report.sigmas.back(), bed_.prior->range().minimum);
  }
}

// Below eight levels a sample, samples are left out.
TEST_F(Deadline, LeavesOutSamplesWhenLevelsAreFew) {
  const Samples samples = within(40.0, 8, 2, 40);
  EXPECT_LE(took_, 40.0);
  EXPECT_EQ(samples.x.size(0), 4);
  EXPECT_TRUE(samples.report.samples_left_out);
  EXPECT_GE(samples.report.sigmas.size(), 8u);
}

// A budget for less than one batch still gives an answer: the levels at hand are cut down to what fits, at least the one begun.
TEST_F(Deadline, GivesTheBestThereIs) {
  const Samples samples = within(7.0, 8, 2, 40);
  EXPECT_EQ(samples.x.size(0), 2);
  EXPECT_LE(took_, 8.0);
  EXPECT_TRUE(at::isfinite(samples.x).all().item<bool>());
}

}  // namespace
}  // namespace postrec::test
