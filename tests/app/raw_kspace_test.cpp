// Measurements as a scanner writes them: ISMRMRD files and k-space of several coils without sensitivity maps.
#include <ATen/ATen.h>

#include <cstdlib>

#include "app_fixture.hpp"
#include "case/coil_maps.hpp"
#include "mrd_files.hpp"
#include "postrec/data/cfl.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kCoils = 4, kRows = 48, kColumns = 40;

at::Tensor centred_dft(const at::Tensor& x, bool forward = true) {
  const std::vector<std::int64_t> axes = {-2, -1};
  const at::Tensor shifted = at::fft_ifftshift(x, axes);
  return at::fft_fftshift(forward ? at::fft_fft2(shifted, c10::nullopt, axes, "ortho") : at::fft_ifft2(shifted, c10::nullopt, axes, "ortho"), axes);
}

class RawKspaceInput : public AppTest {
 protected:
  void SetUp() override {
    AppTest::SetUp();
    truth_ = test_volume(2, kRows, kColumns);
    kspace_ = centred_dft(birdcage_maps(kCoils, kRows, kColumns) * truth_);  // [slice, coil, ky, kx]
    mask_ = at::zeros({kRows, 1});
    mask_.slice(0, 0, kRows, 2).fill_(1);
    mask_.narrow(0, kRows / 2 - 10, 20).fill_(1);
  }

  at::Tensor noise(double sigma) const { return sigma * RandomStreams(5, 0, 1).normal(0, kspace_.sizes().vec(), at::kComplexFloat)[0]; }

  /// Undersampled k-space with noise, after a noise scan, as ISMRMRD.
  void write_scan(const std::string& name, double sigma) const {
    test::MrdWriter writer(path(name), kColumns, kRows);
    writer.add_noise(sigma * RandomStreams(6, 0, 1).normal(0, {kCoils, 2000}, at::kComplexFloat)[0], 5.0);
    writer.add_all((kspace_ + noise(sigma)) * mask_);
  }

  Ended reconstruct(const std::string& input, const std::string& output, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"reconstruct", path(input), "--operator", "mri-fourier", "--prior",   path("mr.safetensors"),
                                          "--samples",   "4",         "--steps",    "6",           "--threads", "1",
                                          "--output",    path(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_postrec(arguments);
  }

  bool has_note(const std::string& output, const std::string& text) const {
    const auto run = run_json(output);
    for (const auto& note : run["notes"])
      if (note.get<std::string>().find(text) != std::string::npos) return true;
    return false;
  }

  /// Relative error of an image of the result, up to one factor: whitened k-space has a unit of its own.
  double error_of(const std::string& file) const {
    const at::Tensor image = read_scan(path(file)).image.pixels;
    EXPECT_EQ(image.sizes(), truth_.sizes());
    const double factor = (image * truth_).sum().item<double>() / image.square().sum().item<double>();
    return ((factor * image - truth_).norm() / truth_.norm()).item<double>();
  }

  at::Tensor truth_, kspace_, mask_;
};

TEST_F(RawKspaceInput, AnIsmrmrdFileIsReconstructed) {
  write_scan("scan.h5", 0.5);
  const Ended ended = reconstruct("scan.h5", "out", {"--force"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto run = run_json("out");
  EXPECT_EQ(run["origin"], "acquired");
  EXPECT_EQ(run["sigma_y"]["value"], 1.0);
  EXPECT_EQ(run["sigma_y"]["source"], "1 after pre-whitening by the noise scan");
  EXPECT_TRUE(has_note("out", "sensitivity maps estimated by ESPIRiT from a 21x24 calibration region"));
  // sigma 3 of pixels up to 100: a PSNR of about 33 dB, and edges that 24x24 samples tell of.
  EXPECT_LT(error_of("out/mean.nii.gz"), 0.12);
  EXPECT_LT(error_of("out/mean.nii.gz"), 0.7 * error_of("out/pseudo_inverse.nii.gz"));
  for (const auto& slice : run["slices"])
    for (const auto& chi2 : slice["reduced_chi2"]) EXPECT_NEAR(chi2.get<double>(), 1.0, 0.3);
  const ImageGeometry geometry = read_scan(path("out/mean.nii.gz")).image.geometry;
  EXPECT_NEAR(geometry.spacing_mm[0], 200.0 / kColumns, 1e-4);
  EXPECT_NEAR(geometry.spacing_mm[1], 100.0 / kRows, 1e-4);
  EXPECT_NEAR(geometry.spacing_mm[2], 5.0, 1e-4);

  // One slice comes out the same alone and among others.
  ASSERT_EQ(reconstruct("scan.h5", "alone", {"--force", "--slice", "1"}).code, 0);
  EXPECT_TRUE(at::equal(read_scan(path("alone/mean.nii.gz")).image.pixels[0], read_scan(path("out/mean.nii.gz")).image.pixels[1]));
}

TEST_F(RawKspaceInput, WhoKnowsTheNoiseIsBelieved) {
  write_scan("scan.h5", 3.0);
  ASSERT_EQ(reconstruct("scan.h5", "given", {"--force", "--sigma-y", "3"}).code, 0);
  const auto run = run_json("given");
  EXPECT_EQ(run["sigma_y"]["source"], "given");
  for (const auto& slice : run["slices"])
    for (const auto& chi2 : slice["reduced_chi2"]) EXPECT_NEAR(chi2.get<double>(), 1.0, 0.3);
}

TEST_F(RawKspaceInput, LinesMeasuredMoreOftenCountMore) {
  {
    test::MrdWriter writer(path("scan.h5"), kColumns, kRows);
    writer.add_noise(3.0 * RandomStreams(6, 0, 1).normal(0, {kCoils, 2000}, at::kComplexFloat)[0], 5.0);
    for (int average = 0; average < 3; ++average) {
      const at::Tensor mask = average == 0 ? mask_ : mask_ * at::arange(kRows).view({kRows, 1}).lt(kRows / 2);
      writer.add_all((kspace_ + 3.0 * RandomStreams(7, average, 1).normal(0, kspace_.sizes().vec(), at::kComplexFloat)[0]) * mask);
    }
  }
  ASSERT_EQ(reconstruct("scan.h5", "out", {"--force"}).code, 0);
  EXPECT_TRUE(has_note("out", "samples are means of 1 to 3 measurements"));
  EXPECT_TRUE(has_note("out", "over its weight"));
  // Half of the lines have a third of the variance: without weights, chi-square would be 2/3.
  const auto run = run_json("out");
  for (const auto& slice : run["slices"])
    for (const auto& chi2 : slice["reduced_chi2"]) EXPECT_NEAR(chi2.get<double>(), 1.0, 0.2);
}

TEST_F(RawKspaceInput, BartFilesNeedNoMapsEither) {
  write_cfl(path("k"), (kspace_ + noise(0.5)) * mask_);
  ASSERT_EQ(reconstruct("k.cfl", "estimated", {"--force", "--sigma-y", "0.5"}).code, 0);
  EXPECT_TRUE(has_note("estimated", "ESPIRiT"));
  EXPECT_LT(error_of("estimated/mean.nii.gz"), 0.12);
  // Maps that are given win.
  write_cfl(path("maps"), birdcage_maps(kCoils, kRows, kColumns).unsqueeze(0));
  ASSERT_EQ(reconstruct("k.cfl", "given", {"--force", "--sigma-y", "0.5", "--set", "sens-maps=" + path("maps.cfl")}).code, 0);
  EXPECT_FALSE(has_note("given", "ESPIRiT"));
  // Without a centre there is nothing to estimate from.
  write_cfl(path("sparse"), (kspace_ + noise(3.0)) * at::arange(kRows).remainder(2).eq(0).view({kRows, 1}));
  expect_error(reconstruct("sparse.cfl", "none", {"--sigma-y", "3"}), 65, {"slice 0", "1x24", "sens-maps"});
  expect_nothing_written("none");
}

// Noise that coils share, far from 1: k-space and its covariance come from here, so that no factor of the program's own can hide in both. Over- or underestimated twice, chi-square would be off
// by a hundred.
TEST_F(RawKspaceInput, ACovarianceIsThatOfTheNoise) {
  const at::Tensor mix = at::eye(kCoils, at::kComplexFloat) + 0.4 * at::ones({kCoils, kCoils}, at::kComplexFloat);  // L; E n n^H = 2 sigma^2 L L^H
  const auto coloured = [&](double sigma) { return mix.matmul(noise(sigma).flatten(2)).view_as(kspace_); };
  write_cfl(path("maps"), birdcage_maps(kCoils, kRows, kColumns).unsqueeze(0));
  constexpr double kSigma = 0.1;
  write_cfl(path("k"), (kspace_ + coloured(kSigma)) * mask_);
  write_cfl(path("psi"), (2.0 * kSigma * kSigma * mix.matmul(mix.conj().t())).view({1, 1, kCoils, kCoils}));
  ASSERT_EQ(reconstruct("k.cfl", "out", {"--force", "--noise-covariance", path("psi.cfl"), "--set", "sens-maps=" + path("maps.cfl")}).code, 0);
  const auto run = run_json("out");
  for (const auto& slice : run["slices"])
    for (const auto& chi2 : slice["reduced_chi2"]) EXPECT_NEAR(chi2.get<double>(), 1.0, 0.2);
  // Where coils share nothing it is the same as their sigma_y.
  write_cfl(path("white"), (kspace_ + noise(kSigma)) * mask_);
  write_cfl(path("unit"), 2.0 * kSigma * kSigma * at::eye(kCoils, at::kComplexFloat).view({1, 1, kCoils, kCoils}));
  ASSERT_EQ(reconstruct("white.cfl", "by_covariance", {"--force", "--noise-covariance", path("unit.cfl"), "--set", "sens-maps=" + path("maps.cfl")}).code, 0);
  ASSERT_EQ(reconstruct("white.cfl", "by_sigma", {"--force", "--sigma-y", "0.1", "--set", "sens-maps=" + path("maps.cfl")}).code, 0);
  EXPECT_NEAR(error_of("by_covariance/mean.nii.gz"), error_of("by_sigma/mean.nii.gz"), 1e-3);
}

// What makes the noise white mixes the coils, and maps that are given are of the coils before.
TEST_F(RawKspaceInput, GivenMapsAreMixedWithTheCoils) {
  const at::Tensor mix = at::eye(kCoils, at::kComplexFloat) + 0.4 * at::ones({kCoils, kCoils}, at::kComplexFloat);
  const auto mixed = [&](const at::Tensor& n) { return mix.matmul(n.flatten(1)).view(n.sizes()); };
  {
    test::MrdWriter writer(path("scan.h5"), kColumns, kRows);
    writer.add_noise(0.5 * mixed(RandomStreams(6, 0, 1).normal(0, {kCoils, 4000}, at::kComplexFloat)[0]), 5.0);
    writer.add_all((kspace_ + 0.5 * mixed(RandomStreams(5, 0, 1).normal(0, {kCoils, kRows, kColumns}, at::kComplexFloat)[0])) * mask_);
  }
  write_cfl(path("maps"), birdcage_maps(kCoils, kRows, kColumns).unsqueeze(0));
  ASSERT_EQ(reconstruct("scan.h5", "out", {"--force", "--set", "sens-maps=" + path("maps.cfl")}).code, 0);
  EXPECT_TRUE(has_note("out", "the given sensitivity maps with them"));
  EXPECT_LT(error_of("out/mean.nii.gz"), 0.12);  // as with estimated maps; .3 with maps of other coils
  const auto run = run_json("out");
  for (const auto& slice : run["slices"])
    for (const auto& chi2 : slice["reduced_chi2"]) EXPECT_NEAR(chi2.get<double>(), 1.0, 0.2);
}

// Lines that one slice has and another has not were taken for measured zeros.
TEST_F(RawKspaceInput, EverySliceHasItsOwnMask) {
  write_cfl(path("maps"), birdcage_maps(kCoils, kRows, kColumns).unsqueeze(0));
  at::Tensor shifted = at::zeros({kRows, 1});
  shifted.slice(0, 1, kRows, 2).fill_(1);
  shifted.narrow(0, kRows / 2 - 10, 20).fill_(1);
  const at::Tensor masks = at::stack({mask_, shifted}).unsqueeze(1), k = (kspace_ + noise(0.5)) * masks;
  write_cfl(path("both"), k);
  write_cfl(path("alone"), k.narrow(0, 1, 1).contiguous());
  const std::vector<std::string> more = {"--force", "--sigma-y", "0.5", "--set", "sens-maps=" + path("maps.cfl")};
  ASSERT_EQ(reconstruct("both.cfl", "both", more).code, 0);
  ASSERT_EQ(reconstruct("alone.cfl", "alone", more).code, 0);
  const auto error = [&](const std::string& output, std::int64_t slice) {
    const at::Tensor image = read_scan(path(output + "/mean.nii.gz")).image.pixels[slice];
    return ((image - truth_[1]).norm() / truth_[1].norm()).item<double>();
  };
  EXPECT_NEAR(error("both", 1), error("alone", 0), 0.01);
}

// A folder's file that names the operator needs a mask no less than a bare one.
TEST_F(RawKspaceInput, AMeasurementOfKspaceNeedsNoMaskEither) {
  write_cfl(path("k"), (kspace_ + noise(0.5)) * mask_);
  write_text("measurement.json", R"({"format": "postrec-measurement/1", "data": "k.cfl", "operator": "mri-fourier", "sigma_y": 0.5})");
  const Ended ended = run_postrec({"reconstruct", path("measurement.json"), "--prior", path("mr.safetensors"), "--samples", "4", "--steps", "6", "--threads", "1", "--force", "--output", path("folder")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  ASSERT_EQ(reconstruct("k.cfl", "bare", {"--force", "--sigma-y", "0.5"}).code, 0);
  EXPECT_TRUE(read_scan(path("folder/mean.nii.gz")).image.pixels.equal(read_scan(path("bare/mean.nii.gz")).image.pixels));
}

// Of k-space that was measured whole a part is used as if the rest had never been measured.
TEST_F(RawKspaceInput, APatternOrAMaskLeavesOutSamples) {
  const std::vector<std::string> how = {"--force", "--sigma-y", "0.5"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), how.begin(), how.end());
    return more;
  };
  const at::Tensor k = kspace_ + noise(0.5);
  write_cfl(path("whole"), k);
  write_cfl(path("part"), k * mask_);
  std::string lines;
  for (std::int64_t row = 0; row < kRows; ++row) lines += mask_[row].item<double>() > 0 ? "1 " : "0 ";
  write_text("lines.txt", lines + "\n");
  ASSERT_EQ(reconstruct("part.cfl", "part", how).code, 0);
  ASSERT_EQ(reconstruct("whole.cfl", "by_mask", with({"--set", "mask=" + path("lines.txt")})).code, 0);
  EXPECT_TRUE(read_scan(path("by_mask/mean.nii.gz")).image.pixels.equal(read_scan(path("part/mean.nii.gz")).image.pixels)) << "the coil maps, too, must know nothing of the rest";
  const Ended by_pattern = reconstruct("whole.cfl", "by_pattern", with({"--set", "mask-pattern=equispaced", "--set", "acceleration=2", "--set", "n-acs-lines=20"}));
  ASSERT_EQ(by_pattern.code, 0) << by_pattern.err;
  EXPECT_FALSE(run_json("by_pattern")["operator"]["parameters"].contains("mask-pattern"));
  EXPECT_LT(error_of("by_pattern/mean.nii.gz"), 0.12);
  // Lines that were never measured stay so, whatever a pattern asks for.
  ASSERT_EQ(reconstruct("part.cfl", "of_part", with({"--set", "mask-pattern=equispaced", "--set", "acceleration=1.5", "--set", "n-acs-lines=20"})).code, 0);
  EXPECT_LT(error_of("of_part/mean.nii.gz"), 0.2);
}

// A mask can leave out what was acquired, and acquire nothing.
TEST_F(RawKspaceInput, AMaskMeasuresNothing) {
  write_cfl(path("part"), (kspace_ + noise(0.5)) * mask_);
  std::string lines;
  for (std::int64_t row = 0; row < kRows; ++row) lines += "1 ";
  write_text("ones.txt", lines + "\n");
  const std::vector<std::string> how = {"--force", "--sigma-y", "0.5"};
  auto masked = how;
  masked.insert(masked.end(), {"--set", "mask=" + path("ones.txt")});
  ASSERT_EQ(reconstruct("part.cfl", "part", how).code, 0);
  ASSERT_EQ(reconstruct("part.cfl", "masked", masked).code, 0);
  EXPECT_TRUE(read_scan(path("masked/mean.nii.gz")).image.pixels.equal(read_scan(path("part/mean.nii.gz")).image.pixels));
  EXPECT_TRUE(has_note("masked", "were not acquired and are left out"));
}

// Four measurements of each sample: the noise of one, said as a number or as a covariance, is twice that of their mean.
TEST_F(RawKspaceInput, WhatIsSaidOfTheNoiseIsOfOneMeasurement) {
  {
    test::MrdWriter writer(path("scan.h5"), kColumns, kRows);
    for (std::uint64_t average = 0; average < 4; ++average) writer.add_all((kspace_ + 3.0 * RandomStreams(7, average, 1).normal(0, kspace_.sizes().vec(), at::kComplexFloat)[0]) * mask_);
  }
  write_cfl(path("psi"), 2.0 * 9.0 * at::eye(kCoils, at::kComplexFloat).view({1, 1, kCoils, kCoils}));
  ASSERT_EQ(reconstruct("scan.h5", "by_sigma", {"--force", "--sigma-y", "3"}).code, 0);
  ASSERT_EQ(reconstruct("scan.h5", "by_covariance", {"--force", "--noise-covariance", path("psi.cfl")}).code, 0);
  for (const char* output : {"by_sigma", "by_covariance"}) {
    const auto run = run_json(output);
    for (const auto& slice : run["slices"])
      for (const auto& chi2 : slice["reduced_chi2"]) EXPECT_NEAR(chi2.get<double>(), 1.0, 0.3) << output;  // .5 where it were taken for that of the mean
  }
}

// Maps are of all the coils that the scanner has.
TEST_F(RawKspaceInput, GivenMapsOfADeadCoilAreLeftOutWithIt) {
  const at::Tensor dead = at::zeros({kspace_.size(0), 1, kRows, kColumns}, at::kComplexFloat), maps = birdcage_maps(kCoils, kRows, kColumns).unsqueeze(0);
  const at::Tensor alive = (kspace_ + noise(3.0)) * mask_;
  test::MrdWriter(path("alive.h5"), kColumns, kRows).add_all(alive);
  test::MrdWriter(path("dead.h5"), kColumns, kRows).add_all(at::cat({dead, alive}, 1));
  write_cfl(path("maps"), maps);
  write_cfl(path("all_maps"), at::cat({at::ones({1, 1, kRows, kColumns}, at::kComplexFloat), maps}, 1));
  ASSERT_EQ(reconstruct("alive.h5", "alive", {"--force", "--set", "sens-maps=" + path("maps.cfl")}).code, 0);
  ASSERT_EQ(reconstruct("dead.h5", "dead", {"--force", "--set", "sens-maps=" + path("all_maps.cfl")}).code, 0);
  EXPECT_TRUE(read_scan(path("dead/mean.nii.gz")).image.pixels.equal(read_scan(path("alive/mean.nii.gz")).image.pixels));
}

TEST_F(RawKspaceInput, BadFilesAreOneErrorEach) {
  write_scan("scan.h5", 3.0);
  const std::string whole = content("scan.h5");
  write_text("half.h5", whole.substr(0, whole.size() / 2));
  expect_error(reconstruct("half.h5", "out"), 65, {"half.h5"});
  write_text("text.h5", "hello");
  expect_error(reconstruct("text.h5", "out"), 65, {"text.h5", "not an HDF5 file"});
  expect_error(reconstruct("missing.h5", "out"), 66, {"missing.h5"});
  expect_nothing_written("out");
}

TEST_F(RawKspaceInput, ABartPhantomAsIsmrmrd) {
  if (std::system("command -v bart >/dev/null 2>&1") != 0) GTEST_SKIP() << "the program 'bart' is not installed";
  ASSERT_EQ(std::system(("cd '" + folder_.string() + "' && bart phantom -k -s8 -x64 k >/dev/null").c_str()), 0);
  at::Tensor kspace = read_cfl(path("k"));
  truth_ = centred_dft(kspace, false).abs().square().sum(1, true).sqrt();  // [1, 1, H, W]
  const double sigma = 0.001 * kspace.abs().max().item<double>();
  kspace = kspace + sigma * RandomStreams(8, 0, 1).normal(0, kspace.sizes().vec(), at::kComplexFloat)[0];
  kspace.narrow(2, 0, 20).slice(2, 0, 20, 2).zero_();
  kspace.narrow(2, 44, 20).slice(2, 1, 20, 2).zero_();
  {
    test::MrdWriter writer(path("phantom.h5"), 64, 64);
    writer.add_noise(sigma * RandomStreams(9, 0, 1).normal(0, {8, 2000}, at::kComplexFloat)[0], 5.0);
    writer.add_all(kspace);
  }
  const Ended ended = reconstruct("phantom.h5", "out", {"--force"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_LT(error_of("out/mean.nii.gz"), 0.15);
  EXPECT_LT(error_of("out/mean.nii.gz"), 0.7 * error_of("out/pseudo_inverse.nii.gz"));
}

TEST_F(RawKspaceInput, ASimulatedScanOfIsmrmrd) {
  const fs::path scan = fs::path(POSTREC_TEST_DATA) / "ismrmrd/simulated_grappa2_4coil.h5";
  if (!fs::exists(scan)) GTEST_SKIP() << "the file ismrmrd/simulated_grappa2_4coil.h5 is not there";
  const Ended ended = run_postrec({"reconstruct", scan.string(), "--prior", path("mr.safetensors"), "--preset", "fast", "--samples", "2", "--steps", "3",
                                   "--threads", "1", "--force", "--output", path("out")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(has_note("out", "24x24 calibration region"));
  EXPECT_TRUE(has_note("out", "the noise scan is not used"));  // it is 256 times smaller than the noise of the image: k-space was scaled, the scan not
  EXPECT_EQ(read_scan(path("out/mean.nii.gz")).image.pixels.sizes(), (at::IntArrayRef{1, 1, 256, 256}));
}

}  // namespace
}  // namespace postrec
