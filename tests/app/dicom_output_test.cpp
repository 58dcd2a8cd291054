// DICOM in, DICOM out, through the program: what is written, what is withheld, and that nothing else names the patient.
#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <regex>

#include "../data/dicom_files.hpp"
#include "app_fixture.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"
#include "result/dicom_output.hpp"
#include "shell.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

using test::shell;

std::string whole_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class DicomResult : public AppTest {
 protected:
  void SetUp() override {
    AppTest::SetUp();
    for (const char* modality : {"CT", "MR"}) {
      test::PhantomSpec spec;
      spec.modality = modality;
      test::write_phantom_series(path(modality), spec);
    }
  }

  /// Options of a quick run of one modality, without the input.
  std::vector<std::string> how(const std::string& modality) const {
    std::vector<std::string> words = {"--samples", "3", "--steps", "4", "--threads", "1"};
    const std::vector<std::string> ct = {"--operator", "ct-radon", "--set", "n-views=40", "--prior", path("ct.safetensors")};
    const std::vector<std::string> mr = {"--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--set", "acceleration=2", "--set", "n-acs-lines=5", "--prior", path("mr.safetensors")};
    words.insert(words.end(), modality == "CT" ? ct.begin() : mr.begin(), modality == "CT" ? ct.end() : mr.end());
    return words;
  }

  Ended reconstruct(const std::string& input, const std::string& modality, const std::string& output, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {"reconstruct", path(input), "--output", path(output)};
    const auto options = how(modality);
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), more.begin(), more.end());
    return run_postrec(words);
  }

  std::vector<std::string> simulated(const std::string& modality, std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--simulate", "--noise", modality == "CT" ? "0.5" : "0.05", "--dicom"});
    return more;
  }

  bool has(const std::string& name) const { return fs::exists(path(name)); }
  at::Tensor volume(const std::string& name) const { return read_scan(path(name)).image.pixels; }

  /// Every file that carries the canary in its name or its bytes, NIfTI unpacked; sources and derived objects are left out.
  std::vector<std::string> leaks() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      const std::string name = fs::relative(entry.path(), folder_).string();
      if (std::regex_search(name, std::regex("^(CT|MR|CUT|TILT)/")) || entry.path().extension() == ".dcm") continue;
      const std::string bytes = !entry.is_regular_file() ? "" : entry.path().extension() == ".gz" ? shell("zcat '" + entry.path().string() + "'").second : whole_file(entry.path());
      if ((name + bytes).find(test::kCanary) != std::string::npos) found.push_back(name);
    }
    return found;
  }
};

TEST_F(DicomResult, ACtSeriesComesOutAsADerivedSeriesAndAMap) {
  const Ended ended = reconstruct("CT", "CT", "out", simulated("CT", {"--threshold", "30"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Scan derived = read_scan(path("out/dicom/mean")), nifti = read_scan(path("out/mean.nii.gz")), source = read_scan(path("CT"));
  EXPECT_EQ(derived.modality, "CT");
  EXPECT_EQ(derived.image.pixels.sizes(), nifti.image.pixels.sizes());
  EXPECT_LE((derived.image.pixels - nifti.image.pixels).abs().max().item<double>(), 0.0502);  // half a step of 0.1 HU, and float32
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(derived.image.geometry.origin_mm[i], source.image.geometry.origin_mm[i], 1e-6);
    EXPECT_NEAR(derived.image.geometry.spacing_mm[i], source.image.geometry.spacing_mm[i], 1e-6);
  }
  EXPECT_EQ(derived.patient_sha256, source.patient_sha256);
  EXPECT_TRUE(has("out/dicom/standard_deviation.dcm"));
  EXPECT_TRUE(has("out/dicom/probability_above_30.dcm"));
  const auto dicom = run_json("out")["dicom"];
  ASSERT_EQ(dicom.size(), 3u);
  EXPECT_EQ(dicom[0], (nlohmann::json{{"name", "mean"}, {"as", "image-series"}, {"slices", {0, 1, 2}}}));
  EXPECT_EQ(dicom[1], (nlohmann::json{{"name", "standard_deviation"}, {"as", "parametric-map"}, {"slices", {0, 1, 2}}}));
}

TEST_F(DicomResult, OneSliceOfAnMrSeriesAndAnUncertaintyOfSixteenBits) {
  const Ended ended = reconstruct("MR", "MR", "out", simulated("MR", {"--slice", "1", "--uncertainty-as", "scaled16", "--threshold", "300"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Scan derived = read_scan(path("out/dicom/mean")), source = read_scan(path("MR"));
  EXPECT_EQ(derived.image.pixels.size(0), 1);
  EXPECT_NEAR(derived.image.geometry.origin_mm[2], source.image.geometry.origin_mm[2] + 3.0, 1e-6);
  // What is stored is proportional to the mean; the factor is that of the mapping, 1, 2 or 5 times a power of ten.
  const at::Tensor mean = volume("out/mean.nii.gz");
  const double ratio = (mean.sum() / derived.image.pixels.sum()).item<double>(), power = std::pow(10.0, std::floor(std::log10(ratio) + 1e-3)), step = std::round(ratio / power) * power;
  EXPECT_NEAR(ratio, step, 1e-5 * step);        // the sum of rounded values is a little off
  EXPECT_TRUE(std::round(ratio / power) == 1 || std::round(ratio / power) == 2 || std::round(ratio / power) == 5) << ratio;
  EXPECT_LE((derived.image.pixels * step - mean).abs().max().item<double>(), 0.505 * step);  // half a step, and float32 of up to 32767 steps
  EXPECT_GT(derived.image.pixels.max().item<double>(), 32767 / 2.5 - 1);  // the step is the smallest that fits
  for (const char* name : {"standard_deviation/0001.dcm", "probability_above_300/0001.dcm"}) EXPECT_TRUE(has(std::string("out/dicom/") + name)) << name;
  EXPECT_FALSE(has("out/dicom/standard_deviation.dcm"));
  EXPECT_EQ(run_json("out")["dicom"][1]["slices"], nlohmann::json({1}));
}

TEST_F(DicomResult, TheSameRunGivesTheSameUids) {
  const auto uids = [&](const std::string& output, const std::string& seed) {
    EXPECT_EQ(reconstruct("MR", "MR", output, simulated("MR", {"--slice", "1", "--seed", seed})).code, 0);
    std::string all;
    for (const char* name : {"mean/0001.dcm", "standard_deviation.dcm"}) {
      const std::string bytes = whole_file(path(output + "/dicom/" + name));
      std::smatch match;
      std::regex_search(bytes, match, std::regex("2\\.25\\.[0-9]+"));
      all += match.str() + " ";
    }
    return all;
  };
  const std::string first = uids("a", "1");
  EXPECT_GT(first.size(), 40u);
  EXPECT_EQ(uids("b", "1"), first);
  EXPECT_NE(uids("c", "2"), first);
}

TEST_F(DicomResult, AMeasurementTakesAPatientFromTheSeriesThatIsNamed) {
  std::vector<std::string> words = {"simulate", path("MR"), "--output", path("kspace"), "--noise", "0.1", "--simulate-coils", "2", "--operator", "mri-fourier", "--set", "mask-pattern=equispaced",
                                    "--set", "acceleration=2", "--set", "n-acs-lines=5"};
  ASSERT_EQ(run_postrec(words).code, 0);
  const auto measured = [&](const std::string& output, std::vector<std::string> more) {
    std::vector<std::string> all = {"reconstruct", path("kspace"), "--output", path(output), "--samples", "3", "--steps", "4", "--threads", "1", "--prior", path("mr.safetensors")};
    all.insert(all.end(), more.begin(), more.end());
    return run_postrec(all);
  };
  const Ended ended = measured("out", {"--dicom-source", path("MR")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(has("out/dicom/mean/0003.dcm"));
  EXPECT_NE(whole_file(path("out/dicom/mean/0001.dcm")).find(", SIMULATED, "), std::string::npos);
  EXPECT_EQ(whole_file(path("out/dicom/mean/0001.dcm")).find("Source image for"), std::string::npos) << "which image the folder was simulated from is not known";

  expect_error(measured("none", {"--dicom"}), 64, {"--dicom", "--dicom-source"});
  expect_error(measured("none", {"--dicom-source", path("nowhere")}), 66, {"--dicom-source", "does not exist"});
  expect_error(measured("none", {"--dicom-source", path("mr.nii.gz")}), 64, {"holds no DICOM file"});
  expect_error(measured("none", {"--dicom-source", path("CT")}), 64, {"the DICOM source is CT", "not in HU"});
  test::PhantomSpec shifted;
  shifted.modality = "MR";
  shifted.geometry.origin_mm[0] = 0.002;
  test::write_phantom_series(path("shifted"), shifted);
  expect_error(measured("none", {"--dicom-source", path("shifted")}), 64, {"not on the same grid", "0.002 mm"});
  expect_nothing_written("none");

  // A tenth of the noise that is there: the prior cannot fit, so how uncertain the image is stays untold in DICOM too.
  const std::string sigma_y = std::to_string(run_json("out")["sigma_y"]["value"].get<double>() / 10);
  const Ended distrusted = measured("withheld", {"--dicom-source", path("MR"), "--sigma-y", sigma_y, "--threshold", "300"});
  ASSERT_EQ(distrusted.code, 0) << distrusted.err;
  ASSERT_EQ(run_json("withheld")["prior_fit"]["uncertainty_withheld_in_slices"], nlohmann::json({0, 1, 2}));
  EXPECT_TRUE(has("withheld/dicom/mean/0001.dcm"));
  EXPECT_EQ(run_json("withheld")["dicom"].size(), 1u);
  EXPECT_EQ(std::distance(fs::directory_iterator(path("withheld/dicom")), fs::directory_iterator()), 1);

  // Told because it was asked for: then whoever opens a map must see that it is not to be trusted, and why.
  const Ended forced = measured("forced", {"--dicom-source", path("MR"), "--sigma-y", sigma_y, "--threshold", "300", "--force"});
  ASSERT_EQ(forced.code, 0) << forced.err;
  for (const auto& [name, title] : {std::pair("standard_deviation", "Untrusted standard deviation, SIMULATED, research use only"), std::pair("probability_above_300", "Untrusted probability above 300, SIMULATED")}) {
    const std::string map = whole_file(path(std::string("forced/dicom/") + name + ".dcm"));
    EXPECT_NE(map.find(title), std::string::npos) << name;
    EXPECT_NE(map.find("NOT TO BE TRUSTED, told because of --force. Posterior sampling"), std::string::npos) << name;
    EXPECT_NE(map.find(". the prior does not fit slice(s) 0, 1, 2: "), std::string::npos) << name;
  }
  for (const char* other : {"forced/dicom/mean/0001.dcm", "out/dicom/standard_deviation.dcm"}) EXPECT_EQ(whole_file(path(other)).find("TRUSTED"), std::string::npos) << other;
}

// Of another image the series lends patient and place, and has no part in its pixels.
TEST_F(DicomResult, OnlyTheImageThatIsSimulatedIsCalledTheSourceOfThePixels) {
  write_nifti(path("picture.nii.gz"), read_scan(path("MR")).image);
  for (const auto& [input, is_source] : {std::pair("picture.nii.gz", false), std::pair("MR", true)}) {
    const std::string output = is_source ? "itself" : "lender";
    const Ended ended = reconstruct(input, "MR", output, simulated("MR", {"--dicom-source", path("MR"), "--force"}));
    ASSERT_EQ(ended.code, 0) << ended.err;
    for (const char* name : {"mean/0001.dcm", "standard_deviation.dcm"}) {
      const std::string object = whole_file(path(output + "/dicom/" + name));
      EXPECT_NE(object.find(", SIMULATED, "), std::string::npos) << output << " " << name;
      EXPECT_NE(object.find("1.2.3.4.1"), std::string::npos) << output << " " << name;
      EXPECT_EQ(object.find("Source image for image processing operation") != std::string::npos, is_source) << output << " " << name;
    }
  }
}

TEST_F(DicomResult, SlicesWhoseUncertaintyIsWithheldAreLeftOutOfItsMaps) {
  DicomOutput output;
  output.source = read_dicom_source(path("CT"));
  const at::Tensor pixels = read_scan(path("CT")).image.pixels;
  const DicomMaps maps = {pixels, pixels.abs(), {{30.0, pixels.gt(30).to(at::kFloat)}}, {true, false, true}};
  const nlohmann::ordered_json run = {{"prior", {{"sha256", std::string(64, 'a')}}}, {"sampler", {{"method", "bridge"}, {"seed", 1}}}, {"operator", {{"name", "ct-radon"}}},
                                      {"samples_kept", 3}, {"sigma_y", {{"value", 1.0}}}, {"prior_fit", {{"fits", false}, {"forced", false}}}};
  output.parametric_maps = false;
  const auto written = write_dicom(path("dicom"), output, maps, run);
  ASSERT_EQ(written.size(), 3u);
  EXPECT_EQ(written[0]["slices"], nlohmann::json({0, 1, 2}));
  for (const int map : {1, 2}) EXPECT_EQ(written[map]["slices"], nlohmann::json({0, 2}));
  EXPECT_TRUE(has("dicom/mean/0003.dcm"));
  for (const std::string name : {"standard_deviation", "probability_above_30"}) {
    EXPECT_FALSE(has("dicom/" + name + "/0003.dcm"));
    const Scan last = read_scan(path("dicom/" + name + "/0002.dcm"));  // slice 2: 6 mm from the first
    EXPECT_NEAR(last.image.geometry.origin_mm[2], 6.0, 1e-6);
  }
  EXPECT_LE((volume("dicom/standard_deviation/0002.dcm")[0] - pixels[2].abs()).abs().max().item<double>(), 0.0502);
}

TEST_F(DicomResult, UnknownWordsAndOtherInputsAreRefusedBeforeAnyWork) {
  expect_error(reconstruct("CT", "CT", "none", simulated("CT", {"--uncertainty-as", "jpeg"})), 64, {"--uncertainty-as", "parametric-map", "scaled16"});
  expect_error(run_postrec(mr_arguments("none", {"--dicom"})), 64, {"no DICOM series"});
  expect_nothing_written("none");
}

TEST_F(DicomResult, NothingButTheDerivedObjectsNamesThePatient) {
  const Ended whole = reconstruct("CT", "CT", "out", simulated("CT", {"--threshold", "30"}));
  const Ended json = reconstruct("MR", "MR", "out2", simulated("MR", {"--log-format", "json", "--uncertainty-as", "scaled16"}));
  ASSERT_EQ(whole.code, 0) << whole.err;
  ASSERT_EQ(json.code, 0) << json.err;
  test::write_phantom_series(path("CUT"));
  test::truncate_middle_file(path("CUT"));
  test::write_tilted_series(path("TILT"));
  const Ended cut = reconstruct("CUT", "CT", "cut", simulated("CT")), tilt = reconstruct("TILT", "CT", "tilt", simulated("CT"));
  const Ended elsewhere = reconstruct("CT", "CT", "elsewhere", simulated("CT", {"--dicom-source", path("TILT")}));
  EXPECT_EQ(cut.code, 65) << cut.err;
  EXPECT_EQ(tilt.code, 65) << tilt.err;
  EXPECT_EQ(elsewhere.code, 65) << elsewhere.err;
  for (const Ended* ended : {&whole, &json, &cut, &tilt, &elsewhere}) EXPECT_EQ((ended->out + ended->err).find(test::kCanary), std::string::npos) << ended->out << ended->err;
  EXPECT_EQ(leaks(), std::vector<std::string>());
  // The search finds what there is to find: the patient is where it belongs.
  EXPECT_NE(whole_file(path("out/dicom/mean/0002.dcm")).find("ZZCANARY^PHI"), std::string::npos);
  EXPECT_NE(whole_file(path("out/dicom/standard_deviation.dcm")).find("ZZCANARY^PHI"), std::string::npos);
  write_text("out/planted.txt", test::kCanary);
  EXPECT_EQ(leaks(), std::vector<std::string>{"out/planted.txt"});
}

/// Real series, copied so that their folder and files have names of ours.
class RealDicom : public DicomResult {
 protected:
  bool copy_series(const std::string& name, std::size_t n) {
    const fs::path from = fs::path(POSTREC_TEST_DATA) / "dicom" / name;
    if (!fs::exists(from)) return false;
    std::vector<fs::path> files(fs::directory_iterator(from), {});
    std::sort(files.begin(), files.end());
    fs::create_directories(path("real"));
    for (std::size_t i = 0; i < n; ++i) fs::copy_file(files[i], path("real/" + std::to_string(i)));
    return true;
  }

  Ended quick(const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"reconstruct", path("real"), "--simulate", "--output", path("out"), "--preset", "fast", "--samples", "2", "--threads", "1", "--dicom", "--force"};
    words.insert(words.end(), more.begin(), more.end());
    return run_postrec(words);
  }

  /// dicom3tools on every written object; `with_source` also compares entities with those of the source.
  void expect_valid(bool with_source) const {
    if (shell("command -v dciodvfy && command -v dcentvfy").first != 0) GTEST_SKIP() << "dciodvfy and dcentvfy (Debian package dicom3tools) are not installed";
    std::string all;
    for (const auto& entry : fs::recursive_directory_iterator(path("out/dicom"))) {
      if (!entry.is_regular_file()) continue;
      all += " '" + entry.path().string() + "'";
      const auto [code, text] = shell("dciodvfy -new '" + entry.path().string() + "'");
      EXPECT_TRUE(code == 0 && text.find("Error") == std::string::npos) << entry.path() << "\n" << text;
    }
    const auto text = shell("dcentvfy" + all + (with_source ? " " + path("real") + "/*" : "")).second;
    EXPECT_EQ(text.find("Error"), std::string::npos) << text;
  }
};

TEST_F(RealDicom, ThreeSlicesOfAnMrSeries) {
  if (!copy_series("mr_t1_series", 3)) GTEST_SKIP() << "no shared/data/dicom/mr_t1_series";
  const Ended ended = quick({"--operator", "mri-fourier", "--set", "mask-pattern=variable-density", "--set", "acceleration=3", "--set", "n-acs-lines=20", "--noise", "0.02", "--prior",
                             "brain-mr-gaussian"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Scan derived = read_scan(path("out/dicom/mean")), source = read_scan(path("real"));
  ASSERT_EQ(derived.image.pixels.sizes(), source.image.pixels.sizes());
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(derived.image.geometry.origin_mm[i], source.image.geometry.origin_mm[i], 1e-4);
  EXPECT_TRUE(has("out/dicom/standard_deviation.dcm"));
  expect_valid(true);
}

TEST_F(RealDicom, ASliceOfACtSeriesInJpeg2000WithoutUids) {
  if (!copy_series("ct_body_jpeg2000", 3)) GTEST_SKIP() << "no shared/data/dicom/ct_body_jpeg2000";
  const Ended ended = quick({"--slice", "1", "--operator", "masking", "--steps", "4", "--noise", "0.05", "--prior", "ct-gaussian", "--uncertainty-as", "scaled16"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Scan derived = read_scan(path("out/dicom/mean"));
  EXPECT_LE((derived.image.pixels - volume("out/mean.nii.gz")).abs().max().item<double>(), 0.51 * 0.2);
  expect_valid(false);  // the source itself has no study
}

/// A Python with pydicom, highdicom and nibabel that setup/install_test_packages.sh made; "" when it could not.
std::string python_reader() {
  const std::string python = std::string(POSTREC_BINARY_DIR) + "/dicom_reader/bin/python";
  return shell(python + " -c 'import highdicom, nibabel'").first == 0 ? python : "";
}

TEST_F(DicomResult, AnIndependentReaderSeesTheSamePlacesAndValues) {
  const std::string python = python_reader();
  if (python.empty()) GTEST_SKIP() << "no Python environment with pydicom and highdicom: setup/install_test_packages.sh makes it";
  test::PhantomSpec oblique;
  oblique.modality = "MR";
  const double c = std::cos(0.4), s = std::sin(0.4);
  oblique.geometry.direction = {c, -s, 0, s * c, c * c, -s, s * s, s * c, c};
  oblique.geometry.origin_mm = {-31.5, 12.25, 7.75};
  test::write_phantom_series(path("OBLIQUE"), oblique);
  for (const auto& [input, modality] : std::vector<std::pair<std::string, std::string>>{{"CT", "CT"}, {"OBLIQUE", "MR"}})
    for (const char* as : {"parametric-map", "scaled16"}) {
      const std::string output = input + "_" + as;
      const Ended ended = reconstruct(input, modality, output, simulated(modality, {"--uncertainty-as", as, "--force"}));
      ASSERT_EQ(ended.code, 0) << ended.err;
      const auto [code, text] = shell(python + " " POSTREC_SOURCE_DIR "/tests/app/read_derived_dicom.py " + path(output) + " " + path(input));
      EXPECT_EQ(code, 0) << output << "\n" << text;
      EXPECT_NE(text.find("same"), std::string::npos) << text;
    }
}

}  // namespace
}  // namespace postrec
