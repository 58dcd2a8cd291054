// Regions, thresholds, and what is withheld where the prior does not fit.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "app_fixture.hpp"
#include "cli/console.hpp"
#include "cli/progress.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/random.hpp"
#include "result/questions.hpp"
#include "result/reconstruct_case.hpp"
#include "result/result_folder.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

/// Each level takes so many seconds of a clock that nothing else moves.
class SlowLevels : public Progress {
 public:
  SlowLevels(std::int64_t n_slices, double& now, double seconds) : Progress(n_slices), now_(now), seconds_(seconds) {}
  void on_step(const Step& /*step*/) override { now_ += seconds_; }

 private:
  double& now_;
  double seconds_;
};

class Answers : public AppTest {
 protected:
  void SetUp() override {
    AppTest::SetUp();
    session_ = std::make_unique<Session>(session_options());
    // A square of 4x5 pixels in slice 1 alone.
    mask_ = at::zeros({kSlices, 1, kHeight, kWidth});
    mask_[1].slice(1, 6, 10).slice(2, 7, 12).fill_(1.0);
    write_mask("mask.nii.gz", mask_);
    console().quiet = true;
  }

  SessionOptions session_options() const {
    SessionOptions options;
    options.plugins.folders = {POSTREC_BINARY_DIR "/lib/postrec/plugins"};
    options.prior = path("mr.safetensors");
    options.sampler.n_samples = 9;
    options.sampler.n_steps = 4;
    options.device = "cpu";
    return options;
  }

  void write_mask(const std::string& name, const at::Tensor& pixels, double origin_x = -10.0) const {
    Image image{pixels, {}, IntensityUnit::kArbitrary};
    image.geometry.spacing_mm = {1.25, 1.25, 3.0};
    image.geometry.origin_mm = {origin_x, 5.0, 7.0};
    write_nifti(path(name), image);
  }

  Case simulated(std::optional<std::int64_t> slice) const {
    CaseOptions request;
    request.input = path("mr.nii.gz");
    request.simulate = true;
    request.operator_name = "mri-fourier";
    request.settings = {{"mask-pattern", "equispaced"}, {"acceleration", "2"}, {"n-acs-lines", "5"}};
    request.simulate_coils = 2;
    request.noise = 0.1;
    request.slice = slice;
    return read_case(request, session_->registry());
  }

  Questions questions(const std::vector<std::string>& words, const Case& input) const {
    CommandOptions options("reconstruct", "INPUT", 1, 1, "", "");
    add_question_options(options);
    add_common_options(options);
    std::vector<std::string> all = {"x"};
    all.insert(all.end(), words.begin(), words.end());
    options.parse(all);
    return read_questions(options, input, session_->registry());
  }

  CaseResult reconstructed(const Case& input) const {
    Progress progress(static_cast<std::int64_t>(input.slices.size()));
    return reconstruct_case(input, *session_, progress);
  }

  nlohmann::json written(const std::string& name, const Case& input, const CaseResult& result, const Questions& asked) const {
    fs::create_directories(path(name));
    write_result(path(name), {"test"}, input, result, *session_, asked);
    return run_json(name);
  }

  bool has(const std::string& name) const { return fs::exists(path(name)); }

  std::unique_ptr<Session> session_;
  at::Tensor mask_;
};

TEST_F(Answers, OfARegionAndAThreshold) {
  const Case input = simulated(1);
  const Questions asked = questions({"--region", "lesion=" + path("mask.nii.gz"), "--threshold", "60", "--threshold", "-1.5"}, input);
  const CaseResult result = reconstructed(input);
  const auto run = written("out", input, result, asked);

  // The same figures by hand, from the samples as stored.
  const at::Tensor samples = result.slices.front().samples, inside = mask_[1].gt(0.5);
  std::vector<double> means;
  for (std::int64_t k = 0; k < 9; ++k) means.push_back(samples[k].masked_select(inside).to(at::kDouble).mean().item<double>());
  const at::Tensor values = at::tensor(means, at::kDouble);
  const auto lesion = run["regions"][0];
  EXPECT_EQ(lesion["name"], "lesion");
  EXPECT_EQ(lesion["voxels"], 20);
  EXPECT_NEAR(lesion["mean"].get<double>(), values.mean().item<double>(), 1e-4);  // float32 summaries of numbers about 60
  EXPECT_NEAR(lesion["standard_deviation"].get<double>(), values.std(0).item<double>(), 1e-4);
  EXPECT_NEAR(lesion["lower"].get<double>(), values.min().item<double>(), 1e-4);  // nine samples bound no more than .8
  EXPECT_NEAR(lesion["upper"].get<double>(), values.max().item<double>(), 1e-4);
  EXPECT_NEAR(lesion["level"].get<double>(), 0.8, 1e-12);
  EXPECT_NEAR(lesion["truth"].get<double>(), input.truth[0].masked_select(inside).mean().item<double>(), 1e-4);
  EXPECT_NEAR(lesion["probability_above"]["60"].get<double>(), values.gt(60).to(at::kDouble).mean().item<double>(), 1e-12);
  EXPECT_EQ(lesion["probability_above"]["-1.5"], 1.0);  // magnitudes

  const at::Tensor map = read_scan(path("out/probability_above_60.nii.gz")).image.pixels;
  EXPECT_LT((map[0] - samples.gt(60).to(at::kFloat).mean(0)).abs().max().item<double>(), 1e-6);
  EXPECT_GT(map.max().item<double>(), map.min().item<double>());
  EXPECT_TRUE(has("out/probability_above_-1.5.nii.gz"));
  EXPECT_NE(content("out/report.txt").find("region lesion (20 voxels): mean "), std::string::npos) << content("out/report.txt");
  EXPECT_EQ(run["prior_fit"]["fits"], true);
}

TEST_F(Answers, AMaskOfTheResultsSlicesWillDo) {
  const Case input = simulated(1);
  Image one{mask_.narrow(0, 1, 1), {}, IntensityUnit::kArbitrary};
  one.geometry.spacing_mm = {1.25, 1.25, 3.0};
  one.geometry.origin_mm = {-10.0, 5.0, 10.0};
  write_nifti(path("one.nii.gz"), one);
  const Questions both = questions({"--region", "a=" + path("mask.nii.gz"), "--region", "b=" + path("one.nii.gz")}, input);
  EXPECT_TRUE(at::equal(both.regions[0].mask, both.regions[1].mask));
}

TEST_F(Answers, ARegionThatReachesBeyondTheBodyIsToldOf) {
  Case input = simulated(1);
  const Questions asked = questions({"--region", "lesion=" + path("mask.nii.gz")}, input);
  CaseResult result = reconstructed(input);
  EXPECT_EQ(written("inside", input, result, asked)["regions"][0]["voxels_without_signal"], 0);
  EXPECT_EQ(content("inside/report.txt").find("no signal"), std::string::npos);
  // One row of the four by five voxels becomes noise alone.
  const at::Tensor noise = RandomStreams(2, 0, 9).normal(0, {5}, at::kComplexFloat, at::kCPU).abs();
  result.volumes.samples.select(1, 0).select(1, 0).select(1, 6).slice(1, 7, 12).copy_(noise);
  const auto run = written("beyond", input, result, asked);
  EXPECT_GE(run["regions"][0]["voxels_without_signal"], 2);  // each of the five passes with probability .9: 1 seed in 2,000
  EXPECT_LE(run["regions"][0]["voxels_without_signal"], 5);
  EXPECT_NE(content("beyond/report.txt").find("of its 20 voxels show no signal"), std::string::npos) << content("beyond/report.txt");
  EXPECT_NE(content("beyond/report.html").find("of its 20 voxels show no signal"), std::string::npos);
}

TEST_F(Answers, ARegionOfSeveralSlicesIsAsUncertainAsSlicesThatErrTogether) {
  const Case input = simulated(std::nullopt);
  at::Tensor mask = mask_.clone();
  mask[0].copy_(mask[1]);
  write_mask("two.nii.gz", mask);
  const CaseResult result = reconstructed(input);
  const auto run = written("out", input, result, questions({"--region", "both=" + path("two.nii.gz")}, input));
  double together = 0.0;
  for (const std::int64_t slice : {0, 1}) {
    std::vector<double> means;
    for (std::int64_t k = 0; k < 9; ++k) means.push_back(result.slices[slice].samples[k].masked_select(mask_[1].gt(0.5)).to(at::kDouble).mean().item<double>());
    std::sort(means.begin(), means.end());
    together += 0.5 * (means.back() - means.front());
  }
  const auto region = run["regions"][0];
  EXPECT_EQ(region["slices"], 2);
  EXPECT_NEAR(region["upper"].get<double>() - region["lower"].get<double>(), together, 1e-3);  // of nine samples the interval is from the smallest to the largest
  EXPECT_NE(content("out/report.txt").find("its 2 slices taken to err together"), std::string::npos) << content("out/report.txt");
}

// What a slice has less than others, and what was walked rather than asked for.
TEST_F(Answers, ReportsSayWhatWasDone) {
  const Case input = simulated(1);
  CaseResult result = reconstructed(input);
  SliceResult& slice = result.slices.front();
  slice.interval_level = 0.7;
  slice.report.sigmas.resize(3);
  slice.fit.visible_share = -0.001;
  const auto run = written("out", input, result, {});
  EXPECT_EQ(run["interval_level"], 0.7);
  EXPECT_EQ(run["slices"][0]["interval_level"], 0.7);
  EXPECT_EQ(run["slices"][0]["samples"], 9);
  EXPECT_TRUE(run["prior_fit"]["slices"][0]["error_inflation"].is_null());
  EXPECT_EQ(run["prior_fit"]["slices"][0]["visible_share"], 0.0);
  EXPECT_NE(content("out/report.html").find("with 3 noise levels"), std::string::npos);
  EXPECT_NE(content("out/report.txt").find("intervals hold a further sample with probability 0.700"), std::string::npos);
}

// By the session's clock no time passes, so slices get a third, a half and all of it: 8, 12 and 25 levels. A batch walks four, and another is begun where there is time for eight more,
// by what was measured for six: the first of a batch is over before the clock moves.
TEST_F(Answers, SlicesShareTheTimeAndKeepAsManySamples) {
  constexpr double kDeadline = 3e6;            // seconds, so that what this machine takes is nothing
  double now = 0.0;
  SessionOptions options = session_options();
  options.deadline_s = kDeadline;
  options.sampler.batch_size = 3;
  options.sampler.clock = [&] { return now; };
  session_ = std::make_unique<Session>(options);
  const Case input = simulated(std::nullopt);
  SlowLevels progress(kSlices, now, 0.04 * kDeadline);
  const CaseResult result = reconstruct_case(input, *session_, progress);
  ASSERT_EQ(result.slices.size(), 3u);
  EXPECT_EQ(result.volumes.samples.sizes(), at::IntArrayRef({3, kSlices, 1, kHeight, kWidth}));
  EXPECT_TRUE(result.volumes.samples.amax({2, 3, 4}).gt(0).all().item<bool>()) << "each sample of each slice is an image";
  const auto run = written("out", input, result, {});
  EXPECT_EQ(run["samples_kept"], 3);
  for (std::size_t slice = 0; slice < 3; ++slice) {
    const int n = 3 * (static_cast<int>(slice) + 1);
    const auto& told = run["slices"][slice];
    EXPECT_EQ(told["samples"], n);             // what was computed from all of them stays
    EXPECT_NEAR(told["interval_level"].get<double>(), (n - 1.0) / (n + 1.0), 1e-12);
    EXPECT_EQ(told["samples_left_out"], n < 9);
    EXPECT_EQ(told["levels_left_out"], false);
    EXPECT_EQ(result.slices[slice].samples.size(0), 3);
  }
}

TEST_F(Answers, ADeadlineThatIsOverStaysOne) {
  SessionOptions options = session_options();
  options.deadline_s = 1e-9;
  EXPECT_GT(Session(options).sampler_options(0).deadline_s, 0.0) << "0 would be none";
}

TEST_F(Answers, UncertaintyOfCollapsedParticlesIsWithheld) {
  const Case input = simulated(1);
  CaseResult result = reconstructed(input);
  SamplerReport& report_of_slice = result.slices.front().report;
  report_of_slice.effective_share = {1.0, 0.1, 1.0};
  report_of_slice.group = 16;
  const auto run = written("out", input, result, {});
  EXPECT_EQ(run["prior_fit"]["uncertainty_withheld_in_slices"], nlohmann::json({1}));
  EXPECT_EQ(run["prior_fit"]["slices"][0]["collapsed"], true);
  EXPECT_FALSE(has("out/standard_deviation.nii.gz"));
  const std::string report = content("out/report.txt");
  EXPECT_NE(report.find("do not show the uncertainty of slice(s) 1: the particles of a group collapsed"), std::string::npos) << report;
  EXPECT_EQ(report.find("intervals hold"), std::string::npos) << report;
}

// An effective number of a group of G is between 1 and G.
TEST_F(Answers, CollapseIsJudgedByTheSizeOfTheGroup) {
  const Case input = simulated(1);
  CaseResult result = reconstructed(input);
  SamplerReport& report = result.slices.front().report;
  const auto withheld = [&](std::int64_t group, double number) {
    report.group = group;
    report.effective_share = {1.0, number / static_cast<double>(group)};
    return !written("of_" + std::to_string(group) + "_" + std::to_string(number), input, result, {})["prior_fit"]["uncertainty_withheld_in_slices"].empty();
  };
  EXPECT_TRUE(withheld(4, 1.2));
  EXPECT_FALSE(withheld(4, 1.4));
  EXPECT_TRUE(withheld(8, 1.5));
  EXPECT_FALSE(withheld(8, 1.8));
  EXPECT_TRUE(withheld(16, 2.3));
  EXPECT_FALSE(withheld(16, 2.5));
  EXPECT_TRUE(withheld(64, 9.0));
  EXPECT_FALSE(withheld(64, 10.0));
}

TEST_F(Answers, MistakesInRegions) {
  const Case input = simulated(1);
  const auto expect = [&](const std::vector<std::string>& words, ErrorKind kind, const std::string& named) {
    try {
      questions(words, input);
      ADD_FAILURE() << named;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
    }
  };
  const std::string good = path("mask.nii.gz");
  expect({"--region", good}, ErrorKind::kUsage, "NAME=FILE");
  expect({"--region", "a=" + good, "--region", "a=" + good}, ErrorKind::kUsage, "twice");
  expect({"--region", "a=" + path("none.nii.gz")}, ErrorKind::kNoInput, "none.nii.gz");
  write_mask("small.nii.gz", at::ones({1, 1, 5, 7}));
  expect({"--region", "a=" + path("small.nii.gz")}, ErrorKind::kBadData, "5x7");
  write_mask("shifted.nii.gz", mask_, -8.0);
  expect({"--region", "a=" + path("shifted.nii.gz")}, ErrorKind::kBadData, "elsewhere");
  write_mask("other_slice.nii.gz", mask_.roll(1, 0));
  expect({"--region", "a=" + path("other_slice.nii.gz")}, ErrorKind::kUsage, "empty");
  expect({"--threshold", "3", "--threshold", "3.0"}, ErrorKind::kUsage, "twice");
}

TEST_F(Answers, UncertaintyIsWithheldWhereThePriorDoesNotFit) {
  Case input = simulated(1);
  input.measurement.sigma_y *= 0.1;  // a noise that the measurement does not have
  const std::vector<std::string> words = {"--region", "lesion=" + path("mask.nii.gz"), "--threshold", "60"};
  const CaseResult result = reconstructed(input);
  const auto run = written("refused", input, result, questions(words, input));
  EXPECT_EQ(run["prior_fit"]["fits"], false);
  EXPECT_EQ(run["prior_fit"]["forced"], false);
  EXPECT_EQ(run["prior_fit"]["uncertainty_withheld_in_slices"], nlohmann::json({1}));
  EXPECT_NE(run["prior_fit"]["slices"][0]["reason"].get<std::string>().find("chi-square"), std::string::npos);
  for (const char* name : {"standard_deviation.nii.gz", "standard_deviation.png", "interval_lower.nii.gz", "interval_upper.nii.gz", "probability_above_60.nii.gz"})
    EXPECT_FALSE(has(std::string("refused/") + name)) << name;
  for (const char* name : {"mean.nii.gz", "samples.nii.gz", "report.txt"}) EXPECT_TRUE(has(std::string("refused/") + name)) << name;
  EXPECT_TRUE(run["regions"][0]["mean"].is_number());
  EXPECT_FALSE(run["regions"][0].contains("lower"));
  EXPECT_NE(content("refused/report.txt").find("WARNING: the prior does not fit slice(s) 1: "), std::string::npos) << content("refused/report.txt");

  std::vector<std::string> forced = words;
  forced.push_back("--force");
  const auto with_force = written("forced", input, result, questions(forced, input));
  EXPECT_EQ(with_force["prior_fit"]["fits"], false);
  EXPECT_EQ(with_force["prior_fit"]["forced"], true);
  EXPECT_EQ(with_force["prior_fit"]["slices"], run["prior_fit"]["slices"]);  // the reason stays
  for (const char* name : {"standard_deviation.nii.gz", "interval_lower.nii.gz", "interval_upper.nii.gz", "probability_above_60.nii.gz"})
    EXPECT_TRUE(has(std::string("forced/") + name)) << name;
  EXPECT_TRUE(with_force["regions"][0].contains("lower"));
  EXPECT_NE(content("forced/report.txt").find("--force and is not to be trusted"), std::string::npos);

  const Ended judged = run_postrec({"evaluate", path("refused"), "--truth", path("mr.nii.gz"), "--log-format", "json"});
  ASSERT_EQ(judged.code, 0) << judged.err;
  EXPECT_FALSE(nlohmann::json::parse(judged.out).contains("interval_coverage"));
}

// By the limits of prior_fit.hpp, either of the two figures.
TEST_F(Answers, TheFiguresOfASliceDecideWhatIsWithheld) {
  const Case input = simulated(1);
  CaseResult result = reconstructed(input);
  const auto withheld = [&](const std::string& name, double chi2, double inflation) {
    result.slices.front().fit = {.reduced_chi2 = chi2, .error_inflation = inflation, .visible_share = 1.0, .sigma = 0.1, .n_measured = 1000};
    written(name, input, result, {});
    return !has(name + "/standard_deviation.nii.gz");
  };
  EXPECT_FALSE(withheld("inside", 1.99, 3.79));
  EXPECT_TRUE(withheld("above", 2.01, 3.79));
  EXPECT_TRUE(withheld("below", 0.59, 3.79));
  EXPECT_TRUE(withheld("inflated", 1.99, 3.81));
}

TEST_F(Answers, OneSliceThatDoesNotFitIsWithheldAlone) {
  const Case input = simulated(std::nullopt);
  const at::Tensor y = input.measurement.y[1];
  y.add_(6 * input.measurement.sigma_y * RandomStreams(5, 0, 1).normal(0, y.sizes().vec(), y.scalar_type()).squeeze(0));
  const std::vector<std::string> words = {"--region", "lesion=" + path("mask.nii.gz"), "--threshold", "60"};
  const auto run = written("out", input, reconstructed(input), questions(words, input));
  EXPECT_EQ(run["prior_fit"]["uncertainty_withheld_in_slices"], nlohmann::json({1}));
  EXPECT_FALSE(run["regions"][0].contains("lower"));  // the region lies in slice 1
  const auto map = [&](const std::string& name) { return read_scan(path("out/" + name + ".nii.gz")).image.pixels; };
  for (const char* name : {"standard_deviation", "probability_above_60"}) {
    EXPECT_TRUE(map(name)[1].eq(-1).all().item<bool>()) << name;
    for (const int fits : {0, 2}) EXPECT_TRUE(map(name)[fits].ge(0).all().item<bool>()) << name;
  }
  EXPECT_TRUE(map("interval_lower")[1].gt(map("interval_upper")[1]).all().item<bool>());
  for (const int fits : {0, 2}) EXPECT_TRUE(map("interval_lower")[fits].le(map("interval_upper")[fits]).all().item<bool>());
  const Ended judged = run_postrec({"evaluate", path("out"), "--truth", path("mr.nii.gz"), "--log-format", "json"});
  ASSERT_EQ(judged.code, 0) << judged.err;
  EXPECT_TRUE(nlohmann::json::parse(judged.out).contains("mean"));
  EXPECT_FALSE(nlohmann::json::parse(judged.out).contains("interval_coverage"));
}

}  // namespace
}  // namespace postrec
