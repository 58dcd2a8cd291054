// postrec evaluate --compare.
#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "app_fixture.hpp"
#include "result/comparison.hpp"
#include "result/matching_slices.hpp"
#include "result/quality.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

TEST(Comparison, SlicesAreNumbersAndRanges) {
  EXPECT_EQ(parse_slices("3,7,10-12"), (std::vector<std::int64_t>{3, 7, 10, 11, 12}));
  for (const char* wrong : {"", ",", "3,,4", "a", "5-3", "-2", "1-", "99999999999"}) EXPECT_THROW(parse_slices(wrong), Error) << wrong;
}

TEST(Comparison, MatchingSlicesAreAllOrThoseNumbered) {
  const at::Tensor volume = at::arange(4, at::kFloat).view({4, 1, 1, 1});
  EXPECT_EQ(matching_slices(volume, {5, 6, 7, 8}, "x").size(0), 4);  // as many: the result's own slices
  EXPECT_EQ(matching_slices(volume, {3, 1}, "x").flatten()[0].item<float>(), 3.0f);
  EXPECT_THROW(matching_slices(volume, {4}, "x"), Error);
}

TEST(Comparison, MethodsAreWrittenWithSolverAndSettings) {
  SamplerOptions shared;
  shared.n_samples = 5;
  const ComparedMethod plain = parse_method("bridge", shared);
  EXPECT_EQ(plain.sampler.method, "bridge");
  EXPECT_EQ(plain.sampler.n_samples, 5);
  const ComparedMethod full = parse_method("dps/ancestral:zeta=0.25", shared);
  EXPECT_EQ(full.sampler.method, "dps");
  EXPECT_EQ(full.sampler.solver, "ancestral");
  EXPECT_EQ(full.sampler.settings.at("zeta"), 0.25);
  for (const char* wrong : {"", "brigde", "dps/nothing", "dps:zeta", "dps:zeta=much", "dps:nothing=1", "bridge/ancestral"}) EXPECT_THROW(parse_method(wrong, shared), Error) << wrong;
}

TEST(Quality, SpreadOverErrorIsOneForARightStandardDeviation) {
  // An error of +-2 everywhere, and a standard deviation of 2: the mean of n samples adds 1/n to the variance.
  const at::Tensor truth = test_volume(1, 23, 29);
  const at::Tensor sign = at::where(at::arange(29, at::kFloat).remainder(2).gt(0), at::ones({29}), -at::ones({29}));
  const auto quality = judge({.mean = truth + 2 * sign, .n_samples = 4, .standard_deviation = at::full_like(truth, 2.0)}, truth, IntensityUnit::kArbitrary);
  EXPECT_NEAR(quality["spread_over_error"]["all"].get<double>(), std::sqrt(1.25), 1e-5);  // float32 images
  EXPECT_NEAR(quality["spread_over_error"]["object"].get<double>(), std::sqrt(1.25), 1e-5);
}

class Compare : public AppTest {
 protected:
  std::vector<std::string> arguments(const std::string& methods, const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"evaluate", path("mr.nii.gz"), "--compare", methods, "--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--set", "acceleration=2",
                                      "--set", "n-acs-lines=5", "--simulate-coils", "2", "--noise", "0.1", "--prior", path("mr.safetensors"), "--samples", "3", "--steps", "4",
                                      "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  Ended compared(const std::string& methods, const std::vector<std::string>& more) const {
    std::vector<std::string> words = arguments(methods, more);
    words.insert(words.end(), {"--log-format", "json"});
    return run_postrec(words);
  }
};

TEST_F(Compare, FiguresAreThoseOfReconstruct) {
  const Ended ended = compared("bridge,bridge", {"--slices", "1"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto comparison = nlohmann::json::parse(ended.out);
  ASSERT_EQ(comparison["methods"].size(), 2u);
  const auto figures = comparison["methods"][0]["mean"], again = comparison["methods"][1]["mean"];
  ASSERT_EQ(run_postrec(mr_arguments("out", {"--slice", "1"})).code, 0);
  const auto quality = run_json("out")["quality"];
  EXPECT_EQ(figures["psnr_mean_db"], quality["mean"]["psnr_db"]);
  EXPECT_EQ(figures["psnr_sample_db"], quality["one_sample"]["psnr_db"]);
  EXPECT_EQ(figures["coverage"], quality["interval_coverage"]["object"]);
  EXPECT_EQ(figures["coverage_expected"], quality["interval_coverage"]["expected"]);
  EXPECT_EQ(figures["spread"], quality["spread_over_error"]["object"]);
  EXPECT_EQ(figures["nfe"], 4.0);
  EXPECT_EQ(figures["levels"], 4.0);
  EXPECT_GE(figures["network_share"].get<double>(), 0.0);
  EXPECT_LE(figures["network_share"].get<double>(), 1.0);
  for (const char* name : {"psnr_mean_db", "psnr_sample_db", "ssim_mean", "coverage", "spread", "reduced_chi2"}) EXPECT_EQ(figures[name], again[name]) << name;
}

TEST_F(Compare, AveragesSlicesAndWritesTables) {
  const Ended ended = compared("bridge,dps", {"--slices", "0-1", "--table", path("t.json")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto comparison = nlohmann::json::parse(content("t.json"));
  EXPECT_EQ(comparison["slices"], 2);
  EXPECT_EQ(comparison["simulated"], true);
  for (const auto& row : comparison["methods"]) {
    ASSERT_EQ(row["slices"].size(), 2u);
    double sum = 0;
    for (const auto& slice : row["slices"]) sum += slice["figures"]["reduced_chi2"].get<double>();
    EXPECT_NEAR(row["mean"]["reduced_chi2"].get<double>(), sum / 2, 1e-12 * sum);
  }
  ASSERT_EQ(compared("bridge,dps", {"--slices", "0-1", "--table", path("t.csv")}).code, 0);
  std::istringstream csv(content("t.csv"));
  std::vector<std::string> lines;
  for (std::string line; std::getline(csv, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 5u);  // a header, two methods with two slices each
  EXPECT_EQ(lines[0].rfind("method,image,slice,psnr_mean_db,", 0), 0u);
  for (const auto& line : lines) EXPECT_EQ(std::count(line.begin(), line.end(), ','), std::count(lines[0].begin(), lines[0].end(), ',')) << line;
}

// One scan is there, the next is none: an hour of the first would be lost with it.
TEST_F(Compare, TheTableKeepsWhatWasFinished) {
  write_text("broken.nii.gz", "no scan");
  const Ended ended = compared("bridge", {path("broken.nii.gz"), "--slices", "0-1", "--table", path("t.json")});
  EXPECT_EQ(ended.code, 65) << ended.err;
  EXPECT_NE(ended.err.find("broken.nii.gz"), std::string::npos);
  const auto kept = nlohmann::json::parse(content("t.json"));
  EXPECT_EQ(kept["slices"], 2);
  EXPECT_EQ(kept["interrupted"], true);
  EXPECT_EQ(kept["methods"][0]["slices"].size(), 2u);
  const Ended whole = compared("bridge", {"--slices", "0-1", "--table", path("t.json"), "--on-existing", "overwrite"});
  ASSERT_EQ(whole.code, 0) << whole.err;
  const auto all = nlohmann::json::parse(content("t.json"));
  EXPECT_EQ(all["interrupted"], false);
  EXPECT_EQ(all["methods"][0]["mean"]["psnr_mean_db"], kept["methods"][0]["mean"]["psnr_mean_db"]);
}

TEST_F(Compare, AMethodThatCannotDropsOut) {
  const Ended ended = compared("prior,bridge", {"--slices", "1"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.err.find("warning"), std::string::npos);
  const auto methods = nlohmann::json::parse(ended.out)["methods"];
  EXPECT_NE(methods[0]["failure"].get<std::string>().find("prior"), std::string::npos);
  EXPECT_TRUE(methods[1].contains("mean"));
  const Ended alone = compared("prior", {"--slices", "1"});
  EXPECT_EQ(alone.code, 64) << alone.err;
  EXPECT_EQ(alone.out, "");
}

TEST_F(Compare, EqualTimeChoosesTheLevels) {
  std::vector<std::string> words = arguments("bridge,dps", {"--slices", "1", "--seconds", "0.5", "--log-format", "json"});
  *(std::find(words.begin(), words.end(), "--steps") + 1) = "2000";
  const Ended ended = run_postrec(words);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto comparison = nlohmann::json::parse(ended.out);
  ASSERT_EQ(comparison["methods"].size(), 2u);
  for (const auto& row : comparison["methods"]) {
    // How many levels of a millisecond or so fit is the machine's affair, but there may be no more than a thousand: these are not those of --steps.
    EXPECT_GE(row["mean"]["levels"].get<double>(), 1.0);
    EXPECT_LE(row["mean"]["levels"].get<double>(), 1000.0);
  }
}

// Without annealing, next to no noise leaves conjugate gradients on their way: the run that counts says so, those that warm up or find out the time do not.
TEST_F(Compare, OnlyTheRunThatCountsComplains) {
  for (const std::vector<std::string>& time : {std::vector<std::string>{}, {"--seconds", "0.5"}}) {
    std::vector<std::string> words = arguments("bridge:anneal=0", {"--slices", "1"});
    *(std::find(words.begin(), words.end(), "--noise") + 1) = "1e-5";
    words.insert(words.end(), time.begin(), time.end());
    const Ended ended = run_postrec(words);
    ASSERT_EQ(ended.code, 0) << ended.err;
    std::size_t complaints = 0;
    for (std::size_t at = ended.err.find("conjugate gradients"); at != std::string::npos; at = ended.err.find("conjugate gradients", at + 1)) ++complaints;
    EXPECT_EQ(complaints, 1u) << ended.err;
  }
}

TEST_F(Compare, AcquiredDataAgainstAGivenTruth) {
  ASSERT_EQ(run_postrec({"simulate", path("mr.nii.gz"), "--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--set", "acceleration=2", "--set", "n-acs-lines=5",
                         "--simulate-coils", "2", "--noise", "0.1", "--output", path("data")})
                .code,
            0);
  const std::vector<std::string> words = {"evaluate", path("data"), "--compare", "bridge", "--truth", path("mr.nii.gz"), "--slices", "1", "--prior", path("mr.safetensors"),
                                          "--samples", "3", "--steps", "4", "--threads", "1", "--log-format", "json"};
  const Ended given = run_postrec(words), simulated = compared("bridge", {"--slices", "1"});
  ASSERT_EQ(given.code, 0) << given.err;
  // The same data by another door; the folder holds float32 numbers as they are.
  EXPECT_EQ(nlohmann::json::parse(given.out)["methods"][0]["mean"]["psnr_mean_db"], nlohmann::json::parse(simulated.out)["methods"][0]["mean"]["psnr_mean_db"]);
}

TEST_F(Compare, Mistakes) {
  expect_error(run_postrec(arguments("brigde", {})), 64, {"brigde", "bridge"});
  expect_error(run_postrec(arguments("bridge", {"--sampler", "dps"})), 64, {"--sampler"});
  expect_error(run_postrec(arguments("bridge", {"--slices", "1", "--slice", "1"})), 64, {"--slices"});
  expect_error(run_postrec(arguments("bridge", {"--slices", "9"})), 64, {"9"});
  expect_error(run_postrec(arguments("bridge", {"--seconds", "0"})), 64, {"--seconds"});
  expect_error(run_postrec(arguments("bridge", {"--table", path("t.txt")})), 64, {"t.txt", ".csv"});
  write_text("t.csv", "mine");
  expect_error(run_postrec(arguments("bridge", {"--table", path("t.csv")})), 73, {"t.csv", "overwrite"});
  EXPECT_EQ(content("t.csv"), "mine");
}

}  // namespace
}  // namespace postrec
