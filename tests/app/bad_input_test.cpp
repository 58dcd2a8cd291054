// Everything that can be wrong with an input or an output: one line, the documented code, nothing left behind.
#include <ATen/ATen.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "app_fixture.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

class BadInput : public AppTest {
 protected:
  Ended simulate_from(const std::string& image, const std::vector<std::string>& more = {}) const {
    auto arguments = mr_arguments("out", more);
    arguments[1] = image;
    return run_postrec(arguments);
  }
};

TEST_F(BadInput, MissingScan) {
  expect_error(simulate_from(path("none.nii.gz")), 66, {"none.nii.gz"});
  expect_nothing_written("out");
}

TEST_F(BadInput, EmptyScan) {
  write_text("empty.nii.gz", "");
  expect_error(simulate_from(path("empty.nii.gz")), 65, {"empty.nii.gz"});
  expect_nothing_written("out");
}

TEST_F(BadInput, TruncatedScan) {
  const std::string whole = content("mr.nii.gz");
  write_text("half.nii.gz", whole.substr(0, whole.size() / 2));
  expect_error(simulate_from(path("half.nii.gz")), 65, {"half.nii.gz"});
  expect_nothing_written("out");
}

TEST_F(BadInput, ScanWithNan) {
  Image image = read_scan(path("mr.nii.gz")).image;
  image.pixels[1][0][3][4] = std::numeric_limits<float>::quiet_NaN();
  // write_nifti may refuse what is not finite, so the NaN goes into the bytes of an uncompressed file.
  image.pixels = image.pixels.nan_to_num(12345.0);
  write_nifti(path("nan.nii"), image);
  std::string bytes = content("nan.nii");
  const float marker = 12345.0f, nan = std::numeric_limits<float>::quiet_NaN();
  const auto at = bytes.find(std::string(reinterpret_cast<const char*>(&marker), sizeof marker));
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, sizeof nan, std::string(reinterpret_cast<const char*>(&nan), sizeof nan));
  write_text("nan.nii", bytes);
  expect_error(simulate_from(path("nan.nii")), 65, {"nan.nii"});
  expect_nothing_written("out");
}

// A folder with what cannot even be looked at. Names in it may be patients'.
TEST_F(BadInput, ALinkToItselfIsNotNamed) {
  fs::create_directory(path("series"));
  fs::create_symlink("DOE^JANE", path("series/DOE^JANE"));
  const Ended ended = simulate_from(path("series"));
  expect_error(ended, 66, {"holds no DICOM file"});
  EXPECT_EQ(ended.err.find("JANE"), std::string::npos) << ended.err;
  expect_nothing_written("out");
}

TEST_F(BadInput, WrongSizedMaskAndMeasurement) {
  write_text("mask.txt", "1 0 1\n0 1 0\n");
  expect_error(run_postrec({"reconstruct", path("mr.nii.gz"), "--simulate", "--operator", "mri-fourier", "--set", "mask=" + path("mask.txt"), "--noise", "0.1", "--prior",
                            path("mr.safetensors"), "--output", path("out")}),
               65, {"mask"});
  expect_nothing_written("out");
  ASSERT_EQ(run_postrec({"simulate", path("mr.nii.gz"), "--operator", "mri-fourier", "--noise", "0.1", "--output", path("m")}).code, 0);
  std::string kspace = content("m/kspace.cfl");
  write_text("m/kspace.cfl", kspace.substr(0, kspace.size() - 8));
  expect_error(run_postrec({"reconstruct", path("m"), "--prior", path("mr.safetensors"), "--output", path("out")}), 65, {"kspace"});
  expect_nothing_written("out");
}

TEST_F(BadInput, UnknownKeyNamesTheNearest) {
  expect_error(run_postrec(mr_arguments("out", {"--set", "mask-sed=3"})), 78, {"mask-sed", "mask-seed"});
  expect_error(run_postrec(mr_arguments("out", {"--set", "acceleration=5"})), 64, {"acceleration", "twice"});
  expect_error(run_postrec(mr_arguments("out", {"--set", "noequals"})), 64, {"noequals", "key=value"});
  expect_error(run_postrec(mr_arguments("out", {"--set", "mask-seed=often"})), 78, {"mask-seed", "often"});
  expect_nothing_written("out");
}

TEST_F(BadInput, UnknownOperatorNamesTheNearest) {
  expect_error(run_postrec({"reconstruct", path("mr.nii.gz"), "--simulate", "--operator", "mri-furier", "--noise", "0.1", "--output", path("out")}), 69,
               {"mri-furier", "mri-fourier"});
  expect_nothing_written("out");
}

TEST_F(BadInput, WrongPrior) {
  const auto with_prior = [&](const std::string& prior) {
    return run_postrec({"reconstruct", path("mr.nii.gz"), "--simulate", "--operator", "mri-fourier", "--noise", "0.1", "--prior", prior, "--output", path("out")});
  };
  expect_error(with_prior("no-such-prior"), 69, {"no-such-prior"});
  expect_error(with_prior(path("none.safetensors")), 66, {"none.safetensors"});
  expect_error(with_prior(path("real.safetensors")), 78, {"real", "complex"});
  const std::string whole = content("mr.safetensors");
  write_text("half.safetensors", whole.substr(0, whole.size() / 2));
  expect_error(with_prior(path("half.safetensors")), 65, {"half.safetensors"});
  expect_nothing_written("out");
}

TEST_F(BadInput, ValuesOutOfRange) {
  for (const auto& [option, value] : {std::pair<std::string, std::string>{"--samples", "0"}, {"--steps", "0"}, {"--samples", "-3"}, {"--interval", "1.5"}, {"--device", "abacus"},
                                      {"--threads", "-1"}, {"--sampler", "guess"}, {"--precision", "float16"}, {"--slice", "99"}, {"--unit", "kelvin"}, {"--samples", "two"}, {"--tolerance", "0"}, {"--steps", "4096"}, {"--nfe", "1000001"}}) {
    expect_error(run_postrec(mr_arguments("out", {option, value})), 64, {option.substr(2)});
  }
  expect_nothing_written("out");
}

// An option without a meaning is most often one with another meaning in mind.
TEST_F(BadInput, OptionsThatMeanNothingAreRefused) {
  expect_error(run_postrec({"reconstruct", path("mr.nii.gz"), "--seed", "-1", "--output", path("out")}), 64, {"--seed is -1", "0 or above"});
  expect_error(run_postrec(mr_arguments("out", {"--uncertainty-as", "scaled16"})), 64, {"--uncertainty-as", "without --dicom"});
  expect_error(run_postrec(mr_arguments("out", {"--noise-model", "gaussian", "--expansions", "5"})), 64, {"--expansions", "poisson"});
  expect_error(run_postrec({"evaluate", path("out"), "--truth", path("mr.nii.gz"), "--slices", "3"}), 64, {"--slices", "without --compare"});
  expect_error(run_postrec({"calibrate", path("mr.nii.gz"), "--prior", path("mr.safetensors"), "--operator", "mri-fourier", "--noise", "0.1", "--replicates", "3", "--output", path("out")}), 64,
               {"--replicates", "with an IMAGE"});
  expect_error(run_postrec({"train", path("mr.nii.gz"), "--prediction", "noise", "--licence", "CC0", "--output", path("a.safetensors")}), 64, {"--prediction", "without --measure"});
  expect_error(run_postrec({"likelihood", path("mr.nii.gz"), "--prior", path("mr.safetensors"), "--threshold", "nan"}), 64, {"--threshold"});
  expect_nothing_written("out");
}

// The views of a sinogram are what it has.
TEST_F(BadInput, ASinogramIsAsItsOperatorMeasures) {
  write_nifti(path("sinogram.nii.gz"), {at::rand({1, 1, 24, 31}), {}, IntensityUnit::kArbitrary});
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--set", "n-views=3"}, {"--set", "n-views=31", "--set", "n-detectors=24"}}) {
    std::vector<std::string> words = {"reconstruct", path("sinogram.nii.gz"), "--operator", "ct-radon", "--unit", "hu", "--sigma-y", "0.01", "--prior", path("ct.safetensors"), "--output", path("out")};
    words.insert(words.end(), wrong.begin(), wrong.end());
    expect_error(run_postrec(words), 65, {"[24, 31]", "'ct-radon' measures"});
  }
}

TEST_F(BadInput, APriorIsAFile) {
  ASSERT_EQ(mkfifo(path("pipe.safetensors").c_str(), 0600), 0);
  expect_error(run_postrec(mr_arguments("out", {"--prior", path("pipe.safetensors")})), 65, {"pipe.safetensors", "no regular file"});
}

// The first slices of a stack of another scan would be taken.
TEST_F(BadInput, AStackOfMasksIsOfThisScan) {
  for (const std::int64_t n : {2, 5}) {
    write_nifti(path("masks.nii.gz"), {at::ones({n, 1, 17, 19}), {}, IntensityUnit::kArbitrary});
    for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--slice", "1"}}) {
      std::vector<std::string> words = {"reconstruct", path("mr.nii.gz"), "--simulate", "--operator", "masking", "--set", "mask=" + path("masks.nii.gz"), "--noise", "0.1", "--prior", path("ct.safetensors"), "--output", path("out")};
      words.insert(words.end(), more.begin(), more.end());
      expect_error(run_postrec(words), 78, {"'mask' has " + std::to_string(n) + " slices", "3 are measured"});
    }
  }
}

TEST_F(BadInput, TwoWordsForOneThing) {
  expect_error(run_postrec(mr_arguments("out", {"--nfe", "10", "--steps", "3"})), 64, {"--steps", "--nfe"});
  expect_nothing_written("out");
}

// A builtin operator of the same name may take the place of what was refused.
TEST_F(BadInput, ARefusedPluginFolderIsSaid) {
  const Ended ended = run_postrec(mr_arguments("out", {"--plugin-dir", path("nosuch")}));
  EXPECT_EQ(ended.code, 0);
  EXPECT_NE(ended.err.find("nosuch"), std::string::npos) << ended.err;
}

TEST_F(BadInput, NegativeValuesOfAScanAreSaidWhereMagnitudesComeOut) {
  Image image = read_scan(path("mr.nii.gz")).image;
  const auto note_of = [&](const Image& scan) {
    write_nifti(path("other.nii.gz"), scan);
    const Ended ended = run_postrec({"simulate", path("other.nii.gz"), "--operator", "mri-fourier", "--noise", "0.1", "--output", path("y"), "--on-existing", "overwrite"});
    EXPECT_EQ(ended.code, 0) << ended.err;
    return ended.err.find("values below 0") != std::string::npos;
  };
  image.pixels = image.pixels.abs();
  EXPECT_FALSE(note_of(image));
  image.pixels[0][0][0][0] = -1.0f;
  EXPECT_TRUE(note_of(image));
}

TEST_F(BadInput, AnImageIsNoKspace) {
  expect_error(run_postrec({"reconstruct", path("mr.nii.gz"), "--operator", "mri-fourier", "--sigma-y", "1", "--prior", path("mr.safetensors"), "--output", path("out")}), 64, {"mr.nii.gz", "complex", "--simulate"});
  expect_nothing_written("out");
}

TEST_F(BadInput, ATruthInAnotherPlaceIsSaid) {
  ASSERT_EQ(run_postrec(mr_arguments("out")).code, 0);
  Image truth = read_scan(path("mr.nii.gz")).image;
  const auto said = [&](const std::string& file) { return run_postrec({"evaluate", path("out"), "--truth", path(file)}).err.find("turned nor mirrored") != std::string::npos; };
  EXPECT_FALSE(said("mr.nii.gz"));
  for (const int entry : {0, 3, 6}) truth.geometry.direction[static_cast<std::size_t>(entry)] *= -1.0;
  write_nifti(path("mirrored.nii.gz"), truth);
  EXPECT_TRUE(said("mirrored.nii.gz"));
}

TEST_F(BadInput, ASettingThatGoesBeforeTheMeasurementIsSaid) {
  ASSERT_EQ(run_postrec({"simulate", path("ct.nii.gz"), "--unit", "hu", "--slice", "0", "--operator", "ct-radon", "--set", "n-views=12", "--noise", "1", "--output", path("y")}).code, 0);
  const auto notes = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"reconstruct", path("y"), "--prior", path("ct.safetensors"), "--samples", "2", "--steps", "2", "--on-existing", "overwrite", "--output", path("x")};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(run_postrec(words).code, 0);
    return run_json("x")["notes"].dump();
  };
  EXPECT_EQ(notes({}).find("goes before"), std::string::npos);
  EXPECT_NE(notes({"--set", "first-angle-rad=0.3", "--set", "n-views=12"}).find("--set n-views goes before"), std::string::npos);
}

TEST_F(BadInput, APrecisionThatTheCpuHasNot) {
  const std::string scan = path("mr.nii.gz"), prior = path("real.safetensors"), out = path("out");
  for (const char* precision : {"tf32", "bfloat16"}) {
    const std::vector<std::string> words = {"--precision", precision};
    const auto refused = [&](std::vector<std::string> command) {
      command.insert(command.end(), words.begin(), words.end());
      expect_error(run_postrec(command), 69, {precision, "CUDA", "float32"});
    };
    expect_error(run_postrec(mr_arguments("out", {"--device", "cpu", "--precision", precision})), 69, {precision, "CUDA", "float32"});
    refused({"sample", "--prior", prior, "--size", "16x16", "--output", out});
    refused({"calibrate", "--prior", prior, "--operator", "identity", "--noise", "0.1", "--size", "16x16", "--output", out});
    refused({"evaluate", scan, "--compare", "bridge", "--device", "cpu", "--operator", "mri-fourier", "--noise", "0.1"});
  }
  expect_nothing_written("out");
}

TEST_F(BadInput, NoiseMustBeKnown) {
  expect_error(run_postrec({"reconstruct", path("mr.nii.gz"), "--simulate", "--operator", "mri-fourier", "--output", path("out")}), 64, {"--noise", "--sigma-y"});
  expect_error(simulate_from(path("mr.nii.gz"), {"--sigma-y", "0"}), 64, {"sigma-y"});
  expect_error(simulate_from(path("mr.nii.gz"), {"--sigma-y", "nan"}), 64, {"sigma-y"});
  expect_nothing_written("out");
}

TEST_F(BadInput, AnImageWithoutSimulateSaysWhatToDo) {
  expect_error(run_postrec({"reconstruct", path("mr.nii.gz"), "--prior", path("mr.safetensors"), "--output", path("out")}), 64, {"mr.nii.gz", "--operator", "--simulate"});
  expect_nothing_written("out");
}

TEST_F(BadInput, OutputThatCannotBe) {
  expect_error(run_postrec(mr_arguments("")), 64, {"--output"});  // the test's folder: it holds the input
  expect_error(run_postrec(mr_arguments("out", {"--output", ""})), 64, {"--output is empty"});
  expect_error(run_postrec(mr_arguments("mr.nii.gz")), 64, {"mr.nii.gz", "same place"});
  expect_error(run_postrec(mr_arguments("ct.nii.gz/out")), 73, {"ct.nii.gz/out"});
  expect_error(run_postrec(mr_arguments("out", {"--output", "/proc/out"})), 73, {"/proc/out"});
  auto missing = mr_arguments("out");
  missing.resize(missing.size() - 2);
  expect_error(run_postrec(missing), 64, {"--output is missing"});
}

TEST_F(BadInput, NoWritePermission) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  fs::create_directories(folder_ / "locked");
  fs::permissions(folder_ / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  expect_error(run_postrec(mr_arguments("locked/out")), 73, {"locked/out"});
  fs::permissions(folder_ / "locked", fs::perms::owner_all);
}

TEST_F(BadInput, ADiskThatFillsUpLeavesNothing) {
  ChildOptions full;
  full.file_size_limit = 1024;  // the volumes of 969 voxels need more, compressed too
  const Ended ended = run_postrec(mr_arguments("deep/er/out", {"--quiet"}), full);
  expect_error(ended, 74, {"out"});
  expect_nothing_written("out");
  EXPECT_FALSE(fs::exists(folder_ / "deep")) << "a parent folder was left behind";
}

}  // namespace
}  // namespace postrec
