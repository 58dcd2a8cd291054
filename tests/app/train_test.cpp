// postrec train --kind network: a whole training, killed and resumed; what lies beside the checkpoint; the split.
#include <ATen/ATen.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "app_fixture.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/network_prior.hpp"
#include "postrec/prior_file.hpp"
#include "training/training_scans.hpp"
#include "training/training_split.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

class TrainNetwork : public AppTest {
 protected:
  void SetUp() override {
    AppTest::SetUp();
    fs::create_directories(folder_ / "scans");
    for (int i = 0; i < 4; ++i)
      write_nifti(path("scans/sub-" + std::to_string(i) + "_T1w.nii.gz"),
                  {test_volume(kSlices, kHeight, kWidth).roll(at::IntArrayRef({i}), at::IntArrayRef({3})) * (1.0 + 0.2 * i), {}, IntensityUnit::kArbitrary});
  }

  /// Arguments of a tiny training; options in `more` replace those of the same name.
  std::vector<std::string> arguments(const std::string& output, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> result = {"train", path("scans"), "--kind", "network"};
    const std::vector<std::pair<std::string, std::string>> usual = {
        {"--name", "tiny"}, {"--licence", "CC0"}, {"--widths", "8,16"}, {"--blocks", "1,1"}, {"--table-size", "16"}, {"--steps", "150"}, {"--decay-steps", "50"},
        {"--batch-pixels", "1152"}, {"--threads", "1"}, {"--output", path(output)}};
    for (const auto& [option, value] : usual)
      if (std::find(more.begin(), more.end(), option) == more.end()) result.insert(result.end(), {option, value});
    result.insert(result.end(), more.begin(), more.end());
    return result;
  }

  std::vector<nlohmann::json> log_lines(const std::string& name) const {
    std::vector<nlohmann::json> lines;
    std::istringstream stream(content(name));
    for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
};

TEST_F(TrainNetwork, KilledAtAnyMomentAndResumedGivesTheSameBits) {
  ASSERT_EQ(run_postrec(arguments("whole.safetensors")).code, 0);

  // Checkpoints so often that many kills fall into the writing of one.
  const std::vector<std::string> more = {"--checkpoint-minutes", "0.0005", "--resume", "--log-format", "json"};
  std::uint32_t state = 2024;  // a fixed sequence of moments, which the machine's load varies further
  const auto next = [&] { return state = state * 1664525u + 1013904223u, state >> 16; };
  int n_killed = 0, n_runs = 0;
  Ended ended;
  while (ended.code != 0 && n_runs < 12) {
    const std::ptrdiff_t lines = 1 + static_cast<std::ptrdiff_t>(next() % 12);
    ChildOptions killing;
    if (n_runs < 4)
      killing.watch = [&](int pid, const std::string& err) {
        if (std::count(err.begin(), err.end(), '\n') < lines) return;
        ::usleep(next() % 60000);
        ::kill(pid, SIGKILL);
      };
    ended = run_postrec(arguments("killed.safetensors", more), killing);
    ++n_runs;
    ASSERT_TRUE(ended.code == 0 || ended.code == 128 + SIGKILL) << ended.code << ended.err;
    if (ended.code != 0) ++n_killed;
  }
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_GE(n_killed, 3);
  EXPECT_EQ(content("killed.safetensors"), content("whole.safetensors"));
  EXPECT_EQ(content("killed.safetensors.checkpoint"), content("whole.safetensors.checkpoint"));

  // The log tells of each step once, in order, up to the last.
  std::int64_t before = 0;
  for (const auto& line : log_lines("killed.safetensors.checkpoint.log")) {
    EXPECT_GT(line["step"].get<std::int64_t>(), before);
    before = line["step"].get<std::int64_t>();
    EXPECT_EQ(line["psnr_db"].size(), 4u);
  }
  EXPECT_EQ(before, 150);
}

TEST_F(TrainNetwork, WritesAPriorThatDenoisesAndPicturesOfItsTraining) {
  const Ended ended = run_postrec(arguments("p.safetensors", {"--log-format", "json", "--trained-on", "phantoms"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(nlohmann::json::parse(ended.out)["scans"], 4);
  const auto loaded = load_prior(path("p.safetensors"));
  const auto* prior = dynamic_cast<const NetworkPrior*>(loaded.get());
  ASSERT_NE(prior, nullptr);
  EXPECT_EQ(prior->info().trained_on, "phantoms; 9 slices of 3 scans, smooth synthetic phase");
  EXPECT_NE(prior->info().training.find("150 steps"), std::string::npos) << prior->info().training;
  EXPECT_LT(prior->range().minimum, 0.005);
  EXPECT_GT(prior->range().maximum, 10.0);
  // c was measured: at a low sigma it is about the noise's own variance, and it never exceeds it by more than the spread of few images.
  const at::Tensor c = prior->error_covariance(0.05, {1, kHeight, kWidth}).eigenvalues();
  EXPECT_LT(c.mean().item<double>(), 0.05 * 0.05 * 1.2);
  EXPECT_GT(c.mean().item<double>(), 0.0);

  const auto lines = log_lines("p.safetensors.checkpoint.log");
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines.back()["step"], 150);
  for (const char* sigma : {"0.02", "0.1", "0.5", "2"}) EXPECT_GT(lines.back()["psnr_db"][sigma].get<double>(), 0.0) << sigma;
  // Denoised is closer than noisy: -20 log10(sigma) dB.
  EXPECT_GT(lines.back()["psnr_db"]["0.5"].get<double>(), 6.1);
  EXPECT_GT(lines.back()["learning_rate"].get<double>(), 0.0);

  const Scan curve = read_scan(path("p.safetensors.checkpoint.curve.png"));
  EXPECT_EQ(curve.image.pixels.sizes(), at::IntArrayRef({1, 3, 800, 1000}));
  EXPECT_GT(curve.image.pixels.lt(128).sum().item<std::int64_t>(), 1000);  // axes and words
  const Scan samples = read_scan(path("p.safetensors.checkpoint.samples.png"));
  EXPECT_EQ(samples.image.pixels.size(2), 9 * (kHeight + 6) + 6);  // clean, and noisy and denoised at four sigmas

  // An interrupted training keeps its checkpoint and says how to go on.
  ChildOptions interrupting;
  bool sent = false;  // a second signal would end the process at once
  interrupting.watch = [&](int pid, const std::string& err) {
    if (!sent && err.find("\"step\"") != std::string::npos) sent = ::kill(pid, SIGINT) == 0;
  };
  const Ended stopped = run_postrec(arguments("q.safetensors", {"--log-format", "json", "--steps", "100000"}), interrupting);
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_NE(stopped.err.find("--resume"), std::string::npos);
  EXPECT_TRUE(fs::exists(path("q.safetensors.checkpoint")));
  EXPECT_FALSE(fs::exists(path("q.safetensors")));
  expect_error(run_postrec(arguments("q.safetensors")), 73, {"q.safetensors.checkpoint", "--resume"});
}

TEST_F(TrainNetwork, AScanOnBothSidesIsReported) {
  fs::create_directories(folder_ / "validation");
  fs::copy_file(path("scans/sub-1_T1w.nii.gz"), path("validation/other.nii.gz"));
  fs::copy_file(path("scans/sub-2_T1w.nii.gz"), path("validation/sub-2_T2w.nii.gz"));
  const Ended ended = run_postrec(arguments("p.safetensors", {"--validation", path("validation"), "--steps", "2"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.err.find("of the 3 validation slices of '" + path("validation/other.nii.gz") + "' 3 have the same pixels as slices of '" + path("scans/sub-1_T1w.nii.gz") + "'"),
            std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find("are of one subject"), std::string::npos) << ended.err;

  // What the user says himself is an error when it is broken, and mends what a name suggests.
  write_text("broken.csv", "file,subject\nsub-0_T1w.nii.gz,a\nsub-1_T1w.nii.gz,b\nsub-2_T1w.nii.gz,c\nsub-3_T1w.nii.gz,d\nother.nii.gz,b\nsub-2_T2w.nii.gz,e\n");
  expect_error(run_postrec(arguments("r.safetensors", {"--validation", path("validation"), "--subjects", path("broken.csv"), "--quiet"})), 64, {"other.nii.gz", "one subject"});
  expect_error(run_postrec(arguments("r.safetensors", {"--subjects", path("none.csv"), "--quiet"})), 66, {"none.csv"});
  write_text("short.csv", "sub-0_T1w.nii.gz,a\n");
  expect_error(run_postrec(arguments("r.safetensors", {"--subjects", path("short.csv"), "--quiet"})), 64, {"sub-1_T1w.nii.gz"});
}

TEST_F(TrainNetwork, EightBitPicturesAndTheirReduction) {
  fs::create_directories(folder_ / "pictures");
  const at::Tensor colour = at::cat({test_volume(1, 12, 16), test_volume(1, 12, 16) * 0.5, at::arange(192, at::kFloat).view({1, 1, 12, 16})}, 1).squeeze(0);
  for (const char* name : {"pictures/a.png", "pictures/b.png"}) write_png(path(name), colour, 0.0, 255.0);
  ASSERT_EQ(run_postrec({"train", path("pictures"), "--basis", "dct", "--intensity", "byte", "--reduce", "2", "--table-size", "8", "--licence", "CC0", "--output", path("rgb.safetensors")}).code, 0);
  const auto loaded = load_prior(path("rgb.safetensors"));
  const auto* prior = dynamic_cast<const GaussianPrior*>(loaded.get());
  ASSERT_NE(prior, nullptr);
  EXPECT_EQ(prior->info().intensity, PriorIntensity::kByte);
  EXPECT_EQ(prior->mean().size(0), 3);
  EXPECT_NEAR(prior->mean()[2].item<double>(), 95.5 / 255, 1e-4);
  EXPECT_NEAR(prior->mean()[0].item<double>(), colour[0].round().mean().item<double>() / 255, 1e-4);
  expect_error(run_postrec({"train", path("pictures"), "--reduce", "13", "--licence", "CC0", "--output", path("x.safetensors")}), 65, {"a.png", "12x16"});
}

TEST_F(TrainNetwork, Mistakes) {
  const auto refused = [&](int code, const std::vector<std::string>& words, const std::vector<std::string>& more) {
    expect_error(run_postrec(arguments("p.safetensors", more)), code, words);
  };
  refused(64, {"--licence"}, {"--licence", ""});
  refused(65, {"licence"}, {"--licence", " "});
  refused(64, {"pixels"}, {"--batch-pixels", "-5"});
  refused(64, {"--widths", "x"}, {"--widths", "8,x"});
  refused(65, {"widths"}, {"--widths", "8,16,32"});
  refused(64, {"--objective", "sliced"}, {"--objective", "guessing"});
  refused(64, {"likelihood"}, {"--weighting", "likelihood"});
  refused(64, {"--validation-share"}, {"--validation-share", "1.5"});
  refused(64, {"--checkpoint-minutes"}, {"--checkpoint-minutes", "0"});
  refused(64, {"--reduce"}, {"--reduce", "0"});
  if (!at::hasCUDA()) refused(69, {"cuda"}, {"--device", "cuda"});
  // Forgotten beside options of a network, --kind would give a Gaussian in a second.
  expect_error(run_postrec({"train", path("scans"), "--licence", "CC0", "--steps", "50", "--output", path("p.safetensors")}), 64, {"--steps", "--kind network"});
  expect_error(run_postrec({"train", path("scans/sub-0_T1w.nii.gz"), "--kind", "network", "--licence", "CC0", "--output", path("p.safetensors")}), 64, {"one subject", "--validation"});
  EXPECT_FALSE(fs::exists(path("p.safetensors")));
}

// The network stays; its error is measured on the scans given, the same ones with the same result.
TEST_F(TrainNetwork, TheErrorIsMeasuredAnew) {
  ASSERT_EQ(run_postrec(arguments("p.safetensors", {"--steps", "20", "--decay-steps", "5", "--validation", path("scans/sub-3_T1w.nii.gz")})).code, 0);
  const auto remeasured = [&](const std::string& scan, const std::string& output, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"train", path(scan), "--remeasure", path("p.safetensors"), "--phase", "smooth", "--output", path(output)};
    words.insert(words.end(), more.begin(), more.end());
    return run_postrec(words);
  };
  ASSERT_EQ(remeasured("scans/sub-3_T1w.nii.gz", "same.safetensors").code, 0);
  const auto first = load_prior(path("p.safetensors")), same = load_prior(path("same.safetensors"));
  EXPECT_TRUE(at::equal(same->error_covariance(0.3, {1, 8, 8}).eigenvalues(), first->error_covariance(0.3, {1, 8, 8}).eigenvalues()));
  EXPECT_EQ(same->info().training, first->info().training + "; error measured anew on 3 slices");
  ASSERT_EQ(remeasured("scans/sub-1_T1w.nii.gz", "other.safetensors").code, 0);
  const auto before = load_prior(path("p.safetensors")), after = load_prior(path("other.safetensors"));
  const at::Tensor x_t = at::ones({1, 1, 8, 8}, at::kComplexFloat), level = at::full({1}, 0.3f);
  const auto network = [](const auto& prior) { return dynamic_cast<const NetworkPrior&>(*prior).network(); };
  EXPECT_TRUE(at::equal(network(after).denoise(x_t, level), network(before).denoise(x_t, level)));
  EXPECT_FALSE(at::equal(after->denoise(x_t, 0.3), before->denoise(x_t, 0.3)));  // its correction is part of what is measured
  EXPECT_FALSE(at::equal(after->error_covariance(0.3, {1, 8, 8}).eigenvalues(), before->error_covariance(0.3, {1, 8, 8}).eigenvalues()));
  EXPECT_EQ(after->info().licence, "CC0");

  expect_error(remeasured("scans/sub-1_T1w.nii.gz", "other.safetensors"), 73, {"exists"});
  expect_error(remeasured("scans/sub-1_T1w.nii.gz", "x.safetensors", {"--licence", "CC0"}), 64, {"--licence", "--remeasure"});
  expect_error(remeasured("scans/sub-1_T1w.nii.gz", "x.safetensors", {"--measure", "m.pt"}), 64, {"--measure", "--remeasure"});
  expect_error(remeasured("scans/sub-1_T1w.nii.gz", "x.safetensors", {"--basis", "dft"}), 64, {"--basis", "--remeasure"});
  expect_error(run_postrec({"train", path("scans"), "--remeasure", path("p.safetensors"), "--output", path("x.safetensors")}), 64, {"--phase is missing", "smooth synthetic phase"});
  ASSERT_EQ(run_postrec({"train", path("scans"), "--licence", "CC0", "--table-size", "16", "--output", path("g.safetensors")}).code, 0);
  expect_error(run_postrec({"train", path("scans"), "--remeasure", path("g.safetensors"), "--output", path("x.safetensors")}), 64, {"network prior"});
  EXPECT_FALSE(fs::exists(path("x.safetensors")));
}

// A training that begins anew must not be gone on with from the checkpoint of the one before, whenever it is killed.
TEST_F(TrainNetwork, AnOldCheckpointIsGoneWhenANewTrainingBegins) {
  ASSERT_EQ(run_postrec(arguments("p.safetensors", {"--steps", "20", "--decay-steps", "5"})).code, 0);
  ChildOptions killing;
  killing.watch = [](int pid, const std::string& err) {
    if (err.find("\"step\"") != std::string::npos) ::kill(pid, SIGKILL);
  };
  const Ended killed = run_postrec(arguments("p.safetensors", {"--steps", "100000", "--on-existing", "overwrite", "--log-format", "json"}), killing);
  EXPECT_EQ(killed.code, 128 + SIGKILL) << killed.err;
  EXPECT_FALSE(fs::exists(path("p.safetensors.checkpoint")));
  EXPECT_TRUE(fs::exists(path("p.safetensors"))) << "the finished prior stays";
}

// What weights began from binds their licence, so the prior must say it truly.
TEST_F(TrainNetwork, GoesOnOnlyFromWhatItBeganWith) {
  const std::vector<std::string> short_run = {"--steps", "4", "--decay-steps", "1"};
  const auto more = [&](std::vector<std::string> words) {
    words.insert(words.end(), short_run.begin(), short_run.end());
    return words;
  };
  for (const char* output : {"a.safetensors", "b.safetensors"}) ASSERT_EQ(run_postrec(arguments(output, short_run)).code, 0);
  const std::vector<std::string> tuned = more({"--from", path("a.safetensors"), "--validation", path("scans/sub-3_T1w.nii.gz"), "--on-existing", "overwrite"});
  ASSERT_EQ(run_postrec(arguments("p.safetensors", tuned)).code, 0);
  const auto resumed = [&](const std::vector<std::string>& words) {
    auto all = more(words);
    all.insert(all.end(), {"--resume", "--on-existing", "overwrite"});
    return run_postrec(arguments("p.safetensors", all));
  };
  const std::string scan = path("scans/sub-3_T1w.nii.gz");
  const auto refused = [&](const std::vector<std::string>& words, const char* why) {
    const Ended ended = resumed(words);
    EXPECT_EQ(ended.code, 65) << ended.err;
    EXPECT_NE(ended.err.find(why), std::string::npos) << ended.err;
  };
  refused({"--validation", scan}, "from was 'a.safetensors'");
  refused({"--from", path("b.safetensors"), "--validation", scan}, "is 'b.safetensors'");
  refused({"--from", path("a.safetensors"), "--validation", path("scans/sub-2_T1w.nii.gz")}, "validation was 3 slices");
  EXPECT_EQ(resumed({"--from", path("a.safetensors"), "--validation", scan}).code, 0);
}

TEST_F(TrainNetwork, ScansThatGiveNothingAreSaidAndNotCounted) {
  fs::create_directories(folder_ / "scans" / "more");
  write_nifti(path("scans/sub-9_T1w.nii.gz"), {at::zeros({1, 1, kHeight, kWidth}), {}, IntensityUnit::kArbitrary});
  const Ended ended = run_postrec({"train", path("scans"), "--intensity", "unit", "--licence", "CC0", "--table-size", "16", "--output", path("g.safetensors")});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.err.find("sub-9_T1w.nii.gz' is empty"), std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find("are not looked into"), std::string::npos) << ended.err;
  EXPECT_NE(load_prior(path("g.safetensors"))->info().trained_on.find(" of 4 scans"), std::string::npos);
}

TEST_F(TrainNetwork, ZeroPhaseAndWhatIsUnusualAreToldOfThePrior) {
  ASSERT_EQ(run_postrec(arguments("p.safetensors", {"--steps", "4", "--decay-steps", "1", "--phase", "zero", "--objective", "sliced", "--process", "vp", "--weighting", "edm"})).code, 0);
  const std::string training = load_prior(path("p.safetensors"))->info().training;
  EXPECT_NE(training.find("objective sliced, process vp, weighting edm"), std::string::npos) << training;
}

TEST_F(TrainNetwork, AScanThatCannotBeScaledIsNamed) {
  write_nifti(path("scans/sub-9_T1w.nii.gz"), {at::zeros({1, 1, kHeight, kWidth}).index_put_({at::tensor(0), at::tensor(0), at::tensor(3), at::tensor(3)}, 1.0), {}, IntensityUnit::kArbitrary});
  expect_error(run_postrec(arguments("p.safetensors")), 65, {"sub-9_T1w.nii.gz", "slice 0"});
}

TEST_F(TrainNetwork, AFolderOfASeriesAndAPictureIsRefused) {
  fs::create_directories(folder_ / "mixed");
  write_text("mixed/1", std::string(128, '\0') + "DICM");
  write_text("mixed/.hidden.nii.gz", "left by a desktop");
  EXPECT_EQ(training_paths({path("mixed")}), std::vector<fs::path>{path("mixed")});
  write_png(path("mixed/preview.png"), test_volume(1, 12, 16).squeeze(0), 0.0, 255.0);
  EXPECT_THROW(training_paths({path("mixed")}), Error);
  EXPECT_EQ(training_paths({path("scans")}).size(), 4u);
}

TEST_F(TrainNetwork, FoldersOfSubjectsMayEndInASlash) {
  fs::create_directories(folder_ / "dicom");
  std::vector<TrainingSlice> slices(1);
  slices[0].scan = path("dicom/");
  assign_subjects(slices, {{"dicom", "anna"}});
  EXPECT_EQ(slices[0].subject, "anna");
}

TEST_F(TrainNetwork, HelpOfItsOwn) {
  const Ended general = run_postrec({"train", "--help"}), network = run_postrec({"train", "--kind", "network", "--help"});
  EXPECT_EQ(general.out.find("--widths"), std::string::npos);
  EXPECT_NE(general.out.find("postrec train --kind network --help"), std::string::npos);
  EXPECT_NE(network.out.find("--widths"), std::string::npos);
  EXPECT_LE(std::count(network.out.begin(), network.out.end(), '\n'), 45);
}

}  // namespace
}  // namespace postrec
