// Which cases postrec batch plan finds, which files are theirs, and what it says of the rest.
#include "batch/batch_discovery.hpp"

#include "batch_fixture.hpp"
#include "expect_error.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

using Skipped = std::map<std::string, std::int64_t>;

std::vector<std::string> paths_of(const BatchInput& found) {
  std::vector<std::string> paths;
  for (const auto& each : found.cases) paths.push_back(each.path.generic_string());
  return paths;
}

class BatchDiscovery : public BatchTest {};

TEST_F(BatchDiscovery, FindsEveryKindOfCase) {
  fs::create_directories(folder_ / "in/a/b");
  write_text("in/a/measurement.json", "{}");
  write_text("in/a/b/inside.cfl", "x");        // belongs to the measurement
  for (const char* name : {"in/k.cfl", "in/k.hdr", "in/m.h5", "in/s.nii.gz", "in/readme.txt"}) write_text(name, "x");
  fs::create_directories(folder_ / "in/dicom");
  for (const char* name : {"in/dicom/1", "in/dicom/2"}) write_text(name, std::string(128, '\0') + "DICM");
  for (const char* name : {"in/dicom/3", "in/dicom/.hidden"}) write_text(name, "");  // a slice that was lost is the series', which fails for it
  const BatchInput found = find_cases(path("in"));
  EXPECT_EQ(paths_of(found), (std::vector<std::string>{"a", "dicom", "k.cfl", "m.h5", "s.nii.gz"}));
  EXPECT_EQ(found.skipped, (Skipped{{"neither a scan nor a measurement", 1}}));
  EXPECT_EQ(files_of_case(found.root, "dicom"), (std::vector<fs::path>{"dicom/1", "dicom/2", "dicom/3"}));
  EXPECT_EQ(files_of_case(found.root, "k.cfl"), (std::vector<fs::path>{"k.cfl", "k.hdr"}));

  write_text("list.csv", "case,path\nA1,in/k.cfl\n,in/s.nii.gz\n");
  const BatchInput listed = find_cases(path("list.csv"));
  ASSERT_EQ(listed.cases.size(), 2u);
  EXPECT_EQ(listed.cases[0].label, "A1");
  EXPECT_EQ(listed.cases[1].path, "in/s.nii.gz");
  write_text("bad.csv", "case,path\n../x,in/k.cfl\n");
  EXPECT_THROW(find_cases(path("bad.csv")), Error);
}

TEST_F(BatchDiscovery, MeasurementFoldersAndLists) {
  fs::create_directories(folder_ / "in");
  for (const char* name : {"in/one", "in/two"}) {
    const Ended made = run_postrec({"simulate", path("mr.nii.gz"), "--slice", "1", "--operator", "mri-fourier", "--simulate-coils", "2", "--set", "mask-pattern=equispaced", "--set", "acceleration=2",
                                    "--noise", "0.1", "--output", path(name)});
    ASSERT_EQ(made.code, 0) << made.err;
  }
  write_text("list.tsv", "\xef\xbb\xbf" "path\tcase\nin/one\tfirst\nin/two\tsecond\n");
  for (const std::string input : {"in", "list.tsv"}) {
    const std::string output = input + "_out";
    ASSERT_EQ(run_postrec({"batch", "plan", path(input), path(output), "--prior", path("mr.safetensors"), "--samples", "2", "--steps", "3"}).code, 0);
    const Ended ended = run_batch(output);
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_EQ(digests(output).size(), 2u);
  }
  EXPECT_EQ(digests("list.tsv_out").count("second"), 1u);
}

// What a plan has no digest of may change unseen.
TEST_F(BatchDiscovery, ACaseIsAllFilesThatItReads) {
  fs::create_directories(folder_ / "in/m/raw");
  for (const char* name : {"in/m/raw/y.mha", "in/m/.k.cfl", "in/m/.k.hdr", "in/m/.DS_Store", "in/pixels.raw.gz", "in/pixels.raw"}) write_text(name, "x");
  write_text("in/m/measurement.json", R"({"data": ".k.cfl"})");
  write_text("in/x.nhdr", "NRRD0004\ndata file: pixels.raw.gz\n");
  write_text("in/x.mhd", "NDims = 3\nElementDataFile = pixels.raw\r\n");
  EXPECT_EQ(files_of_case(folder_ / "in", "m"), (std::vector<fs::path>{"m/.k.cfl", "m/.k.hdr", "m/measurement.json", "m/raw/y.mha"}));
  EXPECT_EQ(files_of_case(folder_ / "in", "x.nhdr"), (std::vector<fs::path>{"x.nhdr", "pixels.raw.gz"}));
  EXPECT_EQ(files_of_case(folder_ / "in", "x.mhd"), (std::vector<fs::path>{"x.mhd", "pixels.raw"}));
}

// Nobody misses what was never counted.
TEST_F(BatchDiscovery, WhatIsLeftOutOfABidsTreeIsCounted) {
  for (const char* folder : {"in/sub-01/anat", "in/sub-02/anat", "in/sub-02/ses-1/anat", "in/sub-03/func", "in/derivatives", "in/late", "in/.git"}) fs::create_directories(folder_ / folder);
  for (const char* file : {"in/sub-01/anat/sub-01_T1w.nii.gz", "in/sub-01/anat/sub-01_T1w.json", "in/sub-01/anat/sub-01_T1w.nii", "in/sub-01/anat/sub-01_T2w.nii", "in/sub-01/anat/sub-01_mask.nii.gz",
                           "in/sub-01/anat/notes.docx", "in/sub-02/anat/sub-02_T1w.nii.gz", "in/sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz", "in/late/scan.nii.gz", "in/scan.mha", "in/participants.tsv",
                           "in/README", "in/.DS_Store"})
    write_text(file, "x");
  fs::create_symlink("nowhere", folder_ / "in/sub-02/anat/sub-02_T2w.nii.gz");
  const BatchInput found = find_cases(path("in"));
  EXPECT_EQ(paths_of(found), (std::vector<std::string>{"sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii", "sub-02/anat/sub-02_T1w.nii.gz", "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz"}));
  EXPECT_EQ(found.cases[1].label, "sub-01_T2w");
  EXPECT_EQ(found.skipped, (Skipped{{"a .nii beside the same in .nii.gz", 1},
                                    {"a folder beside the subjects of a BIDS tree", 2},
                                    {"a mask or label map", 1},
                                    {"a scan beside the subjects of a BIDS tree", 1},
                                    {"a subject or session without a scan in anat", 1},
                                    {"no regular file", 1},
                                    {"not NIfTI, in anat of a BIDS tree", 1}}));
}

TEST_F(BatchDiscovery, ColumnsWithoutNamesAreRefused) {
  fs::create_directories(folder_ / "in");
  write_text("in/s.nii.gz", "x");
  write_text("list.csv", "in/s.nii.gz,A1\n");
  test::expect_error(ErrorKind::kBadData, "line 1 of the list has 2 columns", [&] { find_cases(path("list.csv")); });
  write_text("list.csv", "# of the trial\nin/s.nii.gz\n");
  EXPECT_EQ(find_cases(path("list.csv")).cases.size(), 1u);
}

}  // namespace
}  // namespace postrec
