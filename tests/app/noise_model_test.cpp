// The noise models as the program offers them: weights, coils that share their noise, photon counts; and sigma_y when nobody gives it.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "app_fixture.hpp"
#include "case/noise_estimate.hpp"
#include "case/noise_model.hpp"
#include "case/unmeasured_rays.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

class NoiseModelOption : public AppTest {
 protected:
  /// Reconstruct the simulated scan ct.nii.gz from 40 views into `output`.
  std::vector<std::string> ct_arguments(const std::string& output, const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"reconstruct", path("ct.nii.gz"), "--simulate", "--unit", "hu", "--operator", "ct-radon", "--set", "n-views=40", "--prior",
                                          path("ct.safetensors"), "--samples", "4", "--steps", "6", "--slice", "1", "--threads", "1", "--output", path(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  double mean_chi2(const std::string& output) const {
    double sum = 0.0;
    std::int64_t n = 0;
    const auto run = run_json(output);
    for (const auto& slice : run["slices"])
      for (const auto& chi2 : slice["reduced_chi2"]) {
        sum += chi2.get<double>();
        ++n;
      }
    return sum / static_cast<double>(n);
  }
};

TEST_F(NoiseModelOption, CountsAreExplained) {
  const Ended ended = run_postrec(ct_arguments("out", {"--noise-model", "poisson", "--blank-scan", "1e3", "--background", "5"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.out.find("the counts are Poisson"), std::string::npos) << ended.out;
  // Some 900 rays meet the image: a standard deviation of .05, and the prior, which is smoother than the image, adds .14. Weights that
  // were half of what is right would give 2.
  EXPECT_NEAR(mean_chi2("out"), 1.0, 0.3);
  const auto run = run_json("out");
  EXPECT_EQ(run["sigma_y"]["source"], "none: the counts are Poisson");
  EXPECT_EQ(run["slices"][0]["nfe"], 6 * 3);  // two small runs before it
}

// What was simulated as counts stays counts: the folder says so, and nobody has to say it again.
TEST_F(NoiseModelOption, AFolderOfCountsIsReconstructedAsTheSimulationItself) {
  const std::vector<std::string> model = {"--noise-model", "poisson", "--blank-scan", "1e4", "--background", "3"};
  std::vector<std::string> simulate = {"simulate", path("ct.nii.gz"), "--unit", "hu", "--operator", "ct-radon", "--set", "n-views=40", "--slice", "1", "--output", path("counts")};
  simulate.insert(simulate.end(), model.begin(), model.end());
  ASSERT_EQ(run_postrec(simulate).code, 0);
  const auto reconstructed = [&](const std::string& output, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"reconstruct", path("counts"), "--prior", path("ct.safetensors"), "--samples", "4", "--steps", "6", "--threads", "1", "--output", path(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_postrec(arguments);
  };
  const Ended ended = reconstructed("out", {});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.out.find("the counts are Poisson"), std::string::npos) << ended.out;
  // The truth lies between -1000 and 100 HU; with 40 views of 19 columns the mean must be near it. 100 HU is a tenth of the range.
  const at::Tensor truth = read_scan(path("ct.nii.gz")).image.pixels[1], mean = read_scan(path("out/mean.nii.gz")).image.pixels[0];
  EXPECT_LT((mean - truth).abs().mean().item<double>(), 100.0);
  // To say it again changes nothing, and to say something else goes first.
  ASSERT_EQ(reconstructed("again", model).code, 0);
  EXPECT_EQ(content("again/mean.nii.gz"), content("out/mean.nii.gz"));
  ASSERT_EQ(reconstructed("other", {"--blank-scan", "2e4"}).code, 0);
  // Twice the photons without an object are a line integral that is larger by log 2 on every ray.
  EXPECT_GT((read_scan(path("other/mean.nii.gz")).image.pixels[0] - mean).mean().item<double>(), 300.0);
  // Contradictions.
  expect_error(reconstructed("bad", {"--noise-model", "gaussian"}), 64, {"holds photon counts", "gaussian"});
  expect_error(reconstructed("bad", {"--noise-model", "weighted", "--weights", path("ct.nii.gz")}), 64, {"holds photon counts", "weighted"});
  expect_error(reconstructed("bad", {"--sigma-y", "0.1"}), 64, {"--sigma-y"});
  expect_error(reconstructed("bad", {"--blank-scan", "0"}), 64, {"--blank-scan 0"});
  expect_nothing_written("bad");
}

TEST_F(NoiseModelOption, CountsOfALineIntegralMeasurementAreAContradiction) {
  ASSERT_EQ(run_postrec({"simulate", path("ct.nii.gz"), "--unit", "hu", "--operator", "ct-radon", "--set", "n-views=40", "--slice", "1", "--noise", "0.5", "--output", path("lines")}).code, 0);
  expect_error(run_postrec({"reconstruct", path("lines"), "--prior", path("ct.safetensors"), "--noise-model", "poisson", "--blank-scan", "1e4", "--output", path("out")}), 64, {"poisson", "sigma_y"});
}

// One weight for each detector: the noise is simulated with it and explained by it. Taken for white it is not explained: half of the
// entries have a chi-square of 4, half of 1/4.
TEST_F(NoiseModelOption, WeightsAreThoseOfTheNoise) {
  std::string weights;
  for (int detector = 0; detector < 26; ++detector) weights += detector % 2 ? "4 " : "0.25 ";
  write_text("weights.txt", weights + "\n");
  const std::vector<std::string> model = {"--noise-model", "weighted", "--weights", path("weights.txt")};
  std::vector<std::string> simulate = {"simulate", path("ct.nii.gz"), "--unit", "hu", "--operator", "ct-radon", "--set", "n-views=40", "--set", "n-detectors=26", "--noise", "5",
                                       "--slice", "1", "--output", path("weighted")};
  simulate.insert(simulate.end(), model.begin(), model.end());
  ASSERT_EQ(run_postrec(simulate).code, 0);
  const auto reconstructed = [&](const std::string& output, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"reconstruct", path("weighted"), "--prior", path("ct.safetensors"), "--samples", "4", "--steps", "6", "--threads", "1", "--output", path(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Ended ended = run_postrec(arguments);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return mean_chi2(output);
  };
  // Some 900 rays: a standard deviation of .05 for right weights, four of them; .1 for white, whose half with a chi-square of 4 has that
  // of 450 rays times 4.
  EXPECT_NEAR(reconstructed("right", model), 1.0, 0.2);
  EXPECT_GT(reconstructed("white", {}), 1.6);
  auto missing = model;
  missing.back() = path("no.txt");
  expect_error(run_postrec(ct_arguments("out", missing)), 66, {"no.txt"});
}

TEST_F(NoiseModelOption, CoilsThatShareTheirNoise) {
  write_text("psi.txt", "8 4\n4 4\n");
  const std::vector<std::string> coils = {"--noise-covariance", path("psi.txt")};
  auto arguments = mr_arguments("out", coils);
  const auto noise = std::find(arguments.begin(), arguments.end(), "--noise");
  arguments.erase(noise, noise + 2);
  const Ended ended = run_postrec(arguments);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto run = run_json("out");
  EXPECT_NEAR(run["sigma_y"]["value"].get<double>(), std::sqrt((8 + 4) / 4.0), 1e-6);  // half of the mean variance in each real component
  EXPECT_NE(run["sigma_y"]["source"].get<std::string>().find("--noise-covariance"), std::string::npos);
  // 3 slices of 2 x 17 x 19 / 1.5 complex samples: 1 +- .03, and the prior is not that of the image.
  EXPECT_NEAR(mean_chi2("out"), 1.0, 0.3);
}

TEST_F(NoiseModelOption, RefusesWhatDoesNotFit) {
  expect_error(run_postrec(ct_arguments("out", {"--noise-model", "poisson"})), 64, {"--blank-scan"});
  expect_error(run_postrec(ct_arguments("out", {"--noise", "0.2", "--blank-scan", "100"})), 64, {"--blank-scan", "poisson"});
  expect_error(run_postrec(ct_arguments("out", {"--noise-model", "poisson", "--blank-scan", "100", "--noise", "0.1"})), 64, {"--noise", "poisson"});
  expect_error(run_postrec(ct_arguments("out", {"--noise-model", "poisson", "--blank-scan", "0"})), 64, {"--blank-scan"});
  expect_error(run_postrec(ct_arguments("out", {"--noise-model", "sometimes"})), 64, {"sometimes", "poisson"});
  expect_error(run_postrec(mr_arguments("out", {"--noise-model", "poisson", "--blank-scan", "100", "--noise", "0.1"})), 64, {"poisson"});
  write_text("three.txt", "1 0 0\n0 1 0\n0 0 1\n");
  auto arguments = mr_arguments("out", {"--noise-covariance", path("three.txt")});
  const auto noise = std::find(arguments.begin(), arguments.end(), "--noise");
  arguments.erase(noise, noise + 2);
  expect_error(run_postrec(arguments), 78, {"3 coils"});
  write_nifti(path("turned.nii.gz"), {at::ones({1, 1, 19, 40}), {}, IntensityUnit::kArbitrary});  // [detector, view] for [view, detector]
  expect_error(run_postrec(ct_arguments("out", {"--noise-model", "weighted", "--weights", path("turned.nii.gz"), "--set", "n-detectors=19", "--noise", "5"})), 78, {"--weights", "[19, 40]", "[40, 19]"});
  write_text("weights.txt", "1 2 3 4 5\n");
  expect_error(run_postrec(ct_arguments("out", {"--noise-model", "weighted", "--weights", path("weights.txt")})), 78, {"--weights", "5"});
  expect_nothing_written("out");
}

// A stack of files is cut to the slice; a list goes with the detectors.
TEST_F(NoiseModelOption, FilesOfSeveralSlicesAreCutToTheirs) {
  Image stack{at::arange(1, 3 * 4 * 5 + 1, at::kFloat).view({3, 1, 4, 5}), {}, IntensityUnit::kArbitrary};
  write_nifti(path("blank.nii.gz"), stack);
  NoiseOptions options;
  options.kind = NoiseKind::kPoisson;
  options.blank_scan = path("blank.nii.gz");
  const NoiseModel model(options, 3);
  // Without background, a count of b e^-1 stands for a line integral of 1 where b is that of the slice.
  const at::Tensor counts = stack.pixels[2][0] * std::exp(-1.0f);
  EXPECT_LT((model.slice(2, {{4, 5}, at::kFloat}).linear_data(counts) - 1.0).abs().max().item<double>(), 1e-5);
  options.blank_scan = "100";
  EXPECT_LT((NoiseModel(options, 3).slice(2, {{4, 5}, at::kFloat}).linear_data(at::full({4, 5}, 10.0f)) - std::log(10.0)).abs().max().item<double>(), 1e-5);
}

// ---- sigma_y when nobody gives it ----

TEST(NoiseEstimate, FindsTheNoiseOfASinogramAndLeavesOutWhatWasNotMeasured) {
  const double sigma = 0.02;
  const at::Tensor view = at::arange(90, at::kFloat).unsqueeze(1), detector = at::arange(120, at::kFloat).unsqueeze(0);
  // A disc that turns around: line integrals up to 4, edges as steep as those of a disc.
  const at::Tensor offset = (detector - 60 - 10 * (view * (2 * M_PI / 90)).cos()) / 40;
  const at::Tensor clean = 4 * (1 - offset.square()).clamp_min(0).sqrt();
  at::Tensor y = (clean + sigma * RandomStreams(4, 0, 1).normal(0, {90, 120}, at::kFloat)[0]).unsqueeze(0);
  y.slice(2, 0, 10).zero_();
  const auto estimate = estimate_smooth_noise(y);
  ASSERT_TRUE(estimate.has_value());
  // 9000 differences, of which a neighbourhood shares noise: about 9000/4 of them count, and the median has a relative standard error of
  // 1.17/sqrt(2250) = .025. Four of them, and two hundredths of bias from the disc's edge: one false alarm in 16,000 seeds, and the seed
  // is fixed.
  EXPECT_NEAR(*estimate, sigma, 0.12 * sigma);
  EXPECT_EQ(estimate_noise(y)->sigma_y, *estimate);
  EXPECT_NE(estimate_noise(y)->from.find("differences"), std::string::npos);
  EXPECT_FALSE(estimate_smooth_noise(at::zeros_like(y)).has_value());
  EXPECT_FALSE(estimate_smooth_noise(y.slice(1, 0, 8)).has_value());
}

TEST(NoiseEstimate, WhatOneSliceOrCoilDidNotMeasureIsNoNoise) {
  const double sigma = 0.05;
  const at::Tensor noise = sigma * RandomStreams(6, 0, 1).normal(0, {4, 2, 64, 64}, at::kComplexFloat)[0];
  // Of 4 x 2 x 205 magnitudes whose density at the median is .59/sigma the median has a relative standard error of .018: four of them are one false alarm in 16,000 seeds.
  const double tolerance = 4 * 0.018 * sigma;
  ASSERT_NEAR(estimate_kspace_noise(noise).value(), sigma, tolerance);
  at::Tensor own_lines = noise.clone();
  for (std::int64_t slice = 0; slice < 4; ++slice) own_lines[slice].slice(1, slice % 2, 64, 2).zero_();
  EXPECT_NEAR(estimate_kspace_noise(own_lines).value(), sigma, 2 * tolerance);  // half of the numbers, and room
  at::Tensor dead_coil = noise.clone();
  dead_coil.select(1, 1).zero_();
  EXPECT_NEAR(estimate_kspace_noise(dead_coil).value(), sigma, 2 * tolerance);
}

TEST_F(NoiseModelOption, AnEstimatedSigmaYIsSaid) {
  Image sinogram{(at::sin(at::arange(60, at::kFloat) / 9).unsqueeze(0).square() + 0.05 * RandomStreams(4, 0, 1).normal(0, {40, 60}, at::kFloat)[0]).view({1, 1, 40, 60}), {},
                 IntensityUnit::kHounsfield};
  sinogram.geometry.spacing_mm = {1.25, 1.25, 3.0};
  write_nifti(path("sinogram.nii.gz"), sinogram);
  const Ended ended = run_postrec({"reconstruct", path("sinogram.nii.gz"), "--unit", "hu", "--operator", "ct-radon", "--set", "n-views=40", "--set", "n-detectors=60", "--set", "height=17",
                                   "--set", "width=19", "--prior", path("ct.safetensors"), "--samples", "1", "--steps", "2", "--output", path("out")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.out.find("estimated from second differences"), std::string::npos) << ended.out;
  const auto run = run_json("out");
  EXPECT_NE(run["sigma_y"]["source"].get<std::string>().find("estimated"), std::string::npos);
  EXPECT_NEAR(run["sigma_y"]["value"].get<double>(), 0.05, 0.01);
}

TEST(UnmeasuredRays, LieBetweenTheirNeighbours) {
  // A ramp in both directions is what its neighbours say it is, but at the ends.
  const at::Tensor ramp = at::arange(5, at::kFloat).mul(10).unsqueeze(1) + at::arange(6, at::kFloat);
  at::Tensor measured = at::ones({5, 6}, at::kBool);
  measured[1].slice(0, 2, 4).fill_(false);
  measured[3].fill_(false);
  measured[4][0].fill_(false);
  const at::Tensor filled = fill_unmeasured_rays(ramp.masked_fill(measured.logical_not(), -1e3), measured);
  at::Tensor wanted = ramp.clone();
  wanted[4][0].fill_(41.0f);                   // the next element's
  wanted[3][0].fill_(0.5f * (20 + 41));
  EXPECT_TRUE(at::allclose(filled, wanted)) << filled;
  EXPECT_TRUE(at::equal(fill_unmeasured_rays(ramp, at::ones({5, 6}, at::kBool)), ramp));
  EXPECT_TRUE(at::equal(fill_unmeasured_rays(ramp, at::zeros({5, 6}, at::kBool)), ramp)) << "nothing is known of any";
}

}  // namespace
}  // namespace postrec
