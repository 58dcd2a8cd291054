// The main job on tiny scans: what is written, what run.json says, what may not change the samples.
#include <ATen/ATen.h>
#include <signal.h>

#include <filesystem>

#include "app_fixture.hpp"
#include "postrec/data/cfl.hpp"
#include "postrec/data/scan.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

class Reconstruct : public AppTest {};

TEST_F(Reconstruct, SimulatedScanGivesEveryFileAndItsGeometry) {
  const Ended ended = run_postrec(mr_arguments("out"));
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.err.find_first_of("\r\033"), std::string::npos) << ended.err;  // no progress bar where there is no terminal
  EXPECT_NE(ended.out.find("SIMULATED"), std::string::npos) << ended.out;
  for (const char* name : {"mean.nii.gz", "standard_deviation.nii.gz", "interval_lower.nii.gz", "interval_upper.nii.gz", "samples.nii.gz", "sample_1.nii.gz",
                           "pseudo_inverse.nii.gz", "mean.png", "standard_deviation.png", "pseudo_inverse.png", "sample_1.png", "truth.png", "run.json", "report.txt"})
    EXPECT_TRUE(fs::exists(folder_ / "out" / name)) << name;
  EXPECT_NE(content("out/report.txt").find("SIMULATED"), std::string::npos);
  const Image mean = read_scan(path("out/mean.nii.gz")).image;
  const Image source = read_scan(path("mr.nii.gz")).image;
  EXPECT_EQ(mean.pixels.sizes(), source.pixels.sizes());
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(mean.geometry.spacing_mm[i], source.geometry.spacing_mm[i], 1e-6);  // NIfTI holds float32
    EXPECT_NEAR(mean.geometry.origin_mm[i], source.geometry.origin_mm[i], 1e-5);
  }
  const at::Tensor lower = read_scan(path("out/interval_lower.nii.gz")).image.pixels, upper = read_scan(path("out/interval_upper.nii.gz")).image.pixels;
  EXPECT_TRUE(lower.le(upper).all().item<bool>());
}

TEST_F(Reconstruct, RunJsonIsEnoughToRepeatTheRun) {
  ASSERT_EQ(run_postrec(mr_arguments("out", {"--seed", "7"})).code, 0);
  const auto run = run_json("out");
  EXPECT_EQ(run["origin"], "simulated");
  EXPECT_NE(run["label"].get<std::string>().find("SIMULATED"), std::string::npos);
  EXPECT_EQ(run["program"]["name"], "postrec");
  EXPECT_EQ(run["operator"]["name"], "mri-fourier");
  EXPECT_EQ(run["operator"]["plugin"]["sha256"].get<std::string>().size(), 64u);
  EXPECT_EQ(run["prior"]["sha256"].get<std::string>().size(), 64u);
  EXPECT_EQ(run["sampler"]["seed"], 7);
  EXPECT_EQ(run["device"], "cpu");
  EXPECT_EQ(run["precision"], "float32");
  EXPECT_EQ(run["interrupted"], false);
  EXPECT_EQ(run["sigma_y"]["source"], "simulated");
  ASSERT_EQ(run["slices"].size(), 3u);
  for (const auto& slice : run["slices"]) {
    EXPECT_EQ(slice["reduced_chi2"].size(), 3u);
    EXPECT_EQ(slice["misfit_trace"].size(), 4u);
    EXPECT_EQ(slice["nfe"], 4);
  }
  EXPECT_NE(run["slices"][0]["seed"], run["slices"][1]["seed"]);
  ASSERT_TRUE(run.contains("quality"));
  EXPECT_TRUE(run["quality"]["mean"]["ssim"].is_number());
  auto command = run["command"].get<std::vector<std::string>>();
  const auto output = std::find(command.begin(), command.end(), path("out"));
  ASSERT_TRUE(output != command.end());
  *output = path("again");
  const Ended again = run_postrec({command.begin() + 1, command.end()});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(content("again/samples.nii.gz"), content("out/samples.nii.gz"));
}

TEST_F(Reconstruct, SameSeedGivesTheSameBytesWhateverBatchAndThreads) {
  ASSERT_EQ(run_postrec(mr_arguments("a", {"--batch-size", "1", "--threads", "1"})).code, 0);
  ASSERT_EQ(run_postrec(mr_arguments("b", {"--batch-size", "3", "--threads", "2"})).code, 0);
  ASSERT_EQ(run_postrec(mr_arguments("c", {"--seed", "1"})).code, 0);
  EXPECT_EQ(content("a/samples.nii.gz"), content("b/samples.nii.gz"));
  EXPECT_NE(content("a/samples.nii.gz"), content("c/samples.nii.gz"));
}

TEST_F(Reconstruct, ASliceAloneComesOutAsAmongOthers) {
  ASSERT_EQ(run_postrec(mr_arguments("all", {"--phase", "smooth"})).code, 0);
  ASSERT_EQ(run_postrec(mr_arguments("one", {"--phase", "smooth", "--slice", "2"})).code, 0);
  const Image all = read_scan(path("all/sample_1.nii.gz")).image, one = read_scan(path("one/sample_1.nii.gz")).image;
  ASSERT_EQ(one.pixels.size(0), 1);
  EXPECT_TRUE(at::equal(all.pixels[2], one.pixels[0]));
  EXPECT_NEAR(one.geometry.origin_mm[2], all.geometry.origin_mm[2] + 2 * 3.0, 1e-5);
}

TEST_F(Reconstruct, CtComesBackInHounsfieldUnits) {
  const Ended ended = run_postrec({"reconstruct", path("ct.nii.gz"), "--simulate", "--unit", "hu", "--operator", "ct-radon", "--set", "n-views=40", "--noise", "0.2", "--slice",
                                   "1", "--prior", path("ct.safetensors"), "--samples", "4", "--steps", "6", "--output", path("out")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto run = run_json("out");
  EXPECT_EQ(run["unit"], "hu");
  // The truth lies between -1000 and 100 HU; with 40 views of 19 columns the mean must be near it. 100 HU is a tenth of the range.
  const at::Tensor truth = read_scan(path("ct.nii.gz")).image.pixels[1];
  const at::Tensor mean = read_scan(path("out/mean.nii.gz")).image.pixels[0];
  EXPECT_LT((mean - truth).abs().mean().item<double>(), 100.0);
}

TEST_F(Reconstruct, RealOperatorsTakeRealPriors) {
  ASSERT_EQ(run_postrec({"train", path("mr.nii.gz"), "--basis", "dct", "--table-size", "32", "--pixel-mm", "1.25", "--licence", "CC0", "--output", path("fitted.safetensors")}).code, 0);
  const Ended ended = run_postrec({"reconstruct", path("mr.nii.gz"), "--simulate", "--operator", "masking", "--set", "pattern=random", "--set", "keep-fraction=0.3",
                                   "--noise", "0.05", "--prior", path("fitted.safetensors"), "--samples", "4", "--steps", "10", "--output", path("out")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  // Where the prior fits, a sample explains the 97 seen pixels as well as the truth does: 1. Over three slices the standard deviation is sqrt(2/291) = 0.083; four of them
  // are one false alarm in 16,000 seeds, and the seed is fixed. Counting the hidden pixels too would give 0.3.
  const auto run = run_json("out");
  double sum = 0;
  for (const auto& slice : run["slices"])
    for (const auto& chi2 : slice["reduced_chi2"]) sum += chi2.get<double>() / 12;
  EXPECT_NEAR(sum, 1.0, 0.33);
}

TEST_F(Reconstruct, AMeasurementFolderIsReconstructedWithItsOwnOperator) {
  const Ended simulated = run_postrec({"simulate", path("mr.nii.gz"), "--operator", "mri-fourier", "--simulate-coils", "2", "--set", "mask-pattern=equispaced", "--set",
                                       "acceleration=2", "--set", "n-acs-lines=5", "--noise", "0.1", "--output", path("measurement")});
  ASSERT_EQ(simulated.code, 0) << simulated.err;
  EXPECT_NE(simulated.out.find("SIMULATED"), std::string::npos);
  ASSERT_EQ(run_postrec({"reconstruct", path("measurement"), "--prior", path("mr.safetensors"), "--samples", "3", "--steps", "4", "--output", path("from_file")}).code, 0);
  ASSERT_EQ(run_postrec(mr_arguments("direct")).code, 0);
  const auto run = run_json("from_file");
  EXPECT_EQ(run["origin"], "simulated");
  EXPECT_EQ(run["sigma_y"]["source"], "measurement file");
  EXPECT_FALSE(run.contains("quality"));
  EXPECT_EQ(content("from_file/samples.nii.gz"), content("direct/samples.nii.gz"));
}

TEST_F(Reconstruct, BareKspaceTakesMaskAndNoiseFromItself) {
  ASSERT_EQ(run_postrec({"simulate", path("mr.nii.gz"), "--slice", "1", "--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--set", "acceleration=2", "--set",
                         "n-acs-lines=5", "--noise", "0.1", "--output", path("measurement")}).code, 0);
  const Ended ended = run_postrec({"reconstruct", path("measurement/kspace.cfl"), "--operator", "mri-fourier", "--prior", path("mr.safetensors"), "--samples", "2", "--steps",
                                   "4", "--output", path("out")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto run = run_json("out");
  EXPECT_EQ(run["origin"], "acquired");
  EXPECT_FALSE(run.contains("label"));
  EXPECT_NE(run["sigma_y"]["source"].get<std::string>().find("estimated"), std::string::npos);
  EXPECT_EQ(run["operator"]["parameters"]["mask"]["shape"], nlohmann::json({kHeight, kWidth}));
}

TEST_F(Reconstruct, InterruptKeepsFinishedSamples) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string output = "out" + std::to_string(signal);
    bool sent = false;
    ChildOptions options;
    options.watch = [&](int pid, const std::string& err) {
      // Two samples of 50 steps are done: from here on a stop must keep them.
      const auto last = err.rfind("{\"level\":\"progress\"");
      const auto end = err.find('\n', last == std::string::npos ? err.size() : last);
      if (sent || end == std::string::npos) return;
      const auto line = nlohmann::json::parse(err.substr(last, end - last));
      if (line["done"] < 100) return;
      sent = true;
      kill(pid, signal);
    };
    const Ended ended = run_postrec(mr_arguments(output, {"--slice", "1", "--samples", "100000", "--steps", "50", "--batch-size", "1", "--log-format", "json"}), options);
    EXPECT_EQ(ended.code, 128 + signal) << ended.err;
    const auto run = run_json(output);
    EXPECT_EQ(run["interrupted"], true);
    EXPECT_GE(run["samples_kept"], 2);
    EXPECT_LT(run["samples_kept"], 100000);
    EXPECT_NE(content(output + "/report.txt").find("INTERRUPTED"), std::string::npos);
    EXPECT_EQ(nlohmann::json::parse(ended.out)["interrupted"], true);
  }
}

TEST_F(Reconstruct, QuietSaysNothing) {
  const Ended ended = run_postrec(mr_arguments("out", {"--quiet"}));
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.out + ended.err, "");
}

TEST_F(Reconstruct, OverwriteReplacesResultsAlone) {
  ASSERT_EQ(run_postrec(mr_arguments("out")).code, 0);
  const std::string before = content("out/run.json");
  expect_error(run_postrec(mr_arguments("out")), 73, {"out", "--on-existing"});
  EXPECT_EQ(content("out/run.json"), before);
  ASSERT_EQ(run_postrec(mr_arguments("out", {"--on-existing", "overwrite", "--seed", "9"})).code, 0);
  EXPECT_EQ(run_json("out")["sampler"]["seed"], 9);
  fs::create_directories(folder_ / "precious");
  write_text("precious/thesis.txt", "x");
  expect_error(run_postrec(mr_arguments("precious", {"--on-existing", "overwrite"})), 73, {"precious", "not a result"});
  EXPECT_EQ(content("precious/thesis.txt"), "x");
}

}  // namespace
}  // namespace postrec
