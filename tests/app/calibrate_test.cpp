// calibrate: on a Gaussian prior, where the bridge sampler is exact, and with a sampler that is told a wrong noise.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>

#include "app_fixture.hpp"
#include "beds.hpp"
#include "calibration/calibration_certificate.hpp"
#include "calibration/calibration_page.hpp"
#include "calibration/calibration_run.hpp"
#include "case/simulation.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/random.hpp"
#include "pretend_device.hpp"
#include "test_operators.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Calibrate : public AppTest {
 protected:
  /// Against the prior of complex images, 12x11 pixels, half of the lines of k-space; `more` adds options or replaces those of the same name.
  std::vector<std::string> prior_arguments(const std::string& output, const std::vector<std::string>& more = {}) const {
    return with_defaults({{"--prior", path("mr.safetensors")}, {"--size", "12x11"}, {"--operator", "mri-fourier"}, {"--set", "mask-pattern=equispaced"}, {"--noise", "0.1"}, {"--steps", "2"},
                          {"--truth-steps", "2"}, {"--batch-size", "0"}, {"--threads", "1"}, {"--output", path(output)}}, {}, more);
  }
  std::vector<std::string> scan_arguments(const std::string& output, const std::vector<std::string>& more = {}) const {
    return with_defaults({{"--prior", path("mr.safetensors")}, {"--operator", "mri-fourier"}, {"--set", "mask-pattern=equispaced"}, {"--noise", "0.1"}, {"--steps", "3"}, {"--samples", "6"},
                          {"--threads", "1"}, {"--output", path(output)}}, {path("mr.nii.gz")}, more);
  }
  json certificate(const std::string& output) const { return json::parse(content(output + "/certificate.json")); }

  static double figure(const json& certificate, const std::string& name) { return entry(certificate["findings"]["figures"], name)["value"]; }
  static json entry(const json& list, const std::string& name) {
    for (const auto& one : list)
      if (one["name"] == name) return one;
    ADD_FAILURE() << "there is no '" << name << "'";
    return {};
  }

 private:
  static std::vector<std::string> with_defaults(const std::vector<std::pair<std::string, std::string>>& defaults, const std::vector<std::string>& operands, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"calibrate"};
    arguments.insert(arguments.end(), operands.begin(), operands.end());
    for (const auto& [option, value] : defaults)
      if (std::find(more.begin(), more.end(), option) == more.end()) arguments.insert(arguments.end(), {option, value});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

// All bands together have a false alarm rate of 5 %, the other figures of at most 13 times .3 %; for this seed, fixed once, all is quiet.
TEST_F(Calibrate, AnExactSamplerIsCalibrated) {
  const Ended ended = run_postrec(prior_arguments("out"));
  ASSERT_EQ(ended.code, 0) << ended.err;
  const json found = certificate("out"), findings = found["findings"];
  EXPECT_EQ(findings["verdict"], "calibrated") << findings["because"] << findings["figures"];
  EXPECT_EQ(found["done"], 200);
  EXPECT_EQ(found["interrupted"], false);
  EXPECT_EQ(found["prior"]["name"], "test");
  EXPECT_EQ(found["sampler"]["samples"], 63);
  EXPECT_EQ(findings["records"].size(), 200u);
  EXPECT_EQ(findings["ranks"]["quantities"].size(), ranked_quantities().size());
  EXPECT_GE(findings["ranks"]["power"].get<double>(), kEnoughPower);
  EXPECT_LE(findings["ranks"]["false_alarm_each"].get<double>(), kFalseAlarm / static_cast<double>(ranked_quantities().size()));
  EXPECT_GT(found["score_discrepancy"]["p_value"].get<double>(), 0.001);
  EXPECT_NE(ended.out.find("VERDICT: calibrated"), std::string::npos) << ended.out;
}

// A third of the noise: too close to the data and too sure of what was measured. Three times of it: the reverse.
TEST_F(Calibrate, AWrongNoiseIsFoundOut) {
  ASSERT_EQ(run_postrec(prior_arguments("little", {"--told-noise", "0.033", "--replicates", "60", "--samples", "31"})).code, 0);
  const json little = certificate("little");
  EXPECT_EQ(little["findings"]["verdict"], "over-confident");
  EXPECT_LT(figure(little, "row-space chi-square of the data"), 0.9);
  EXPECT_GT(figure(little, "row-space chi-square of the error"), 1.5);
  const Ended ended = run_postrec(prior_arguments("much", {"--told-noise", "0.3", "--replicates", "60", "--samples", "31", "--log-format", "json"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  const json much = certificate("much");
  EXPECT_GT(figure(much, "row-space chi-square of the data"), 1.1);
  EXPECT_EQ(entry(much["findings"]["figures"], "row-space chi-square of the error")["verdict"], "under-confident");
  EXPECT_EQ(json::parse(ended.out)["verdict"], much["findings"]["verdict"]);
}

// Nothing is seen: the samples are the prior's, and there is no row space. All is seen: only noise stands between.
TEST_F(Calibrate, ZeroAndIdentity) {
  for (const char* name : {"zero", "identity"}) {
    // Both are run without the settings of another operator.
    const Ended ended = run_postrec({"calibrate", "--prior", path("real.safetensors"), "--size", "9x8", "--operator", name, "--noise", "0.3", "--steps", "2", "--truth-steps", "2", "--batch-size", "0",
                                     "--threads", "1", "--output", path(name)});
    ASSERT_EQ(ended.code, 0) << ended.err;
    EXPECT_EQ(certificate(name)["findings"]["verdict"], "calibrated") << certificate(name)["findings"]["because"];
    EXPECT_EQ(certificate(name)["findings"]["figures"].size(), name == std::string("zero") ? 10u : 12u);
  }
}

// Two scans that are called alike are two; a scan that has changed is another.
TEST_F(Calibrate, ARecordIsOfItsScan) {
  for (const char* folder : {"a", "b"}) std::filesystem::create_directory(path(folder));
  std::filesystem::copy_file(path("mr.nii.gz"), path("a/t1.nii.gz"));
  Image other = read_scan(path("mr.nii.gz")).image;
  other.pixels = other.pixels.flip({3});
  write_nifti(path("b/t1.nii.gz"), other);
  const auto run = [&](const std::string& output) {
    return run_postrec({"calibrate", path("a/t1.nii.gz"), path("b/t1.nii.gz"), "--prior", path("mr.safetensors"), "--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--noise", "0.1", "--steps", "2",
                        "--samples", "3", "--threads", "1", "--slices", "1", "--journal", path("journal"), "--output", path(output)});
  };
  const Ended first = run("one");
  ASSERT_EQ(first.code, 0) << first.err;
  const auto records = certificate("one")["findings"]["records"];
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0]["name"], "scan 1 't1.nii.gz' slice 1");
  EXPECT_EQ(records[1]["name"], "scan 2 't1.nii.gz' slice 1");
  EXPECT_NE(records[0], records[1]);
  EXPECT_EQ(records[1]["subject"], 1) << "files called alike are of several persons";
  other.pixels = other.pixels * 2.0 + 5.0;
  write_nifti(path("b/t1.nii.gz"), other);
  EXPECT_NE(run("two").code, 0) << "the journal is of other scans";
}

TEST_F(Calibrate, ScansOfOnePersonCountTogether) {
  std::vector<std::string> arguments = {"calibrate"};
  for (const char* name : {"anna_T1.nii.gz", "ben_T1.nii.gz", "anna_T2.nii.gz"}) {
    std::filesystem::copy_file(path("mr.nii.gz"), path(name));
    arguments.push_back(path(name));
  }
  arguments.insert(arguments.end(), {"--prior", path("mr.safetensors"), "--operator", "mri-fourier", "--noise", "0.1", "--steps", "2", "--samples", "3", "--threads", "1", "--slices", "1", "--output", path("out")});
  ASSERT_EQ(run_postrec(arguments).code, 0);
  std::vector<int> subjects;
  const json found = certificate("out");
  for (const auto& record : found["findings"]["records"]) subjects.push_back(record["subject"]);
  EXPECT_EQ(subjects, (std::vector<int>{0, 1, 0}));
}

TEST_F(Calibrate, FewReplicatesAreNotEnough) {
  ASSERT_EQ(run_postrec(prior_arguments("few", {"--replicates", "4", "--samples", "7"})).code, 0);
  EXPECT_EQ(certificate("few")["findings"]["verdict"], "not enough replicates");
}

TEST_F(Calibrate, SlicesOfScans) {
  const Ended ended = run_postrec(scan_arguments("out", {"--phase", "smooth", "--regions", "discs", "--region-rows", "3"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  const json found = certificate("out");
  ASSERT_EQ(found["done"], kSlices);
  EXPECT_EQ(found["findings"]["records"][1]["name"], "'mr.nii.gz' slice 1");
  EXPECT_EQ(found["truths"], "scans");
  const json pixels = entry(found["findings"]["figures"], "coverage of pixels, 95 %");
  EXPECT_NEAR(pixels["right"].get<double>(), 5.0 / 7.0, 1e-6);  // all that six samples can bound
  EXPECT_GT(pixels["value"].get<double>(), 0.0);
  EXPECT_GT(figure(found, "row-space chi-square of the data"), 0.5);
  // The middle of three, and the same samples alone: a record depends on its own slice.
  ASSERT_EQ(run_postrec(scan_arguments("one", {"--slices", "1"})).code, 0);
  EXPECT_EQ(certificate("one")["findings"]["records"][0]["name"], "'mr.nii.gz' slice 1");
  ASSERT_EQ(run_postrec(scan_arguments("ct", {"--against", "scans"})).code, 0);
}

TEST_F(Calibrate, RegionsByLabels) {
  Image labels{at::zeros({1, 1, kHeight, kWidth}), {}, IntensityUnit::kArbitrary};
  labels.pixels.narrow(2, 5, 4).narrow(3, 5, 4).fill_(3.0);
  labels.pixels.narrow(2, 9, 4).narrow(3, 5, 4).fill_(7.0);
  write_nifti(path("labels.nii.gz"), labels);
  ASSERT_EQ(run_postrec(scan_arguments("out", {"--regions", path("labels.nii.gz")})).code, 0);
  const json found = certificate("out");
  ASSERT_FALSE(found["findings"]["records"].empty());
  for (const auto& record : found["findings"]["records"]) {
    const double share = record["regions"][2][2];  // of two regions
    EXPECT_TRUE(share == 0.0 || share == 0.5 || share == 1.0) << share;
  }
  expect_error(run_postrec(prior_arguments("bad", {"--regions", path("labels.nii.gz")})), 65, {"labels.nii.gz", "17x19", "12x11"});
  labels.pixels = labels.pixels.expand({2, 1, kHeight, kWidth}).contiguous();
  write_nifti(path("two.nii.gz"), labels);
  expect_error(run_postrec(scan_arguments("bad", {"--regions", path("two.nii.gz"), "--slices", "2"})), 65, {"two.nii.gz", "2 slices", "slice 2"});
}

// The journal holds what is finished: with more replicates asked for, those that are there are not computed again and come out the same.
TEST_F(Calibrate, GoesOnFromItsJournal) {
  const std::vector<std::string> more = {"--samples", "7", "--journal", path("journal.json")};
  auto with = [&](const std::string& output, const std::string& n, std::vector<std::string> extra = {}) {
    extra.insert(extra.end(), more.begin(), more.end());
    extra.insert(extra.end(), {"--replicates", n});
    return run_postrec(prior_arguments(output, extra));
  };
  ASSERT_EQ(with("three", "3").code, 0);
  std::string journal = content("journal.json");
  // A record that could not come from a computation shows that it was taken from the journal.
  const auto seconds = journal.find("\"seconds\":");
  ASSERT_NE(seconds, std::string::npos);
  journal.replace(seconds, journal.find('}', seconds) - seconds, "\"seconds\":12345.0");
  write_text("journal.json", journal);
  ASSERT_EQ(with("five", "5").code, 0);
  ASSERT_EQ(run_postrec(prior_arguments("fresh", {"--samples", "7", "--replicates", "5"})).code, 0);
  const json resumed = certificate("five")["findings"]["records"], fresh = certificate("fresh")["findings"]["records"];
  ASSERT_EQ(resumed.size(), 5u);
  EXPECT_EQ(resumed[0]["seconds"], 12345.0);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(resumed[i]["ranks"], fresh[i]["ranks"]) << i;
  expect_error(with("other", "5", {"--noise", "0.2"}), 64, {"journal.json", "other options"});
  write_text("journal.json", "{}");
  expect_error(with("other", "5"), 65, {"journal.json"});
  expect_nothing_written("other");
}

TEST_F(Calibrate, InterruptKeepsFinishedTruths) {
  bool sent = false;
  ChildOptions options;
  options.watch = [&](int pid, const std::string& err) {
    const auto last = err.rfind("{\"level\":\"progress\"");
    const auto end = err.find('\n', last == std::string::npos ? err.size() : last);
    if (sent || end == std::string::npos) return;
    const json line = json::parse(err.substr(last, end - last));
    // The fourth of so many truths is at work, or a later one: three are finished.
    sent = line["parts"] == 2000 && line["part"] >= 3 && kill(pid, SIGINT) == 0;
  };
  const Ended ended = run_postrec(prior_arguments("out", {"--samples", "40", "--steps", "50", "--replicates", "2000", "--truth-steps", "1", "--log-format", "json"}), options);
  EXPECT_EQ(ended.code, 130) << ended.err;
  const json found = certificate("out");
  EXPECT_EQ(found["interrupted"], true);
  EXPECT_EQ(found["asked_for"], 2000);
  EXPECT_GE(found["done"], 3);
  EXPECT_LT(found["done"], 2000);
  EXPECT_EQ(found["findings"]["records"].size(), found["done"].get<std::size_t>());
}

TEST_F(Calibrate, ThePageNeedsNoOtherFile) {
  ASSERT_EQ(run_postrec(prior_arguments("out", {"--replicates", "5", "--samples", "7"})).code, 0);
  const std::string page = content("out/certificate.html");
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("src="), std::string::npos);
  for (const char* remote : {"http:", "https:"}) EXPECT_EQ(page.find(remote), std::string::npos) << remote;
  std::size_t plots = 0;
  for (std::size_t at = page.find("<svg"); at != std::string::npos; at = page.find("<svg", at + 1)) ++plots;
  EXPECT_EQ(plots, 1 + 2 * ranked_quantities().size());
  EXPECT_EQ(page.find("nan"), std::string::npos);
  EXPECT_EQ(page.find(">-0<"), std::string::npos);
  EXPECT_NE(page.find("not enough replicates"), std::string::npos);
}

TEST_F(Calibrate, Mistakes) {
  const auto bad = [&](const std::vector<std::string>& more) { return run_postrec(prior_arguments("bad", more)); };
  expect_error(run_postrec({"calibrate", "--operator", "zero", "--noise", "1", "--output", path("bad")}), 64, {"--prior"});
  expect_error(run_postrec({"calibrate", "--prior", path("mr.safetensors"), "--noise", "1", "--output", path("bad")}), 64, {"--operator", "identity"});
  expect_error(run_postrec({"calibrate", "--prior", path("mr.safetensors"), "--operator", "zero", "--output", path("bad")}), 64, {"--noise"});
  expect_error(bad({"--against", "scans"}), 64, {"IMAGE"});
  expect_error(bad({"--slice", "1"}), 64, {"--slice"});
  expect_error(bad({"--size", "12"}), 64, {"--size", "12"});
  expect_error(bad({"--replicates", "0"}), 64, {"--replicates"});
  expect_error(bad({"--samples", "1"}), 64, {"--samples"});
  expect_error(bad({"--told-noise", "-1"}), 64, {"--told-noise"});
  expect_error(bad({"--region-rows", "99"}), 64, {"99x99"});
  expect_error(bad({"--prior", path("real.safetensors")}), 78, {"mri-fourier"});
  expect_error(run_postrec(scan_arguments("bad", {"--against", "prior"})), 64, {"mr.nii.gz"});
  // Noise that is not white is not simulated, and is not passed over.
  write_text("psi.txt", "2 0\n0 1\n");
  for (const auto& arguments : {prior_arguments("bad", {"--noise-model", "poisson", "--blank-scan", "1000"}), scan_arguments("bad", {"--noise-model", "poisson", "--blank-scan", "1000"})})
    expect_error(run_postrec(arguments), 64, {"--noise-model poisson", "white"});
  expect_error(bad({"--noise-covariance", path("psi.txt")}), 64, {"--noise-covariance", "white"});
  expect_error(bad({"--weights", path("psi.txt")}), 64, {"--weights"});
  expect_nothing_written("bad");
}

TEST_F(Calibrate, OnADeviceThatIsNotHere) {
  if (at::hasCUDA()) GTEST_SKIP() << "a CUDA device is here";
  expect_error(run_postrec(prior_arguments("out", {"--device", "cuda"})), 69, {"--device cuda", "no CUDA device"});
  expect_error(run_postrec(scan_arguments("out", {"--device", "cuda"})), 69, {"--device cuda", "no CUDA device"});
  expect_nothing_written("out");
}

TEST_F(Calibrate, OnADeviceThatIsHere) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  for (const auto& [output, arguments] : {std::pair{"prior", prior_arguments("prior", {"--device", "cuda", "--replicates", "12", "--samples", "7"})},
                                          std::pair{"scan", scan_arguments("scan", {"--device", "cuda"})}}) {
    const Ended ended = run_postrec(arguments);
    ASSERT_EQ(ended.code, 0) << ended.err;
    EXPECT_EQ(certificate(output)["device"], "cuda");
  }
}

/// A truth of a Gaussian prior of complex images and its measurement, both on `device`: half of the pixels, with noise.
CalibrationProblem problem_on(at::Device device) {
  constexpr std::int64_t kSize = 16;
  constexpr double kNoise = 0.1;
  PriorInfo info;
  info.name = "test";
  const at::Tensor mask = RandomStreams(9, 0, 1).uniform(0, {kSize, kSize})[0].lt(0.5);
  CalibrationProblem problem;
  problem.name = "replicate 0";
  problem.prior = std::make_shared<GaussianPrior>(SpectralBasis::kDft, test::lorentzian_spectrum(kSize, 0.25), at::zeros({1}), 0.0, info);
  problem.op = std::make_shared<test::MaskOperator>(mask.to(device), 1, at::kComplexFloat);
  SamplerOptions drawing;
  drawing.n_samples = 1;
  drawing.seed = 4;
  drawing.device = device;
  Observer nobody;
  problem.truth = sample(*problem.prior, nullptr, {1, kSize, kSize}, drawing, nobody).x[0];
  problem.y = simulate_slice(*problem.op, problem.truth, kNoise, 5);
  problem.sigma_y = problem.told_sigma_y = kNoise;
  problem.pixels = at::ones({1, kSize, kSize}, at::kBool);
  problem.regions = block_regions(kSize, kSize, 4, 4);
  problem.seed = 6;
  return problem;
}

// The surroundings of a brain are exactly 0, and samples have noise there whose magnitude does not average out. So means are over pixels that count.
TEST(TestFunctionsOfAScan, QuartersAreOfTheObject) {
  CalibrationProblem problem = problem_on(at::kCPU);
  const at::Tensor everywhere = TestFunctions(7).values(problem, problem.truth.unsqueeze(0))[0];
  problem.pixels.narrow(1, 8, 8).fill_(false);  // the lower half is empty
  problem.pixels.narrow(2, 0, 4).fill_(false);  // and half of the left quarter
  const at::Tensor within = TestFunctions(7).values(problem, problem.truth.unsqueeze(0))[0];
  const auto quarter = [](std::int64_t number) {
    const std::vector<std::string> names = ranked_quantities();
    return std::find(names.begin(), names.end(), "quarter mean " + std::to_string(number)) - names.begin();
  };
  EXPECT_NEAR(within[quarter(1)].item<double>(), problem.truth.narrow(1, 0, 8).narrow(2, 4, 4).abs().mean().item<double>(), 1e-6);
  EXPECT_NE(within[quarter(1)].item<double>(), everywhere[quarter(1)].item<double>());
  EXPECT_EQ(within[quarter(2)].item<double>(), everywhere[quarter(2)].item<double>());
  for (const std::int64_t empty : {3, 4}) EXPECT_TRUE(std::isnan(within[quarter(empty)].item<double>())) << empty;
}

CalibrationRecord record_on(at::Device device) {
  const CalibrationProblem problem = problem_on(device);
  EXPECT_EQ(problem.truth.device(), device);
  EXPECT_EQ(problem.y.device(), device);
  TestFunctions functions(7);
  SamplerOptions options;
  options.n_samples = 6;
  options.n_steps = 4;
  Observer nobody;
  return calibrate_problem(problem, functions, options, nobody).value();
}

TEST(CalibrationOnADevice, GivesTheRecordOfTheCpu) {
  const CalibrationRecord here = record_on(at::kCPU), there = record_on(pretend::device());
  // Conjugate gradients stop at 1e-3 of a sample's spread, and the device looks later than the CPU does; the rest is float32 roundings.
  const auto expect_close = [](double a, double b) { EXPECT_NEAR(a, b, 3e-3 * std::abs(b)); };
  expect_close(there.data_chi2, here.data_chi2);
  for (const auto sums : {&CalibrationRecord::image, &CalibrationRecord::measured, &CalibrationRecord::unmeasured}) {
    EXPECT_GT((here.*sums).squared_error, 0.0);
    expect_close((there.*sums).squared_error, (here.*sums).squared_error);
    expect_close((there.*sums).expected, (here.*sums).expected);
  }
  // A value that lies so close to a sample's as to change its place is rare.
  ASSERT_EQ(there.ranks.size(), here.ranks.size());
  for (std::size_t i = 0; i < here.ranks.size(); ++i) EXPECT_NEAR(static_cast<double>(there.ranks[i]), static_cast<double>(here.ranks[i]), 1.0) << ranked_quantities()[i];
  for (std::size_t i = 0; i < kCoverageLevels.size(); ++i) EXPECT_NEAR(there.pixels[i].covered, here.pixels[i].covered, 0.01);
}

TEST(CalibrationOnADevice, ComparesTruthsThereWithTheScore) {
  const CalibrationProblem problem = problem_on(at::kCPU);
  SamplerOptions drawing;
  drawing.n_samples = 12;
  Observer nobody;
  const at::Tensor truths = sample(*problem.prior, nullptr, problem.op->domain().shape, drawing, nobody).x;
  const SteinDiscrepancy here = score_discrepancy(*problem.prior, truths, 0.05, 3), there = score_discrepancy(*problem.prior, truths.to(pretend::device()), 0.05, 3);
  EXPECT_NEAR(there.value, here.value, 1e-3 * std::abs(here.value));  // float32 roundings of the score, which divides them by sigma^2
  EXPECT_NEAR(there.p_value, here.p_value, 0.01);
}

CalibrationRecord record(double covered, double chi2) {
  CalibrationRecord result;
  result.ranks.assign(ranked_quantities().size(), 3);
  for (const double level : kCoverageLevels) {
    result.pixels.push_back({level, level, level - covered});
    result.regions.push_back({level, level, level});
  }
  result.data_chi2 = 1.0;
  result.image = result.unmeasured = {1.0, 1.0};
  result.measured = {chi2, 1.0};
  result.n_samples = 7;
  return result;
}

// Eight records that agree but for .01 up and down: the jackknife gives the standard error of a mean, .01 sqrt(8/7)/sqrt(8). Of as many a right figure passes 4.5 of them as seldom as three
// of known ones.
TEST(CalibrationFindings, JudgeByToleranceAndStandardError) {
  const auto findings = [](std::initializer_list<double> missing, double chi2, bool of_persons = false) {
    std::vector<CalibrationRecord> records;
    for (const double one : missing)
      for (const double more : {0.0, 0.001}) {
        records.push_back(record(one, chi2 + more));
        if (of_persons) records.back().subject = static_cast<std::int64_t>((records.size() - 1) / 4);
      }
    return calibration_findings(records, TruthKind::kScans);
  };
  const auto right = findings({0.01, -0.01, 0.01, -0.01}, 1.1);
  EXPECT_EQ(right["verdict"], "calibrated") << right["because"].dump();
  EXPECT_NEAR(right["figures"][0]["standard_error"].get<double>(), 0.01 * std::sqrt(8.0 / 7.0) / std::sqrt(8.0), 1e-12);
  const auto missed = findings({0.11, 0.09, 0.11, 0.09}, 1.0);
  EXPECT_EQ(missed["verdict"], "over-confident");
  EXPECT_EQ(missed["because"].size(), 4u);
  EXPECT_EQ(findings({0.0, 0.0, 0.0, 0.0}, 0.5)["verdict"], "under-confident");
  EXPECT_EQ(findings({0.2, -0.2, 0.2, -0.1}, 1.0)["verdict"], "not enough replicates");
  // Two that agree are no certainty.
  EXPECT_EQ(findings({0.2}, 1.0)["verdict"], "not enough replicates");
  // Slices of a person err together: two persons with four slices are two numbers.
  const auto of_two = findings({0.01, 0.01, -0.01, -0.01}, 1.0, true);
  EXPECT_NEAR(of_two["figures"][0]["standard_error"].get<double>(), 0.01, 1e-12);
  EXPECT_EQ(calibration_findings({record(0.0, 1.0)}, TruthKind::kScans)["verdict"], "not enough replicates");
}

TEST(CalibrationFindings, ARecordSurvivesItsJson) {
  CalibrationRecord before = record(0.123456789, 1.0 / 3.0);
  before.name = "replicate 1";
  before.nfe = 20;
  EXPECT_EQ(CalibrationRecord::from_json(nlohmann::ordered_json::parse(before.json().dump())).json(), before.json());
  EXPECT_THROW(CalibrationRecord::from_json({{"name", "x"}}), Error);
}

}  // namespace
}  // namespace postrec
