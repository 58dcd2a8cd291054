// The parts of apps/training that have a truth of their own: split, duplicates, log, chart.
#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "app_fixture.hpp"
#include "case/scan_subject.hpp"
#include "expect_error.hpp"
#include "report/picture.hpp"
#include "temp_folder.hpp"
#include "training/network_training.hpp"
#include "training/training_log.hpp"
#include "training/training_split.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

TrainingSlice slice(at::Tensor image, const std::string& scan, const std::string& subject) { return {std::move(image), 1.0, scan, subject}; }

/// A disc with a pattern of its own, [1, n, n], in air.
at::Tensor pattern(double f, std::int64_t n = 40) {
  const at::Tensor x = at::arange(n, at::kFloat) / static_cast<double>(n), square = (x - 0.5).square();
  return ((1.0 + at::outer(at::sin(f * x + f), at::cos(1.7 * f * x))) * (square.unsqueeze(1) + square).lt(0.12)).unsqueeze(0);
}

TEST(Subjects, ComeFromNames) {
  EXPECT_EQ(subject_of_name("a/sub-01_ses-2_T1w.nii.gz"), "sub-01");
  EXPECT_EQ(subject_of_name("sub-01_acq-fast_T1w.nii.gz"), "sub-01");
  EXPECT_EQ(subject_of_name("patient01_study2_T1W.nii.gz"), "patient01");
  EXPECT_EQ(subject_of_name("patient01_T2W.nii"), "patient01");
  EXPECT_EQ(subject_of_name("anna_Session3.mha"), "anna");
  EXPECT_EQ(subject_of_name("oasis_1005.nii.gz"), "oasis_1005");
  EXPECT_EQ(subject_of_name("BloodImage_00012.jpg"), "BloodImage_00012");
  EXPECT_EQ(subject_of_name("series/"), "series");
  EXPECT_EQ(subject_of_name("a.b.nii.gz"), "a.b");
}

TEST(Subjects, StayOnOneSide) {
  std::vector<TrainingSlice> slices;
  for (int i = 0; i < 100; ++i) slices.push_back(slice(pattern(1 + i), "scan" + std::to_string(i % 20), "subject" + std::to_string(i % 10)));
  const TrainingSplit split = split_by_subject(slices, 0.25);
  EXPECT_EQ(split.validation.size(), 30u);  // whole subjects of ten slices: the first number that holds 25
  EXPECT_EQ(split.training.size(), 70u);
  EXPECT_TRUE(shared_subjects(split).empty());
  EXPECT_EQ(split_by_subject(slices, 0.99).training.size(), 10u);
  EXPECT_EQ(split_by_subject(slices, 0.001).validation.size(), 10u);
  // The same again whatever the order of the scans.
  std::vector<TrainingSlice> reversed(slices.rbegin(), slices.rend());
  std::set<std::string> one, other;
  for (const auto& s : split.validation) one.insert(s.subject);
  for (const auto& s : split_by_subject(reversed, 0.25).validation) other.insert(s.subject);
  EXPECT_EQ(one, other);
  test::expect_error(ErrorKind::kUsage, "one subject", [&] { split_by_subject({slices[0], slices[10]}, 0.5); });
}

TEST(Split, FilesOfSeveralFoldersThatAreCalledAlikeAreOfSeveralSubjects) {
  const Scan unnamed;
  const ScanSubjects pictures({"p0/slice_0.png", "p0/slice_1.png", "p1/slice_0.png", "./p1/slice_1.png", "others/carl_T1.nii.gz"});
  EXPECT_EQ(pictures.of(unnamed, "p0/slice_0.png"), pictures.of(unnamed, "p0/slice_1.png"));
  EXPECT_NE(pictures.of(unnamed, "p0/slice_0.png"), pictures.of(unnamed, "p1/slice_0.png"));
  EXPECT_EQ(pictures.of(unnamed, "p1/slice_0.png"), pictures.of(unnamed, "./p1/slice_1.png"));
  EXPECT_EQ(pictures.of(unnamed, "others/carl_T1.nii.gz"), "carl");
  // One contrast of a person lies beside another that nobody else has.
  const ScanSubjects contrasts({"anna/T1.nii.gz", "anna/FLAIR.nii.gz", "ben/T1.nii.gz"});
  EXPECT_EQ(contrasts.of(unnamed, "anna/T1.nii.gz"), contrasts.of(unnamed, "anna/FLAIR.nii.gz"));
  EXPECT_NE(contrasts.of(unnamed, "anna/T1.nii.gz"), contrasts.of(unnamed, "ben/T1.nii.gz"));
  const ScanSubjects sessions({"/bids/sub-1/ses-1/T1.nii.gz", "/bids/sub-1/ses-2/T1.nii.gz", "/bids/sub-2/ses-1/T1.nii.gz"});
  EXPECT_EQ(sessions.of(unnamed, "/bids/sub-1/ses-1/T1.nii.gz"), sessions.of(unnamed, "/bids/sub-1/ses-2/T1.nii.gz"));
  EXPECT_NE(sessions.of(unnamed, "/bids/sub-1/ses-1/T1.nii.gz"), sessions.of(unnamed, "/bids/sub-2/ses-1/T1.nii.gz"));
  Scan dicom;
  dicom.patient_sha256 = "ab";
  EXPECT_EQ(contrasts.of(dicom, "anna/T1.nii.gz"), "ab");

  std::vector<TrainingSlice> slices = {slice(pattern(1), "p0/slice_0.png", ""), slice(pattern(2), "p1/slice_0.png", "")};
  assign_subjects(slices, {{"p0/slice_0.png", "anna"}, {"p1/slice_0.png", "ben"}});
  EXPECT_EQ(slices[0].subject, "anna");
  EXPECT_EQ(slices[1].subject, "ben");
}

TEST(TrainingScans, ThoseOfNoMagnitudesAreTold) {
  const at::Tensor magnitudes = at::ones({1, 8, 8}), overshoot = magnitudes.clone();
  overshoot[0][0].fill_(-0.3);                 // .041 of the sum
  require_magnitudes({slice(magnitudes, "a", ""), slice(overshoot, "b", "")});
  test::expect_error(ErrorKind::kBadData, "'c' is of no magnitudes", [&] { require_magnitudes({slice(magnitudes, "a", ""), slice(magnitudes - 1.5, "c", "")}); });
}

TEST(Duplicates, SameAndAlikeAreTold) {
  TrainingSplit split;
  for (int i = 0; i < 8; ++i) split.training.push_back(slice(pattern(2 + i), "t", "a"));
  split.validation = {slice(pattern(3), "v", "b"), slice(pattern(4), "v", "b"), slice(pattern(20), "v", "b"), slice(pattern(21), "v", "b")};
  // One is the same to the bit, one is moved by three pixels and has other noise and contrast.
  split.validation[1].image = at::constant_pad_nd(split.validation[1].image.slice(2, 0, 37), {3, 0}) * 1.3 + 0.002 * at::sin(at::arange(1600, at::kFloat)).view({1, 40, 40});
  const auto found = duplicates_across(split);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].training_scan, "t");
  EXPECT_EQ(found[0].validation_scan, "v");
  EXPECT_EQ(found[0].n_same, 1);
  EXPECT_EQ(found[0].n_alike, 1);
  EXPECT_EQ(found[0].n_slices, 4);
  split.validation.erase(split.validation.begin(), split.validation.begin() + 2);
  EXPECT_TRUE(duplicates_across(split).empty());
}

TEST(Duplicates, OfRealHeadsScannedTwice) {
  const fs::path folder = fs::path(POSTREC_TEST_DATA) / "mr_brain_t1_stripped/train";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is missing";
  const auto read = [&](const char* number) { return read_training_slices(folder / ("oasis_" + std::string(number) + ".nii.gz"), {}); };
  // 1004 and 1024 are one person in two positions; 1002 is another.
  const auto reports = duplicates_across({read("1004"), read("1024")});
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].n_same, 0);
  EXPECT_GT(reports[0].n_alike, reports[0].n_slices / 2);
  EXPECT_TRUE(duplicates_across({read("1004"), read("1002")}).empty());
}

TEST(TrainingLog, ForgetsWhatCameAfterTheCheckpoint) {
  const test::TempFolder folder;
  const fs::path path = folder / "training.log";
  {
    TrainingLog log(path, 0);
    for (const int step : {10, 20, 30}) log.add({step, 0.5 + step, 1e-3, 1.0, {{0.02, 40.0 + step}}});
  }
  std::ofstream(path, std::ios::app) << "{\"step\": 40, \"lo";  // killed while it wrote
  TrainingLog log(path, 20);
  ASSERT_EQ(log.records().size(), 2u);
  EXPECT_EQ(log.records()[1].step, 20);
  EXPECT_EQ(log.records()[1].loss, 20.5);
  EXPECT_EQ(log.records()[1].psnr_db.at(0.02), 60.0);
  log.add({25, 1.0, 1e-3, 2.0, {}});
  EXPECT_EQ(TrainingLog(path, 100).records().size(), 3u);
  std::ofstream(path) << "not a log\nat all\n";
  test::expect_error(ErrorKind::kBadData, "training.log", [&] { TrainingLog(path, 5); });
  fs::remove(path);
}

TEST(Crops, AreNoLargerThanTheLargestImage) {
  TrainingOptions options;
  fit_crops(options, {slice(pattern(1, 17), "s", "s"), slice(pattern(1, 19), "s", "s")});
  for (const CropSize& crop : options.crops) EXPECT_EQ(crop.size, 24);
  TrainingOptions usual;
  fit_crops(usual, {slice(at::zeros({1, 160, 200}), "s", "s")});
  EXPECT_EQ(usual.crops[0].size, 64);
  EXPECT_EQ(usual.crops[2].size, 192);
}

TEST(Chart, TicksAreRound) {
  EXPECT_EQ(round_ticks(0.0, 100.0, 6), (std::vector<double>{0, 20, 40, 60, 80, 100}));
  EXPECT_EQ(round_ticks(3.0, 17.0, 8), (std::vector<double>{4, 6, 8, 10, 12, 14, 16}));
  for (const auto& [low, high] : {std::pair{0.0, 1.0}, {0.61, 0.93}, {-5.0, 7e5}, {24.1, 24.2}}) {
    const auto ticks = round_ticks(low, high, 7);
    EXPECT_GE(ticks.size(), 2u);
    EXPECT_LE(ticks.size(), 7u);
    EXPECT_GE(ticks.front(), low - 1e-9 * (high - low));
    EXPECT_LE(ticks.back(), high + 1e-9 * (high - low));
  }
}

TEST(Chart, ALineLiesWhereItsValuesAre) {
  Picture picture(400, 200);
  const Colour red{1.0f, 0.0f, 0.0f};
  draw_chart(picture, {0, 0, 400, 200}, "title", {{"", red, {0, 1, 2}, {5, std::nan(""), 10}}});
  const at::Tensor is_red = (picture.pixels()[0].eq(1.0) & picture.pixels()[1].eq(0.0) & picture.pixels()[2].eq(0.0)).nonzero();
  ASSERT_GT(is_red.size(0), 100);
  // From the lower left to the upper right: row and column of the first and last pixel.
  const at::Tensor left = is_red[is_red.select(1, 1).argmin()], right = is_red[is_red.select(1, 1).argmax()];
  EXPECT_GT(left[0].item<std::int64_t>(), right[0].item<std::int64_t>() + 100);
  // 160 pixels between margins of 90 and 150, less 4 % of the range on each side: 90 + 160 * .04 / 1.08 = 95.9 and 244.1.
  EXPECT_EQ(left[1].item<std::int64_t>(), 96);
  EXPECT_EQ(right[1].item<std::int64_t>(), 244);
}

TEST(Picture, WordsAndImages) {
  Picture picture(60, 40);
  picture.text(2, 2, "I", kBlack);
  EXPECT_EQ(picture.pixels()[0].lt(0.5).sum().item<std::int64_t>(), 4 * 9);  // nine dots of the glyph, two by two pixels each
  picture.paste(50, 30, at::zeros({1, 20, 20}), 0.0, 1.0);               // cut at the edge
  EXPECT_EQ(picture.pixels().slice(1, 30).slice(2, 50).sum().item<float>(), 0.0f);
  picture.paste(20, 20, at::full({1, 2, 2}, 3.0f), 1.0, 5.0);
  EXPECT_EQ(picture.pixels()[1][21][21].item<float>(), 0.5f);
}

}  // namespace
}  // namespace postrec
