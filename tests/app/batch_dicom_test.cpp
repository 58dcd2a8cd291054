// postrec batch over DICOM: which series there are in which folders, what is left out and why, what comes out as DICOM, and receptions that are not complete.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <set>
#include <thread>

#include "../data/ct_pd_files.hpp"
#include "../data/dicom_files.hpp"
#include "batch/batch_discovery.hpp"
#include "batch_fixture.hpp"
#include "postrec/data/pacs_listen.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

using Change = std::function<void(DcmDataset&)>;

/// What of a derived object must be the same in every run: its UIDs, its sources and its pixels.
struct DerivedFile {
  std::string sop_instance, series, study;
  std::set<std::string> sources;
  std::vector<Uint16> pixels;
  bool operator==(const DerivedFile&) const = default;
};

std::string text_of(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  item.findAndGetOFString(tag, value, 0, OFTrue);
  return value.c_str();
}

DerivedFile read_derived(const fs::path& path) {
  DcmFileFormat file;
  EXPECT_TRUE(file.loadFile(path.c_str()).good()) << path;
  DcmDataset& d = *file.getDataset();
  DerivedFile derived{text_of(d, DCM_SOPInstanceUID), text_of(d, DCM_SeriesInstanceUID), text_of(d, DCM_StudyInstanceUID), {}, {}};
  DcmStack stack;                              // in a map each frame has its own
  while (d.search(DCM_ReferencedSOPInstanceUID, stack, ESM_afterStackTop, OFTrue).good()) {
    OFString value;
    dynamic_cast<DcmElement*>(stack.top())->getOFString(value, 0);
    derived.sources.insert(value.c_str());
  }
  const Uint16* pixels = nullptr;
  unsigned long count = 0;
  if (d.findAndGetUint16Array(DCM_PixelData, pixels, &count).good() && pixels != nullptr) derived.pixels.assign(pixels, pixels + count);
  return derived;
}

class BatchDicom : public BatchTest {
 protected:
  /// A CT series of `slices` slices with UIDs of its own, its files added to a folder below "in".
  void add_series(const std::string& folder, const std::string& series, int slices = 2, const Change& change = {}) const {
    test::PhantomSpec spec;
    spec.slices = slices;
    spec.change = [&](DcmDataset& d, int slice) {
      d.putAndInsertString(DCM_SeriesInstanceUID, series.c_str());
      d.putAndInsertString(DCM_SOPInstanceUID, (series + "." + std::to_string(slice + 1)).c_str());
      // Another seed of the texture: no two series have the same pixels.
      const Uint16* pixels = nullptr;
      unsigned long count = 0;
      d.findAndGetUint16Array(DCM_PixelData, pixels, &count);
      std::vector<Uint16> mine(pixels, pixels + count);
      for (auto& pixel : mine) pixel = static_cast<Uint16>(pixel + series.back() % 10);
      d.putAndInsertUint16Array(DCM_PixelData, mine.data(), count);
      if (change) change(d);
    };
    test::write_phantom_series(path("series"), spec);
    fs::create_directories(folder_ / "in" / folder);
    for (const auto& entry : fs::directory_iterator(path("series"))) fs::rename(entry.path(), folder_ / "in" / folder / (std::string(test::kCanary) + series + entry.path().filename().string()));
  }

  std::vector<std::string> plan_words(const std::string& output, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {"batch", "plan", path("in"), path(output), "--site-key", path("key")};
    words.insert(words.end(), more.begin(), more.end());
    for (const char* word : {"--simulate", "--operator", "ct-radon", "--set", "n-views=20", "--noise", "0.5", "--samples", "2", "--dicom"}) words.emplace_back(word);
    words.insert(words.end(), {"--prior", path("ct.safetensors")});
    if (std::find(more.begin(), more.end(), "--steps") == more.end()) words.insert(words.end(), {"--steps", "3"});
    return words;
  }
  Ended plan(const std::string& output, const std::vector<std::string>& more = {}) const {
    write_text("key", kKey);
    return run_postrec(plan_words(output, more));
  }
  /// Case -> name of the object below dicom/ -> what it is.
  std::map<std::string, std::map<std::string, DerivedFile>> derived(const std::string& output) const {
    std::map<std::string, std::map<std::string, DerivedFile>> found;
    for (const auto& [id, outputs] : digests(output))
      for (const auto& entry : fs::recursive_directory_iterator(folder_ / output / id / "dicom"))
        if (entry.is_regular_file()) found[id][entry.path().lexically_relative(folder_ / output / id / "dicom").string()] = read_derived(entry.path());
    return found;
  }
  std::set<std::string> ids(const std::string& output) const {
    std::set<std::string> found;
    const auto table = status(output);
    for (const auto& row : table["cases"]) found.insert(row["case"].get<std::string>());
    return found;
  }
};

// Two series in one folder, one of them going on in another folder, and one elsewhere; a localiser in the middle of a series, a screenshot, a report, a segmentation, a copy and a letter.
TEST_F(BatchDicom, EverySeriesIsACaseAndOnlyItself) {
  add_series("A", "1.2.3.41");
  add_series("A", "1.2.3.42", 3);
  for (const auto& entry : fs::directory_iterator(folder_ / "in/A"))
    if (entry.path().filename().string().find("42") != std::string::npos && entry.path().filename().string().find("PHI 2") != std::string::npos) {
      fs::create_directories(folder_ / "in/B");
      fs::rename(entry.path(), folder_ / "in/B/moved");
    }
  add_series("C/D", "1.2.3.43");
  add_series("A", "1.2.3.41", 1, [](DcmDataset& d) {
    d.putAndInsertString(DCM_ImageType, "ORIGINAL\\PRIMARY\\LOCALIZER");
    d.putAndInsertString(DCM_SOPInstanceUID, "1.2.3.41.99");
  });  // under the name of the first slice, which it replaces; written again in the next line
  fs::rename(folder_ / "in/A" / (std::string(test::kCanary) + "1.2.3.41" + test::kCanary + "^PHI 0.dcm"), folder_ / "in/A/scout");
  add_series("A", "1.2.3.41");
  add_series("A", "1.2.3.50", 1, [](DcmDataset& d) { d.putAndInsertString(DCM_SOPClassUID, UID_SecondaryCaptureImageStorage); });
  add_series("A", "1.2.3.51", 1, [](DcmDataset& d) { delete d.remove(DCM_PixelData); });
  add_series("A", "1.2.3.52", 1, [](DcmDataset& d) { d.putAndInsertString(DCM_SOPClassUID, UID_SegmentationStorage); });
  fs::copy_file(folder_ / "in/B/moved", folder_ / "in/B/again");
  write_text("in/A/letter.pdf", "letter");

  const Ended planned = plan("out", {"--log-format", "json"});
  ASSERT_EQ(planned.code, 0) << planned.err;
  EXPECT_EQ(nlohmann::json::parse(planned.out)["skipped"], (nlohmann::json{{"a DICOM object without an image", 1}, {"a copy of an instance", 1}, {"a localiser", 1}, {"a secondary capture", 1},
                                                                           {"a segmentation or a dose map", 1}, {"neither a scan nor a measurement", 1}}));
  ASSERT_EQ(ids("out").size(), 3u);
  const Ended ended = run_batch("out");
  ASSERT_EQ(ended.code, 0) << ended.err;

  std::map<std::string, int> slices_of_series;
  std::set<std::string> sop_instances;
  for (const auto& [id, objects] : derived("out")) {
    std::set<std::string> series;
    int slices = 0;
    for (const auto& [name, object] : objects) {
      EXPECT_EQ(object.study, "1.2.3") << name;
      EXPECT_TRUE(sop_instances.insert(object.sop_instance).second) << name;
      ASSERT_FALSE(object.sources.empty()) << name;
      for (const auto& source : object.sources) series.insert(source.substr(0, source.rfind('.')));
      slices += name.rfind("mean/", 0) == 0;
    }
    ASSERT_EQ(series.size(), 1u) << "objects of " << id << " refer to several series";
    slices_of_series[*series.begin()] = slices;
    const auto run = nlohmann::json::parse(content("out/" + id + "/run.json"));
    EXPECT_EQ(run["slices"].size(), static_cast<std::size_t>(slices));
    for (const auto& note : run["notes"]) EXPECT_EQ(note.get<std::string>().find("left out"), std::string::npos) << note;
  }
  EXPECT_EQ(slices_of_series, (std::map<std::string, int>{{"1.2.3.41", 2}, {"1.2.3.42", 3}, {"1.2.3.43", 2}}));
  // Nothing but plan and derived objects names the patient, and no id or name holds a UID.
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out")) {
    const std::string name = entry.path().lexically_relative(folder_ / "out").string();
    EXPECT_EQ(name.find(test::kCanary), std::string::npos) << name;
    EXPECT_EQ(name.find("1.2.3"), std::string::npos) << name;
    if (entry.is_regular_file() && name != "plan.jsonl" && entry.path().extension() != ".dcm") { EXPECT_EQ(content("out/" + name).find(test::kCanary), std::string::npos) << name; }
  }
  EXPECT_EQ((planned.out + planned.err + ended.out + ended.err).find(test::kCanary), std::string::npos);
}

TEST_F(BatchDicom, TheIdComesFromTheSeriesAndNotFromItsPlace) {
  add_series("A", "1.2.3.41");
  add_series("A", "1.2.3.42");
  ASSERT_EQ(plan("before").code, 0);
  fs::create_directories(folder_ / "in/elsewhere");
  fs::rename(folder_ / "in/A", folder_ / "in/elsewhere/B");
  ASSERT_EQ(plan("after").code, 0);
  EXPECT_EQ(ids("before"), ids("after"));
  write_text("key", std::string(64, 'f') + "\n");
  ASSERT_EQ(run_postrec(plan_words("other")).code, 0);
  std::set<std::string> both = ids("after");
  both.merge(ids("other"));
  EXPECT_EQ(both.size(), 4u) << "who does not have the key cannot make them";
}

// Projections lie beside images, as a scanner's archive gives them: without --simulate they are the cases, with it the images are, and what is left out is said.
TEST_F(BatchDicom, SeriesOfProjections) {
  add_series("A", "1.2.3.41");
  test::CtPdScan scan;
  test::write_ct_pd(folder_ / "in/A", scan);   // series 1.2.3.4
  scan.x_mm = -20.0;
  scan.change = [](DcmDataset& d, int view) {
    d.putAndInsertString(DCM_SeriesInstanceUID, "1.2.3.5");
    d.putAndInsertString(DCM_SOPInstanceUID, ("1.2.3.5." + std::to_string(view + 1)).c_str());
  };
  test::write_ct_pd(folder_ / "in/B/C", scan);
  scan.change = [](DcmDataset& d, int view) {  // which no slice can be made of
    d.putAndInsertString(DCM_SeriesInstanceUID, "1.2.3.6");
    d.putAndInsertString(DCM_SOPInstanceUID, ("1.2.3.6." + std::to_string(view + 1)).c_str());
    test::put_private(d, 0x7031, 0x1002, {static_cast<float>(view)});
  };
  test::write_ct_pd(folder_ / "in/helix", scan);
  scan.change = [](DcmDataset& d, int) { d.putAndInsertString(DCM_SeriesInstanceUID, "1.2.3.7"); };
  test::write_ct_pd(folder_ / "in/damaged", scan);
  std::set<fs::path> damaged;
  for (const auto& entry : fs::directory_iterator(folder_ / "in/damaged")) damaged.insert(entry.path());
  fs::resize_file(*damaged.begin(), fs::file_size(*damaged.begin()) - 20);  // the first says its series, and no more
  fs::create_directories(folder_ / "in/broken");
  write_text("in/broken/file", std::string(128, '\0') + "DICM\x02\x01 damaged");
  write_text("key", kKey);
  const std::vector<std::string> size = {"--set", "height=46", "--set", "width=50", "--set", "pixel-mm=2.5"};
  const auto planned = [&](const std::string& output, const std::vector<std::string>& more) {
    std::vector<std::string> words = {"batch", "plan", path("in"), path(output), "--site-key", path("key"), "--prior", path("ct.safetensors"), "--samples", "2", "--steps", "3", "--log-format", "json"};
    words.insert(words.end(), size.begin(), size.end());
    words.insert(words.end(), more.begin(), more.end());
    return run_postrec(words);
  };
  const std::string images = "a DICOM series of images, which need --simulate", projections = "a DICOM series of projections, which are measured: plan them without --simulate";
  ASSERT_EQ(planned("estimate", {"--dry-run"}).code, 0);
  const Ended measured = planned("out", {});
  ASSERT_EQ(measured.code, 0) << measured.err;
  EXPECT_EQ(nlohmann::json::parse(measured.out)["skipped"], (nlohmann::json{{images, 1}}));
  const std::set<std::string> found = ids("out");
  EXPECT_EQ(found.size(), 5u);
  const Ended simulated = planned("simulated", {"--simulate", "--operator", "ct-radon", "--set", "n-views=20"});
  ASSERT_EQ(simulated.code, 0) << simulated.err;
  EXPECT_EQ(nlohmann::json::parse(simulated.out)["skipped"], (nlohmann::json{{projections, 4}}));
  EXPECT_EQ(ids("simulated").size(), 2u) << "the images, and what is damaged throughout";

  const Ended ended = run_batch("out");
  EXPECT_EQ(ended.code, 8) << ended.err;
  const auto table = status("out");
  EXPECT_EQ(table["all"]["done"], 2) << table;
  std::string reasons;
  for (const auto& row : table["cases"])
    if (row["state"] == "failed") reasons += row["reason"].get<std::string>() + "\n";
  for (const char* reason : {"helical", "DICOM file 1 of", "damaged"}) EXPECT_NE(reasons.find(reason), std::string::npos) << reason << " is not among: " << reasons;
  // Each case is its own series: what follows from the data alone is what it is of the folder by itself.
  fs::create_directories(folder_ / "alone");
  for (const auto& entry : fs::directory_iterator(folder_ / "in/A"))
    if (entry.path().filename().string().find("^1") != std::string::npos) fs::copy(entry.path(), folder_ / "alone" / entry.path().filename());
  std::multiset<std::string> direct, of_cases;
  for (const std::string& input : {path("alone"), path("in/B/C")}) {
    std::vector<std::string> words = {"reconstruct", input, "--prior", path("ct.safetensors"), "--samples", "2", "--steps", "3", "--output", path("direct"), "--on-existing", "overwrite"};
    words.insert(words.end(), size.begin(), size.end());
    const Ended one = run_postrec(words);
    ASSERT_EQ(one.code, 0) << one.err;
    direct.insert(content("direct/pseudo_inverse.nii.gz"));
  }
  for (const std::string& id : found)
    if (fs::exists(folder_ / "out" / id)) of_cases.insert(content("out/" + id + "/pseudo_inverse.nii.gz"));
  EXPECT_EQ(of_cases, direct);
  EXPECT_EQ(std::set<std::string>(direct.begin(), direct.end()).size(), 2u);
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out")) {
    const std::string name = entry.path().lexically_relative(folder_ / "out").string();
    EXPECT_EQ(name.find(test::kProjectionCanary), std::string::npos) << name;
    if (entry.is_regular_file() && name != "plan.jsonl") { EXPECT_EQ(content("out/" + name).find(test::kProjectionCanary), std::string::npos) << name; }
  }
  EXPECT_EQ((measured.out + measured.err + simulated.out + simulated.err + ended.out + ended.err).find(test::kProjectionCanary), std::string::npos);
}

// What cannot be looked at or read is told without its name.
TEST_F(BatchDicom, WhatCannotBeRead) {
  add_series("A", "1.2.3.41");
  const std::string name = std::string(test::kCanary) + "^PHI.nii.gz";
  fs::create_symlink(name, folder_ / "in/A" / name);  // to itself
  const Ended planned = plan("out", {"--log-format", "json"});
  ASSERT_EQ(planned.code, 0) << planned.err;
  EXPECT_EQ(nlohmann::json::parse(planned.out)["skipped"], (nlohmann::json{{"no regular file", 1}}));
  EXPECT_EQ(ids("out").size(), 1u);

  ASSERT_EQ(mkfifo(path("in/" + name).c_str(), 0600), 0);
  write_text("list.txt", "in/A\nin/" + name + "\n");
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--dry-run"}}) {
    std::vector<std::string> words = plan_words("other", more);
    words[2] = path("list.txt");
    const Ended ended = run_postrec(words);
    expect_error(ended, 66, {"a file of case ", "cannot be read"});
    EXPECT_EQ(ended.err.find(test::kCanary), std::string::npos) << ended.err;
  }
}

// Of a list, too: a name is for one series.
TEST_F(BatchDicom, FoldersInAList) {
  add_series("A", "1.2.3.41");
  add_series("B", "1.2.3.42");
  add_series("B", "1.2.3.43");
  write_text("list.csv", "path,case\nin/A,first\nin/B,\n");
  const BatchInput found = find_cases(path("list.csv"));
  ASSERT_EQ(found.cases.size(), 3u);
  EXPECT_EQ(found.cases[0].label, "first");
  EXPECT_EQ(found.cases[1].path, "in/B");
  EXPECT_EQ(found.cases[2].files.size(), 2u);
  write_text("list.csv", "path,case\nin/B,second\n");
  try {
    find_cases(path("list.csv"));
    ADD_FAILURE() << "two series have one name";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("line 2 of the list names holds 2 DICOM series"), std::string::npos) << error.what();
  }
}

// A name may have a dot in it, and what stands behind that is no ending.
TEST_F(BatchDicom, NoPartOfANameIsAnEnding) {
  add_series("A", "1.2.3.41");
  const auto files = fs::directory_iterator(folder_ / "in/A");
  fs::rename(fs::begin(files)->path(), folder_ / "in/Meier.Xquaverly-1950-03-02");
  fs::remove_all(folder_ / "in/A");
  write_text("list.csv", "path,case\nin/Meier.Xquaverly-1950-03-02,one\n");
  write_text("key", kKey);
  auto words = plan_words("out");
  words[2] = path("list.csv");
  const Ended planned = run_postrec(words);
  ASSERT_EQ(planned.code, 0) << planned.err;
  const Ended ended = run_batch("out");
  EXPECT_EQ(ended.code, 0) << ended.err;
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out")) {
    if (!entry.is_regular_file() || entry.path().filename() == "plan.jsonl") continue;
    std::string text = content(entry.path().lexically_relative(folder_).string());
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    EXPECT_EQ(text.find("xquaverly"), std::string::npos) << entry.path();
  }
}

// A file that is damaged where its series stands may be a slice of any series beside it: those fail, by name, and no slice is lost in silence.
TEST_F(BatchDicom, ADamagedFileIsARow) {
  add_series("A", "1.2.3.41");
  add_series("B", "1.2.3.42");
  write_text("in/A/broken", std::string(128, '\0') + "DICM\x02\x01 damaged");
  ASSERT_EQ(plan("out").code, 0);
  EXPECT_EQ(run_batch("out").code, 8);
  const auto table = status("out");
  EXPECT_EQ(table["all"]["done"], 1) << table;
  for (const auto& row : table["cases"])
    if (row["state"] == "failed") {
      EXPECT_EQ(row["exit_code"], 65);
      EXPECT_NE(row["reason"].get<std::string>().find("DICOM file 3 of"), std::string::npos) << row;
    }
}

// Killed and run again, the objects are the same: UIDs, references, pixels; and the images byte for byte.
TEST_F(BatchDicom, KilledAndResumedMakesTheSameObjects) {
  add_series("A", "1.2.3.41");
  add_series("A", "1.2.3.42", 3);
  for (const char* output : {"whole", "killed"}) ASSERT_EQ(plan(output, {"--steps", "300"}).code, 0);
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(run_batch("whole", {"--jobs", "1"}).code, 0);
  const double peaceful = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  int kills = 0;
  for (const double moment : {0.2, 0.45, 0.35, 0.5}) {
    const int pid = start_postrec({"batch", "run", path("killed"), "--jobs", "1"});
    std::this_thread::sleep_for(std::chrono::duration<double>(moment * peaceful));
    kill(pid, SIGKILL);
    if (wait_for(pid) == 0) break;
    ++kills;
  }
  EXPECT_GE(kills, 1);
  const Ended rest = run_batch("killed");
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(digests("killed"), digests("whole"));
  const auto objects = derived("whole");
  ASSERT_EQ(objects.size(), 2u);
  EXPECT_EQ(objects.begin()->second.count("standard_deviation.dcm"), 1u);
  EXPECT_EQ(derived("killed"), objects);
  // A series that gets another file after the plan is still read as it was planned.
  add_series("A", "1.2.3.42", 4);
  EXPECT_EQ(run_batch("killed", {"--on-existing", "overwrite"}).code, 0);
  EXPECT_EQ(digests("killed"), digests("whole"));
}

std::string marker_text(const fs::path& series) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(series))
    if (entry.path().extension() == ".dcm") names.insert(entry.path().stem().string());
  std::string all;
  for (const auto& name : names) all += name + "\n";
  return nlohmann::ordered_json{{"format", "postrec-series/1"}, {"instances", names.size()}, {"sha256_of_names", sha256_hex(all.data(), all.size())}}.dump() + "\n";
}

// In the folder of a listener only what is complete is taken, and stays what was planned.
TEST_F(BatchDicom, ReceptionsThatAreComplete) {
  const std::string done = "00112233445566aa", growing = "00112233445566bb", stale = "00112233445566cc";
  add_series(done, "1.2.3.41");
  add_series(growing, "1.2.3.42");
  add_series(stale, "1.2.3.43");
  fs::create_directories(folder_ / "in/.incoming");
  write_text("in/" + done + "/complete", marker_text(folder_ / "in" / done));
  write_text("in/" + stale + "/complete", marker_text(folder_ / "in" / done));  // not of its instances
  EXPECT_TRUE(is_complete_series(folder_ / "in" / done));
  EXPECT_FALSE(is_complete_series(folder_ / "in" / growing));

  const Ended planned = plan("out", {"--log-format", "json"});
  ASSERT_EQ(planned.code, 0) << planned.err;
  const std::string reason = "a series that postrec pacs listen has not marked as complete: ";
  EXPECT_EQ(nlohmann::json::parse(planned.out)["skipped"], (nlohmann::json{{reason + growing, 1}, {reason + stale, 1}}));
  EXPECT_EQ(ids("out").size(), 1u);
  ASSERT_EQ(plan("all", {"--incomplete"}).code, 0);
  EXPECT_EQ(ids("all").size(), 3u);

  EXPECT_EQ(run_batch("out").code, 0);
  const auto whole = digests("out");
  // It grows: the listener takes the marker away.
  fs::remove(folder_ / "in" / done / "complete");
  const Ended grown = run_batch("out", {"--on-existing", "overwrite"});
  EXPECT_EQ(grown.code, 8);
  EXPECT_NE(grown.err.find("is not the one that was planned"), std::string::npos) << grown.err;
  const auto table = status("out", {"--verify"});
  EXPECT_EQ(table["cases"][0]["state"], "done") << "the result of what was planned";
  EXPECT_EQ(table["all"]["done"], 1);
  EXPECT_EQ(digests("out"), whole);

  for (const auto& name : {done, growing, stale}) fs::remove(folder_ / "in" / name / "complete");
  const Ended none = plan("none");
  EXPECT_EQ(none.code, 66);
  EXPECT_NE(none.err.find("left out: 1 x " + reason + done), std::string::npos) << none.err;
}

TEST_F(BatchDicom, WhatAnUnfinishedGetLeft) {
  add_series("case.partial/0011223344556677", "1.2.3.41");
  fs::create_directories(folder_ / "in/case.partial/.incoming");
  add_series("other", "1.2.3.42");
  const BatchInput found = find_cases(path("in"));
  EXPECT_EQ(found.cases.size(), 1u);
  EXPECT_EQ(found.skipped, (std::map<std::string, std::int64_t>{{"what an unfinished postrec pacs get left", 1}}));
}

}  // namespace
}  // namespace postrec
