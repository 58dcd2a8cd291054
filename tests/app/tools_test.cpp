// train, evaluate, plugins.
#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>

#include "app_fixture.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/prior_file.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

/// Four slices of about 0 to 100, of which the first is empty and the last nearly so: .055 of the fullest.
at::Tensor half_empty_volume(std::int64_t height, std::int64_t width) {
  const at::Tensor volume = test_volume(4, height, width);
  volume[0].zero_();
  volume[3].mul_(0.05);
  return volume;
}

class Train : public AppTest {};

TEST_F(Train, FitsAPriorThatReconstructs) {
  const Ended ended = run_postrec({"train", path("mr.nii.gz"), "--basis", "dft", "--table-size", "32", "--pixel-mm", "1.25", "--name", "mine", "--licence", "CC0", "--trained-on",
                                   "a phantom", "--output", path("mine.safetensors")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto prior = load_prior(path("mine.safetensors"));
  EXPECT_EQ(prior->info().name, "mine");
  EXPECT_EQ(prior->info().licence, "CC0");
  EXPECT_EQ(prior->info().trained_on, "a phantom; 3 slices of 1 scans, smooth synthetic phase");
  EXPECT_EQ(prior->info().intensity, PriorIntensity::kPercentile);
  // A prior that knows the spectrum of these images beats zero-filling.
  ASSERT_EQ(run_postrec(mr_arguments("out", {"--phase", "smooth", "--slice", "1", "--prior", path("mine.safetensors"), "--samples", "12", "--steps", "12"})).code, 0);
  const auto quality = run_json("out")["quality"];
  EXPECT_LT(quality["mean"]["nrmse"].get<double>(), quality["pseudo_inverse"]["nrmse"].get<double>());
}

TEST_F(Train, SkipsEmptySlicesAndTakesFolders) {
  fs::create_directories(folder_ / "scans");
  Image half_empty = read_scan(path("ct.nii.gz")).image;
  half_empty.pixels = half_empty_volume(kHeight, kWidth) * 12 - 1000;  // what is empty is air
  write_nifti(path("scans/a.nii.gz"), half_empty);
  fs::copy_file(folder_ / "ct.nii.gz", folder_ / "scans/b.nii.gz");
  write_text("scans/readme.txt", "not a scan");
  const Ended ended = run_postrec({"train", path("scans"), "--basis", "dct", "--intensity", "relative-water", "--unit", "hu", "--table-size", "16", "--output",
                                   path("ct2.safetensors"), "--licence", "CC0", "--log-format", "json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto line = nlohmann::json::parse(ended.out);
  EXPECT_EQ(line["scans"], 2);
  EXPECT_EQ(line["slices"], 5);  // two of a, three of b
  EXPECT_EQ(load_prior(path("ct2.safetensors"))->info().intensity, PriorIntensity::kRelativeWater);
}

// A slice of zeros has no scale of its own, and one of noise the wrong one.
TEST_F(Train, AndCalibrateSkipTheSameSlices) {
  Image image = read_scan(path("mr.nii.gz")).image;
  image.pixels = half_empty_volume(kHeight, kWidth);
  write_nifti(path("half_mr.nii.gz"), image);
  image.pixels = image.pixels * 12 - 1000;
  write_nifti(path("half_ct.nii.gz"), image);
  const Ended trained = run_postrec({"train", path("half_mr.nii.gz"), "--licence", "CC0", "--table-size", "16", "--output", path("half.safetensors"), "--log-format", "json"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(nlohmann::json::parse(trained.out)["slices"], 2);

  const auto calibrated = [&](const std::string& kind, const std::vector<std::string>& measured) {
    std::vector<std::string> words = {"calibrate", path("half_" + kind + ".nii.gz"), "--prior", path(kind + ".safetensors"), "--steps", "2", "--samples", "3", "--threads", "1", "--output", path(kind)};
    words.insert(words.end(), measured.begin(), measured.end());
    const Ended ended = run_postrec(words);
    EXPECT_EQ(ended.code, 0) << ended.err;
    const auto certificate = nlohmann::json::parse(content(kind + "/certificate.json"));
    std::vector<std::string> names;
    for (const auto& record : certificate["findings"]["records"]) names.push_back(record["name"]);
    return names;
  };
  EXPECT_EQ(calibrated("mr", {"--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--noise", "0.1"}),
            (std::vector<std::string>{"'half_mr.nii.gz' slice 1", "'half_mr.nii.gz' slice 2"}));
  EXPECT_EQ(calibrated("ct", {"--unit", "hu", "--operator", "ct-radon", "--set", "n-views=12", "--noise", "1"}),
            (std::vector<std::string>{"'half_ct.nii.gz' slice 1", "'half_ct.nii.gz' slice 2"}));
}

TEST_F(Train, SameInputGivesTheSameFile) {
  for (const char* name : {"a.safetensors", "b.safetensors"})
    ASSERT_EQ(run_postrec({"train", path("mr.nii.gz"), "--name", "same", "--licence", "CC0", "--table-size", "16", "--output", path(name)}).code, 0);
  EXPECT_EQ(content("a.safetensors"), content("b.safetensors"));
}

TEST_F(Train, Mistakes) {
  expect_error(run_postrec({"train", path("mr.nii.gz"), "--output", path("a.txt")}), 64, {"a.txt", ".safetensors"});
  expect_error(run_postrec({"train", path("mr.nii.gz"), "--kind", "magic", "--output", path("a.safetensors")}), 64, {"magic", "gaussian"});
  expect_error(run_postrec({"train", path("mr.nii.gz"), "--output", path("mr.safetensors")}), 73, {"mr.safetensors"});
  expect_error(run_postrec({"train", path("mr.nii.gz"), "--output", path("a.safetensors")}), 64, {"--licence"});
  expect_error(run_postrec({"train", path("none.nii"), "--licence", "CC0", "--output", path("a.safetensors")}), 66, {"none.nii"});
  expect_error(run_postrec({"train", path("mr.nii.gz"), "--intensity", "relative-water", "--licence", "CC0", "--output", path("a.safetensors")}), 78, {});
  EXPECT_FALSE(fs::exists(path("a.safetensors")));
}

class Evaluate : public AppTest {};

TEST_F(Evaluate, AgreesWithTheRunThatKnewTheTruth) {
  ASSERT_EQ(run_postrec(mr_arguments("out", {"--slice", "1"})).code, 0);
  const Ended ended = run_postrec({"evaluate", path("out"), "--truth", path("mr.nii.gz"), "--log-format", "json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto figures = nlohmann::json::parse(ended.out);
  const auto known = run_json("out")["quality"];
  for (const char* image : {"mean", "one_sample", "pseudo_inverse"})
    for (const char* figure : {"psnr_db", "ssim", "nrmse"})
      EXPECT_NEAR(figures[image][figure].get<double>(), known[image][figure].get<double>(), 1e-6) << image << " " << figure;  // both read float32 images
  EXPECT_EQ(figures["interval_coverage"], known["interval_coverage"]);
  EXPECT_DOUBLE_EQ(known["interval_coverage"]["expected"].get<double>(), 0.5);  // three samples bound no more, whatever --interval asks
  EXPECT_EQ(figures["reduced_chi2"].size(), 1u);
  EXPECT_LT(figures["mean"]["nrmse"].get<double>(), figures["one_sample"]["nrmse"].get<double>());
  const Ended table = run_postrec({"evaluate", path("out"), "--truth", path("mr.nii.gz")});
  EXPECT_NE(table.out.find("posterior mean"), std::string::npos);
}

// A measurement of one slice counts it from 0; where it lies says which slice of the truth it is.
TEST_F(Evaluate, FindsTheSliceOfTheWholeTruth) {
  ASSERT_EQ(run_postrec({"simulate", path("mr.nii.gz"), "--slice", "1", "--operator", "mri-fourier", "--simulate-coils", "2", "--set", "mask-pattern=equispaced", "--set", "acceleration=2",
                         "--noise", "0.1", "--output", path("measured")}).code, 0);
  Image mask = read_scan(path("mr.nii.gz")).image;
  mask.pixels = mask.pixels.gt(0.5 * mask.pixels.max()).to(at::kFloat);
  write_nifti(path("mask.nii.gz"), mask);
  const Ended made = run_postrec({"reconstruct", path("measured"), "--prior", path("mr.safetensors"), "--samples", "3", "--steps", "3", "--force", "--region", "bright=" + path("mask.nii.gz"), "--output", path("out")});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(run_json("out")["regions"][0]["voxels"], mask.pixels[1].sum().item<std::int64_t>());
  Image one = read_scan(path("mr.nii.gz"), {.slice = 1}).image;
  write_nifti(path("one.nii.gz"), one);
  const Ended whole = run_postrec({"evaluate", path("out"), "--truth", path("mr.nii.gz"), "--log-format", "json"}), alone = run_postrec({"evaluate", path("out"), "--truth", path("one.nii.gz"), "--log-format", "json"});
  EXPECT_EQ(whole.out, alone.out);
  EXPECT_EQ(whole.err, "");
}

TEST_F(Evaluate, Mistakes) {
  ASSERT_EQ(run_postrec(mr_arguments("out", {"--slice", "1"})).code, 0);
  expect_error(run_postrec({"evaluate", path("out")}), 64, {"--truth"});
  expect_error(run_postrec({"evaluate", path("none"), "--truth", path("mr.nii.gz")}), 66, {"run.json"});
  expect_error(run_postrec({"evaluate", path("out"), "--truth", path("none.nii")}), 66, {"none.nii"});
  for (const char* damaged : {"{\"slices\": ", R"({"slices": [1], "unit": "arbitrary"})", R"({"slices": [{"slice": 1}], "unit": "arbitrary", "interval_level": "x"})"}) {
    write_text("out/run.json", damaged);
    expect_error(run_postrec({"evaluate", path("out"), "--truth", path("mr.nii.gz")}), 65, {"run.json"});
  }
}

class Plugins : public AppTest {};

TEST_F(Plugins, ListAndDescribe) {
  const Ended list = run_postrec({"plugins", "list", "--log-format", "json"});
  ASSERT_EQ(list.code, 0) << list.err;
  std::vector<std::string> names;
  const auto listed = nlohmann::json::parse(list.out);
  for (const auto& plugin : listed["plugins"])
    for (const auto& name : plugin["operators"]) names.push_back(name);
  for (const char* expected : {"mri-fourier", "ct-radon", "masking", "grayscale"}) EXPECT_EQ(std::count(names.begin(), names.end(), expected), 1) << expected;
  const Ended describe = run_postrec({"plugins", "describe", "mri-fourier"});
  EXPECT_EQ(describe.code, 0);
  EXPECT_NE(describe.out.find("acceleration"), std::string::npos);
  EXPECT_NE(describe.out.find("\nworks on cpu and cuda\n"), std::string::npos) << describe.out;
  const auto described = nlohmann::json::parse(run_postrec({"plugins", "describe", "mri-fourier", "--log-format", "json"}).out);
  EXPECT_EQ(described["devices"], nlohmann::json::array({"cpu", "cuda"}));
  expect_error(run_postrec({"plugins", "describe", "mri-furier"}), 69, {"mri-fourier"});
  expect_error(run_postrec({"plugins", "lst"}), 64, {"list"});
}

TEST_F(Plugins, ABrokenPluginIsListedAsAProblem) {
  fs::create_directories(folder_ / "plugins");
  write_text("plugins/broken.postrec.json", "{ not json");
  const Ended list = run_postrec({"plugins", "list", "--plugin-dir", path("plugins")});
  EXPECT_EQ(list.code, 0);
  EXPECT_NE(list.err.find("broken"), std::string::npos) << list.err;
  EXPECT_NE(list.out.find("mri-fourier"), std::string::npos);
}

TEST_F(Plugins, CheckPrintsTheLaws) {
  const Ended check = run_postrec({"plugins", "check", "masking", "--log-format", "json"});
  ASSERT_EQ(check.code, 0) << check.err << check.out;
  const auto result = nlohmann::json::parse(check.out);
  EXPECT_EQ(result["passed"], true);
  bool adjoint = false;
  for (const auto& law : result["laws"]) adjoint = adjoint || law["law"].get<std::string>().find("adjoint") != std::string::npos;
  EXPECT_TRUE(adjoint) << check.out;
  expect_error(run_postrec({"plugins", "check", path("none.so")}), 66, {"none.so"});
}

// By library or manifest; what refuses it is said, and not that there is no manifest.
TEST_F(Plugins, CheckSaysWhyAFileIsRefused) {
  fs::create_directories(folder_ / "pl");
  for (const char* file : {"pl/postrec-masking.so", "pl/postrec-masking.postrec.json"}) fs::copy_file(POSTREC_BINARY_DIR "/lib/postrec/plugins/" + fs::path(file).filename().string(), path(file));
  EXPECT_EQ(run_postrec({"plugins", "check", path("pl/postrec-masking.postrec.json"), "--quiet"}).code, 0);
  write_text("lonely.so", "no library");
  expect_error(run_postrec({"plugins", "check", path("lonely.so")}), 69, {"no plugin manifest"});
  fs::permissions(folder_ / "pl/postrec-masking.so", fs::perms::others_write, fs::perm_options::add);
  expect_error(run_postrec({"plugins", "check", path("pl/postrec-masking.so")}), 69, {"was refused", "writ"});
}

TEST_F(Plugins, CheckSaysWhereItChecked) {
  const Ended text = run_postrec({"plugins", "check", "grayscale"});
  ASSERT_EQ(text.code, 0) << text.err << text.out;
  const Ended json = run_postrec({"plugins", "check", "grayscale", "--log-format", "json"});
  const auto result = nlohmann::json::parse(json.out);
  if (at::hasCUDA()) {
    EXPECT_NE(text.out.find("\n  checked on cpu and cuda:0\n"), std::string::npos) << text.out;
    EXPECT_EQ(result["devices"], nlohmann::json({"cpu", "cuda:0"}));
    EXPECT_TRUE(result["devices_not_here"].empty());
  } else {
    EXPECT_NE(text.out.find("\n  checked on cpu; cuda: not checked, no such device here\n"), std::string::npos) << text.out;
    EXPECT_EQ(result["devices"], nlohmann::json::array({"cpu"}));
    EXPECT_EQ(result["devices_not_here"], nlohmann::json::array({"cuda"}));
  }
}

// Diagonal keeps its numbers on the CPU, so that where CUDA is its operator there breaks the laws.
TEST_F(Plugins, CheckOfALibraryEndsWithWhatWorksNowhereHere) {
  if (at::hasCUDA()) GTEST_SKIP() << "a CUDA device is here, so every operator works somewhere";
  const std::string library = POSTREC_BINARY_DIR "/tests/plugins/two-devices/two-devices.so";
  const Ended json = run_postrec({"plugins", "check", library, "--log-format", "json"});
  EXPECT_EQ(json.code, 69);
  EXPECT_NE(json.err.find("'test-on-cuda' works on CUDA only, and there is no CUDA device"), std::string::npos) << json.err;
  const auto checked = nlohmann::json::parse(json.out);
  EXPECT_EQ(checked["operator"], "test-on-cpu");
  EXPECT_EQ(checked["passed"], true);
  const Ended cpu = run_postrec({"plugins", "check", library, "--device", "cpu"});
  EXPECT_EQ(cpu.code, 69);
  EXPECT_NE(cpu.err.find("'test-on-cuda' does not work on cpu; leave --device out"), std::string::npos) << cpu.err;
  EXPECT_NE(cpu.out.find("test-on-cpu: keeps every law\n  checked on cpu\n"), std::string::npos) << cpu.out;
}

TEST_F(Plugins, CheckOnOneDevice) {
  const Ended cpu = run_postrec({"plugins", "check", "grayscale", "--device", "cpu"});
  ASSERT_EQ(cpu.code, 0) << cpu.err << cpu.out;
  EXPECT_NE(cpu.out.find("\n  checked on cpu\n"), std::string::npos) << cpu.out;
  if (at::hasCUDA()) GTEST_SKIP() << "a CUDA device is here, so --device cuda is not refused";
  expect_error(run_postrec({"plugins", "check", "grayscale", "--device", "cuda"}), 69, {"no CUDA device"});
}

}  // namespace
}  // namespace postrec
