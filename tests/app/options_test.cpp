// Options whose parts are tested where they are made, seen through the program.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "app_fixture.hpp"
#include "postrec/network_prior.hpp"
#include "postrec/prior_file.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

Weights weights_of(const Prior& prior) { return dynamic_cast<const NetworkPrior&>(prior).network().network().weights(); }

double largest_difference(const Weights& a, const Weights& b) {
  double largest = 0.0;
  for (const auto& [name, weight] : a) largest = std::max(largest, (weight - b.at(name)).abs().max().item<double>());
  return largest;
}

class ProgramOptions : public AppTest {};

TEST_F(ProgramOptions, OnlyPluginsOfTheAllowFileAreTaken) {
  const auto described = nlohmann::json::parse(run_postrec({"plugins", "describe", "mri-fourier", "--log-format", "json"}).out);
  const auto hash = described["plugin"]["sha256"].get<std::string>();
  write_text("its.txt", "# of mri-fourier alone\n" + hash + "\n");
  const Ended allowed = run_postrec(mr_arguments("allowed", {"--slice", "1", "--plugin-allow", path("its.txt")}));
  ASSERT_EQ(allowed.code, 0) << allowed.err;
  EXPECT_EQ(run_json("allowed")["operator"]["plugin"]["sha256"], hash);
  EXPECT_NE(allowed.err.find("is not in the allow file"), std::string::npos) << "of the other plugins: " << allowed.err;

  write_text("another.txt", std::string(64, '0') + "\n");
  const Ended refused = run_postrec(mr_arguments("refused", {"--slice", "1", "--plugin-allow", path("another.txt")}));
  EXPECT_EQ(refused.code, 69) << refused.err;
  EXPECT_NE(refused.err.find("sha256 " + hash + " is not in the allow file"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("postrec: error: no plugin offers the operator 'mri-fourier'"), std::string::npos) << refused.err;
  expect_nothing_written("refused");
  expect_error(run_postrec(mr_arguments("refused", {"--plugin-allow", path("none.txt")})), 66, {"none.txt"});
}

TEST_F(ProgramOptions, LevelsAreAsTheUserSays) {
  ASSERT_EQ(run_postrec(mr_arguments("out", {"--slice", "1", "--levels", "geometric", "--sigma-max", "8", "--sigma-min", "0.5"})).code, 0);
  const auto run = run_json("out");
  EXPECT_EQ(run["sampler"]["levels"], "geometric");
  EXPECT_EQ(run["sampler"]["sigma_min"], 0.5);
  const auto sigmas = run["slices"][0]["sigmas"].get<std::vector<double>>();
  ASSERT_EQ(sigmas.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(sigmas[i], 8.0 * std::pow(2.0, -4.0 / 3.0 * static_cast<double>(i)), 1e-12);
  expect_error(run_postrec(mr_arguments("no", {"--levels", "cosine"})), 64, {"levels", "cosine", "geometric"});
  expect_error(run_postrec(mr_arguments("no", {"--sigma-max", "2", "--sigma-min", "3"})), 64, {"sigma_min", "3", "below"});
}

// A quarter of a sample's spread is a step or two of conjugate gradients, 1e-5 of it many.
TEST_F(ProgramOptions, ToleranceEndsTheLinearSolver) {
  const auto iterations = [&](const std::string& tolerance) {
    EXPECT_EQ(run_postrec(mr_arguments("by_" + tolerance, {"--slice", "1", "--tolerance", tolerance})).code, 0);
    const auto run = run_json("by_" + tolerance);
    EXPECT_DOUBLE_EQ(run["sampler"]["tolerance"].get<double>(), std::stod(tolerance));
    const auto of_levels = run["slices"][0]["solve_iterations"].get<std::vector<int>>();
    return *std::max_element(of_levels.begin(), of_levels.end());
  };
  EXPECT_GT(iterations("1e-5"), 2 * iterations("0.25"));
  expect_error(run_postrec(mr_arguments("no", {"--tolerance", "1"})), 64, {"solve.tolerance", "between 0 and 1"});
}

// One step at next to no learning rate leaves a network as it begins: fresh, or as the file has it.
TEST_F(ProgramOptions, TrainingBeginsFromTheFileThatIsGiven) {
  for (const char* name : {"anna_T1.nii.gz", "ben_T1.nii.gz"}) fs::copy_file(path("mr.nii.gz"), path(name));
  const auto trained = [&](const std::string& output, const std::vector<std::string>& more) {
    std::vector<std::string> words = {"train", path("anna_T1.nii.gz"), path("ben_T1.nii.gz"), "--kind", "network", "--licence", "CC0", "--widths", "8,16", "--blocks", "1,1",
                                      "--table-size", "16", "--batch-pixels", "1152", "--threads", "1", "--output", path(output)};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = run_postrec(words);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return load_prior(path(output));
  };
  const auto first = trained("first.safetensors", {"--steps", "20", "--warm-up", "0"});
  const auto fresh = trained("fresh.safetensors", {"--steps", "1", "--learning-rate", "1e-12"});
  const auto tuned = trained("tuned.safetensors", {"--steps", "1", "--learning-rate", "1e-12", "--from", path("first.safetensors")});
  EXPECT_LT(largest_difference(weights_of(*tuned), weights_of(*first)), 1e-6);  // the average of equal numbers below 1, in float32
  EXPECT_GT(largest_difference(weights_of(*fresh), weights_of(*first)), 1e-3);
  const std::string of_tuned = tuned->info().training, of_fresh = fresh->info().training;
  EXPECT_NE(of_tuned.find("; fine-tuned from first.safetensors"), std::string::npos) << of_tuned;
  EXPECT_EQ(of_fresh.find("fine-tuned"), std::string::npos) << of_fresh;
}

}  // namespace
}  // namespace postrec
