// postrec batch: plan, run, status, report, submit; rows that fail, resuming by digest, shards, a full disk, names of patients.
#include <sys/stat.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "batch/batch_slurm.hpp"
#include "batch/batch_store.hpp"
#include "batch/case_id.hpp"
#include "batch_fixture.hpp"
#include "expect_error.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void flip_a_byte(const fs::path& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(40);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(40);
  file.put(byte);
}

class BatchRun : public BatchTest {};

// [RFC 4231, test cases 1, 2 and 6]
TEST(CaseId, HmacSha256) {
  EXPECT_EQ(hmac_sha256_hex(std::string(20, '\x0b'), "Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hmac_sha256_hex("Jefe", "what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hmac_sha256_hex(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(CaseId, Names) {
  for (const char* good : {"sub-01_T1w", "sub-A9_ses-2_run-1_T2w", "sub-01"}) EXPECT_TRUE(is_bids_name(good)) << good;
  for (const char* bad : {"sub-_T1w", "sub-01_T1w.nii", "Meier", "sub-01/..", "sub-M\xc3\xbcller_T1w", "sub-01 T1w", ""}) EXPECT_FALSE(is_bids_name(bad)) << bad;
}

TEST(BatchHelp, FitsAScreenAndEndsWithAnExample) {
  for (const std::string name : {"", "plan", "run", "status", "report", "submit"}) {
    const Ended ended = name.empty() ? run_postrec({"batch", "--help"}) : run_postrec({"batch", name, "--help"});
    EXPECT_EQ(ended.code, 0) << name;
    EXPECT_LE(std::count(ended.out.begin(), ended.out.end(), '\n'), 50) << name;
    EXPECT_NE(ended.out.find("\nExample:\n  postrec batch"), std::string::npos) << ended.out;
  }
  Ended unknown = run_postrec({"batch", "stauts"});
  EXPECT_EQ(unknown.code, 64);
  EXPECT_NE(unknown.err.find("did you mean 'status'?"), std::string::npos) << unknown.err;
}

TEST_F(BatchRun, PlanIsMadeOnceAndNeverChanged) {
  make_bids(3);
  const Ended dry = run_postrec(plan_words("out", {"--dry-run"}));
  EXPECT_EQ(dry.code, 0) << dry.err;
  EXPECT_NE(dry.out.find("sub-02_T1w  1 file(s)"), std::string::npos) << dry.out;
  EXPECT_NE(dry.out.find("3 cases"), std::string::npos) << dry.out;
  EXPECT_FALSE(fs::exists(folder_ / "out"));

  plan("out");
  const std::string first = content("out/plan.jsonl");
  plan("out");
  EXPECT_EQ(content("out/plan.jsonl"), first);
  expect_error(run_postrec(plan_words("out", {"--participant-label", "01"})), 73, {"plan with other cases", "another output folder"});
  EXPECT_EQ(content("out/plan.jsonl"), first);
  expect_error(run_postrec({"batch", "run", path("in/sub-01"), path("out")}), 64, {"is not what this batch was planned for"});
}

// As apps/README.md says: results that a new plan confirms stay. With a key of the site there is no file but the plan that says whose folder it is.
TEST_F(BatchRun, ARemovedPlanCanBeMadeAnew) {
  make_bids(2);
  write_text("key", std::string(64, 'a') + "\n");
  plan("out", {"--site-key", path("key"), "--case", "sub-01_T1w"});
  ASSERT_EQ(run_batch("out").code, 0);
  fs::remove(folder_ / "out/plan.jsonl");
  plan("out", {"--site-key", path("key")});
  const Ended again = run_batch("out");
  EXPECT_NE(again.out.find("1 cases done, 1 were done before"), std::string::npos) << again.out << again.err;
}

// It ties the ids to the names of the hospital.
TEST_F(BatchRun, ThePlanIsReadByThoseWhomTheUmaskLets) {
  make_bids(1);
  for (const auto& [mask, mode] : {std::pair(0077u, 0400u), std::pair(0027u, 0440u), std::pair(0022u, 0444u)}) {
    const std::string output = "out" + std::to_string(mode);
    const mode_t before = umask(mask);
    plan(output);
    umask(before);
    EXPECT_EQ(static_cast<unsigned>(fs::status(folder_ / output / "plan.jsonl").permissions()), mode);
  }
}

TEST_F(BatchRun, PlanChoosesAndRefuses) {
  make_bids(3);
  plan("two", {"--participant_label", "sub-03", "01"});
  EXPECT_EQ(status("two")["cases"].size(), 2u);
  EXPECT_EQ(status("two")["cases"][0]["case"], "sub-01_T1w");
  plan("one", {"--case", "sub-02_T1w"});
  EXPECT_EQ(status("one")["cases"].size(), 1u);
  expect_error(run_postrec(plan_words("no", {"--participant-label", "09"})), 66, {"participant '09'"});
  expect_error(run_postrec(plan_words("in/out")), 64, {"same place"});
  expect_error(run_postrec(plan_words("in")), 73, {"other things than a batch"});
  expect_error(run_postrec(plan_words("no", {"--output", "x"})), 64, {"--output", "OUT/CASE"});
  expect_error(run_postrec(plan_words("no", {"--nose", "1"})), 64, {"--nose", "--noise"});
  expect_error(run_postrec(plan_words("no", {"--set", "acceleraton=3"})), 78, {"acceleraton", "acceleration"});
  expect_error(run_postrec(plan_words("no", {}, "missing")), 66, {"missing"});
  EXPECT_FALSE(fs::exists(folder_ / "in/out"));
}

TEST_F(BatchRun, RefusesAChangedPlanPriorOrProgram) {
  make_bids(1);
  plan("out");
  const std::string plan_text = content("out/plan.jsonl");
  fs::permissions(folder_ / "out/plan.jsonl", fs::perms::owner_write, fs::perm_options::add);
  write_text("out/plan.jsonl", std::regex_replace(plan_text, std::regex("\"n_cases\":1"), "\"n_cases\":2"));
  expect_error(run_batch("out"), 78, {"plan.jsonl", "changed"});
  write_text("out/plan.jsonl", plan_text.substr(0, plan_text.size() - 20));
  expect_error(run_batch("out"), 78, {"plan.jsonl"});
  write_text("out/plan.jsonl", plan_text);
  fs::copy_file(path("real.safetensors"), path("mr.safetensors"), fs::copy_options::overwrite_existing);
  expect_error(run_batch("out"), 78, {"files", "not those of its plan"});
  EXPECT_FALSE(fs::exists(folder_ / "out/sub-01_T1w"));
}

TEST_F(BatchRun, OneBadCaseIsARow) {
  make_bids(4);
  const fs::path bad = folder_ / "in/sub-02/anat/sub-02_T1w.nii.gz";
  fs::resize_file(bad, fs::file_size(bad) / 2);
  plan("out");
  const Ended ended = run_batch("out", {"--jobs", "2"});
  EXPECT_EQ(ended.code, 8) << ended.err;
  EXPECT_NE(ended.out.find("3 cases done, 0 were done before, 1 failed, 0 left"), std::string::npos) << ended.out;
  const auto table = status("out");
  EXPECT_EQ(table["all"]["done"], 3);
  EXPECT_EQ(table["cases"][1]["state"], "failed");
  EXPECT_EQ(table["cases"][1]["exit_code"], 65);
  EXPECT_NE(table["cases"][1]["reason"].get<std::string>().find("input.nii.gz"), std::string::npos) << table;
  EXPECT_FALSE(fs::exists(folder_ / "out/sub-02_T1w"));

  const Ended report = run_postrec({"batch", "report", path("out")});
  EXPECT_EQ(report.code, 0) << report.err;
  const auto summary = nlohmann::json::parse(content("out/summary.json"));
  EXPECT_EQ(summary["cases"].size(), 4u);
  EXPECT_EQ(summary["cases"][0]["samples"], 2);
  EXPECT_TRUE(summary["cases"][0].contains("quality"));
  const std::string page = content("out/index.html");
  for (const char* link : {"sub-01_T1w/report.html", ".work/sub-02_T1w/failed.html", "sub-04_T1w/mean.png"}) EXPECT_NE(page.find(link), std::string::npos) << link;
  EXPECT_TRUE(fs::exists(folder_ / "out/.work/sub-02_T1w/failed.html"));
  std::istringstream rows(content("out/summary.tsv"));
  std::vector<std::string> lines;
  for (std::string line; std::getline(rows, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[2].rfind("sub-02_T1w\tfailed\t65\t", 0), 0u) << lines[2];
  for (const auto& line : lines) EXPECT_EQ(std::count(line.begin(), line.end(), '\t'), std::count(lines[0].begin(), lines[0].end(), '\t')) << line;

  // Slices of one value everywhere have no PSNR.
  const std::string told = content("out/sub-01_T1w/run.json");
  auto run = nlohmann::ordered_json::parse(told);
  run["quality"]["mean"]["psnr_db"] = nullptr;
  write_text("out/sub-01_T1w/run.json", run.dump());
  EXPECT_EQ(run_postrec({"batch", "report", path("out")}).code, 0);
  write_text("out/sub-01_T1w/run.json", told);

  const Ended fast = run_batch("out", {"--fail-fast"});
  EXPECT_EQ(fast.code, 8);
  EXPECT_NE(fast.out.find("3 were done before, 1 failed"), std::string::npos) << fast.out;
}

TEST_F(BatchRun, ResumesByDigest) {
  make_bids(4);
  plan("out");
  ASSERT_EQ(run_batch("out").code, 0);
  const auto whole = digests("out");
  ASSERT_EQ(whole.size(), 4u);
  EXPECT_TRUE(leftovers("out").empty());

  flip_a_byte(folder_ / "out/sub-01_T1w/mean.nii.gz");
  fs::remove(folder_ / "out/sub-02_T1w/report.txt");
  fs::remove(folder_ / "out/sub-03_T1w/done.json");
  EXPECT_EQ(status("out")["all"]["done"], 2) << "sizes alone do not show the first";
  EXPECT_EQ(status("out", {"--verify"})["all"]["done"], 1);
  const Ended again = run_batch("out");
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.out.find("3 cases done, 1 were done before"), std::string::npos) << again.out;
  EXPECT_EQ(digests("out"), whole);
  EXPECT_EQ(status("out", {"--verify"})["all"]["done"], 4);

  EXPECT_NE(run_batch("out", {"--on-existing", "overwrite"}).out.find("4 cases done, 0 were"), std::string::npos);
  EXPECT_EQ(digests("out"), whole);
  const Ended fail = run_batch("out", {"--on-existing", "fail"});
  EXPECT_EQ(fail.code, 8);
  EXPECT_NE(fail.out.find("4 failed"), std::string::npos) << fail.out;
  EXPECT_EQ(digests("out"), whole);
  EXPECT_EQ(status("out")["all"]["done"], 4);
  const auto left = leftovers("out");
  EXPECT_EQ(std::set<std::string>(left.begin(), left.end()),
            (std::set<std::string>{"sub-01_T1w/failed.json", "sub-02_T1w/failed.json", "sub-03_T1w/failed.json", "sub-04_T1w/failed.json"}));
  EXPECT_NE(run_batch("out").out.find("4 were done before"), std::string::npos);
  EXPECT_TRUE(leftovers("out").empty()) << "what is done has not failed";
}

TEST_F(BatchRun, NeverTouchesWhatIsNotOurs) {
  make_bids(2);
  plan("out");
  fs::create_directories(folder_ / "out/sub-01_T1w");
  write_text("out/sub-01_T1w/thesis.txt", "ten years");
  EXPECT_EQ(run_batch("out", {"--on-existing", "overwrite"}).code, 8);
  EXPECT_EQ(content("out/sub-01_T1w/thesis.txt"), "ten years");
  EXPECT_EQ(states("out"), (std::map<std::string, std::string>{{"sub-01_T1w", "failed"}, {"sub-02_T1w", "done"}}));
}

TEST_F(BatchRun, AnInputThatChangedIsARow) {
  make_bids(2);
  plan("out");
  flip_a_byte(folder_ / "in/sub-01/anat/sub-01_T1w.nii.gz");
  EXPECT_EQ(run_batch("out").code, 8);
  const auto row = status("out")["cases"][0];
  EXPECT_EQ(row["exit_code"], 65);
  EXPECT_NE(row["reason"].get<std::string>().find("input file 1 of 1 is not the one that was planned"), std::string::npos) << row;
}

// Each case in exactly one shard, and the same images whatever the shards, the jobs and the order.
TEST_F(BatchRun, ShardsPartition) {
  make_bids(5);
  plan("whole");
  ASSERT_EQ(run_batch("whole", {"--jobs", "1"}).code, 0);
  plan("parts");
  std::map<std::string, nlohmann::json> before;
  for (const char* shard : {"3/3", "1/3", "2/3"}) {
    ASSERT_EQ(run_batch("parts", {"--shard", shard, "--jobs", "2"}).code, 0);
    const auto now = digests("parts");
    EXPECT_EQ(now.size() - before.size(), shard[0] == '3' ? 1u : 2u) << shard;
    before = now;
    if (shard[0] == '3') {
      const std::string told = run_postrec({"batch", "status", path("parts")}).out;
      EXPECT_NE(told.find("shard 3 of 3: done (1 cases)\n"), std::string::npos) << told;
      EXPECT_NE(told.find("shard 1 of 3: 2 cases not started\n"), std::string::npos) << told;
    }
  }
  EXPECT_EQ(before, digests("whole"));
  std::set<std::uint64_t> seeds;
  for (const auto& [id, outputs] : before) seeds.insert(nlohmann::json::parse(content("parts/" + id + "/done.json"))["seed"].get<std::uint64_t>());
  EXPECT_EQ(seeds.size(), 5u) << "every case has its own";

  plan("slurm");
  ChildOptions task;
  task.environment = {"SLURM_ARRAY_TASK_ID=4", "SLURM_ARRAY_TASK_MIN=4", "SLURM_ARRAY_TASK_COUNT=3"};
  ASSERT_EQ(run_batch("slurm", {}, task).code, 0);
  EXPECT_EQ(digests("slurm").size(), 2u);
  task.environment = {"SLURM_ARRAY_TASK_ID=8", "SLURM_ARRAY_TASK_MIN=4", "SLURM_ARRAY_TASK_COUNT=3", "SLURM_ARRAY_TASK_STEP=2"};  // --array=4-8:2
  ASSERT_EQ(run_batch("slurm", {}, task).code, 0);
  EXPECT_EQ(digests("slurm").size(), 3u) << "the third of three shards has one case";
  task.environment[0] = "SLURM_ARRAY_TASK_ID=7";
  expect_error(run_batch("slurm", {}, task), 64, {"SLURM_ARRAY_TASK_ID 7"});
  expect_error(run_batch("slurm", {"--shard", "4/3"}), 64, {"--shard 4/3"});
  expect_error(run_batch("slurm", {"--shard", "x"}), 64, {"--shard x"});
}

// The noise is said to be a tenth of what it is: no sample can be right, and who looks at the batch alone must see that.
TEST_F(BatchRun, AnUncertaintyThatIsWithheldIsSeen) {
  fs::create_directories(folder_ / "in");
  ASSERT_EQ(run_postrec({"simulate", path("mr.nii.gz"), "--slice", "1", "--operator", "mri-fourier", "--simulate-coils", "2", "--set", "mask-pattern=equispaced", "--set", "acceleration=2", "--noise",
                         "0.1", "--output", path("in/m")})
                .code,
            0);
  auto measurement = nlohmann::json::parse(content("in/m/measurement.json"));
  measurement["sigma_y"] = 0.1 * measurement["sigma_y"].get<double>();
  write_text("in/m/measurement.json", measurement.dump());
  ASSERT_EQ(run_postrec({"batch", "plan", path("in"), path("out"), "--prior", path("mr.safetensors"), "--samples", "2", "--steps", "3"}).code, 0);
  const Ended ended = run_batch("out");
  EXPECT_EQ(ended.code, 0);
  EXPECT_TRUE(std::regex_search(ended.err, std::regex("warning: case [0-9a-f]{16}: [^\n]*withheld"))) << ended.err;
  EXPECT_EQ(run_postrec({"batch", "report", path("out")}).code, 0);
  EXPECT_NE(content("out/index.html").find("uncertainty withheld"), std::string::npos);
}

// No name from below the input folder leaves the plan: not in results, logs, messages or failures.
TEST_F(BatchRun, NamesOfThePatientsStayInThePlan) {
  const std::string kCanary = "ZZCANARY";
  fs::create_directories(folder_ / ("in/" + kCanary + "^PHI"));
  fs::copy_file(path("mr.nii.gz"), folder_ / ("in/" + kCanary + "^PHI/" + kCanary + "_scan.nii.gz"));
  write_text("in/" + kCanary + "_broken.nii.gz", "no scan");
  write_text("in/" + kCanary + ".pdf", "letter");
  std::string said;
  const auto take = [&](const Ended& ended) { said += ended.out + ended.err; return ended.code; };
  EXPECT_EQ(take(run_postrec(plan_words("out"))), 0) << said;
  EXPECT_EQ(take(run_postrec(plan_words("other", {"--dry-run"}))), 0);
  EXPECT_EQ(take(run_batch("out")), 8) << said;
  EXPECT_EQ(take(run_postrec({"batch", "status", path("out")})), 0);
  EXPECT_EQ(take(run_postrec({"batch", "report", path("out")})), 0);
  flip_a_byte(folder_ / ("in/" + kCanary + "^PHI/" + kCanary + "_scan.nii.gz"));
  EXPECT_EQ(take(run_batch("out", {"--on-existing", "overwrite"})), 8);
  EXPECT_EQ(said.find(kCanary), std::string::npos) << said;
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out")) {
    EXPECT_EQ(entry.path().string().find(kCanary), std::string::npos) << entry.path();
    if (entry.is_regular_file() && entry.path().filename() != "plan.jsonl") { EXPECT_EQ(text_of(entry.path()).find(kCanary), std::string::npos) << entry.path(); }
  }
  EXPECT_NE(content("out/plan.jsonl").find(kCanary), std::string::npos) << "the plan is where it belongs";
}

TEST_F(BatchRun, NamesInsideAMeasurementStayThereToo) {
  fs::create_directories(folder_ / "in/m");
  write_text("in/m/measurement.json", R"({"format": "postrec-measurement/1", "operator": "mri-fourier", "sigma_y": 0.1, "data": "ZZCANARY.cfl"})");
  write_text("in/m/ZZCANARY.hdr", "# Dimensions\n17 19 1 2\n");
  write_text("in/m/ZZCANARY.cfl", "cut");
  ASSERT_EQ(run_postrec({"batch", "plan", path("in"), path("out"), "--prior", path("mr.safetensors"), "--samples", "2", "--steps", "3"}).code, 0);
  EXPECT_EQ(run_batch("out").code, 8);
  const std::string reason = status("out")["cases"][0]["reason"];
  EXPECT_NE(reason.find("input file 1"), std::string::npos) << reason;
  ASSERT_EQ(run_postrec({"batch", "report", path("out")}).code, 0);
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out"))
    if (entry.is_regular_file() && entry.path().filename() != "plan.jsonl") { EXPECT_EQ(text_of(entry.path()).find("ZZCANARY"), std::string::npos) << entry.path(); }
}

TEST_F(BatchRun, CapitalEndingsAreEndings) {
  fs::create_directories(folder_ / "in");
  fs::copy_file(path("mr.nii.gz"), folder_ / "in/SCAN.NII.GZ");
  plan("out", {"--slice", "1"});
  const Ended ended = run_batch("out");
  EXPECT_EQ(ended.code, 0) << ended.err;
}

// A site's plugins for Slurm say things, too.
TEST_F(BatchRun, TheNumberOfAJobIsFoundAmongNotices) {
  make_bids(1);
  plan("out");
  fs::create_directories(folder_ / "bin");
  const auto submitted_with = [&](const std::string& said) {
    write_text("bin/sbatch", "#!/bin/sh\ncat >/dev/null\n" + said);
    fs::permissions(folder_ / "bin/sbatch", fs::perms::owner_all);
    ChildOptions with_sbatch;
    with_sbatch.environment = {"PATH=" + path("bin") + ":/usr/bin:/bin"};
    return run_postrec({"batch", "submit", path("out"), "--slurm", "1", "--submit"}, with_sbatch);
  };
  EXPECT_NE(submitted_with("echo 'sbatch: 3 of 9 nodes are down'\necho '71;main'\n").out.find("submitted array 71 of"), std::string::npos);
  expect_error(submitted_with("echo '2 nodes are down'\n"), 75, {"said no number", "2 nodes are down"});
}

TEST_F(BatchRun, NamesThatAreNotUtf8AreRefusedAtOnce) {
  fs::create_directories(folder_ / "in");
  fs::copy_file(path("mr.nii.gz"), folder_ / "in/M\xfcller.nii.gz");
  expect_error(run_postrec(plan_words("out")), 64, {"is not UTF-8", "rename"});
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  fs::rename(folder_ / "in/M\xfcller.nii.gz", folder_ / "in/M\xc3\xbcller.nii.gz");
  expect_error(run_postrec(plan_words("\xfc")), 64, {"is not UTF-8"});
  plan("out");
}

TEST_F(BatchRun, FullDiskEndsWith74) {
  make_bids(4);
  plan("out");
  ChildOptions full;
  full.file_size_limit = 3000;                 // records of the batch fit, images do not
  const Ended ended = run_batch("out", {"--jobs", "1"}, full);
  EXPECT_EQ(ended.code, 74) << ended.err;
  EXPECT_TRUE(digests("out").empty());
  EXPECT_EQ(status("out")["all"]["failed"], 2) << "two in a row are enough to see it";
  EXPECT_EQ(run_batch("out").code, 0);
  EXPECT_EQ(digests("out").size(), 4u);
}

// A real full disk: a file system of a few pages, then one with room.
TEST_F(BatchRun, FullFileSystem) {
  if (std::system("unshare -m true 2>/dev/null") != 0) GTEST_SKIP() << "mount namespaces are not permitted here";
  make_bids(3);
  fs::create_directories(folder_ / "disk");
  std::string plan_command = std::string(POSTREC_PROGRAM);
  for (auto word : plan_words("disk/out")) plan_command += " '" + word + "'";
  const std::string run = std::string(POSTREC_PROGRAM) + " batch run '" + path("disk/out") + "' --jobs 2";
  write_text("script.sh", "mount -t tmpfs -o size=1m tmpfs '" + path("disk") + "' || exit 99\n" + plan_command + " >/dev/null || exit 98\ncd '" + path("disk/out") +
                              "'\nfor room in 16 100; do dd if=/dev/zero of=../ballast bs=1k count=$((1024 - room)) 2>/dev/null\n" + run + " >/dev/null 2>&1\necho \"full $? $(ls | grep -c sub-)\"\n" +
                              "for d in sub-*; do [ ! -e $d ] || [ -e $d/done.json ] || echo half $d; done\nrm -f ../ballast; rm -rf sub-* .work; done\n" + run + " >/dev/null 2>&1\necho \"room $? $(ls | grep -c sub-)\"\n");
  const std::string log = path("log");
  ASSERT_EQ(std::system(("unshare -m sh '" + path("script.sh") + "' > '" + log + "' 2>&1").c_str()), 0) << content("log");
  const std::string said = content("log");
  EXPECT_NE(said.find("full 74 "), std::string::npos) << said;
  EXPECT_EQ(said.find("half"), std::string::npos) << said;
  EXPECT_NE(said.find("room 0 3\n"), std::string::npos) << said;
  EXPECT_TRUE(std::regex_search(said, std::regex("^(full 74 [0-2]\n){2}room"))) << said;
}

TEST(SlurmScript, EndsInExec) {
  const std::string script = slurm_array_script({"/opt/o'k/postrec", "/data/out", 4, {"--time=1:00:00"}});
  EXPECT_EQ(script,
            "#!/bin/sh\n#SBATCH --job-name=postrec\n#SBATCH --output=/data/out/.events/slurm-%A_%a.log\n#SBATCH --array=1-4\n#SBATCH --requeue\n"
            "#SBATCH --open-mode=append\n#SBATCH --signal=B:TERM@120\n#SBATCH --time=1:00:00\nexec '/opt/o'\\''k/postrec' batch run '/data/out' --shard \"$SLURM_ARRAY_TASK_ID/4\"\n");
  for (const char* bad : {"/data/o t", "/data/%j", "/data/a\nb"}) EXPECT_THROW(slurm_array_script({"/opt/postrec", bad, 1, {}}), Error) << bad;
}

// What the user says comes last, because Slurm goes by the last; the report is one job, of whatever kind the array is.
TEST(SlurmScript, OptionsOfTheUser) {
  const SlurmRequest request = {"/opt/postrec", "/data/out", 20, {"--array=%5", "--signal=B:TERM@600", "--no-requeue", "-p long"}};
  EXPECT_EQ(slurm_array_script(request),
            "#!/bin/sh\n#SBATCH --job-name=postrec\n#SBATCH --output=/data/out/.events/slurm-%A_%a.log\n#SBATCH --array=1-20%5\n#SBATCH --requeue\n#SBATCH --open-mode=append\n"
            "#SBATCH --signal=B:TERM@120\n#SBATCH --signal=B:TERM@600\n#SBATCH --no-requeue\n#SBATCH -p long\nexec '/opt/postrec' batch run '/data/out' --shard \"$SLURM_ARRAY_TASK_ID/20\"\n");
  EXPECT_EQ(slurm_report_script(request),
            "#!/bin/sh\n#SBATCH --job-name=postrec-report\n#SBATCH --output=/data/out/.events/slurm-%j.log\n#SBATCH -p long\nexec '/opt/postrec' batch report '/data/out'\n");
  EXPECT_NO_THROW(slurm_array_script({"/opt/postrec", "/data/out", 20, {"--"}})) << "Slurm says what it thinks of that";
  for (const char* other : {"--array=1-20%5", "--array 3", "-a 1-3", "-a1-3", "--array", "--array=%0"})
    test::expect_error(ErrorKind::kUsage, other, [&] { slurm_array_script({"/opt/postrec", "/data/out", 20, {other}}); });
}

}  // namespace
}  // namespace postrec
