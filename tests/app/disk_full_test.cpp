// A disk that fills up at every writer of the program: exit code 74, a message that names the file, nothing half under a final name; and as room is made bit by bit the same command
// goes on from where it failed, until what it has written is what it writes in peace. Skipped by name where no small file system may be mounted.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <torch/csrc/jit/api/module.h>

#include <chrono>
#include <csignal>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "../data/dicom_files.hpp"
#include "app_fixture.hpp"
#include "pacs_fixture.hpp"
#include "shell.hpp"
#include "postrec/data/write_image.hpp"
#include "small_disk.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kPlenty = 16384;        // pages: 64 MiB

/// A command, and what is special about what it leaves.
struct Writer {
  std::vector<std::string> words{};            // "DISK" stands for the folder of the disk
  std::vector<std::string> to_go_on{};         // words more after a failure
  std::string kept = "$^";                     // files (a regular expression) that a failure may leave with other content than in the end, or besides
  std::string changing = "$^";                 // files whose names or contents are others in every run
  bool batch = false;                          // failures of its cases are warnings
};

std::int64_t pages_of(const std::string& content) { return (static_cast<std::int64_t>(content.size()) + SmallDisk::kPage - 1) / SmallDisk::kPage; }

/// Without what differs from run to run: how long it took, when it was, whether --resume was said.
json without_times(json value) {
  if (value.is_object())
    for (const char* key : {"seconds", "network_seconds", "network_share", "finished", "command", "records"}) value.erase(key);  // `records`: the digests of files with times
  if (value.is_structured())
    for (auto& each : value) each = without_times(each);
  return value;
}

std::string dicom_without_times(const std::string& name) {
  DcmFileFormat file;
  if (file.loadFile(name.c_str()).bad()) return "damaged";
  for (const DcmTagKey& tag : {DCM_ContentDate, DCM_ContentTime, DCM_InstanceCreationDate, DCM_InstanceCreationTime, DCM_SeriesDate, DCM_SeriesTime, DCM_ContributionDateTime})
    file.getDataset()->findAndDeleteElement(tag, OFTrue, OFTrue);
  std::ostringstream text;
  file.getDataset()->print(text);
  return text.str();
}

const std::string kHalfJson = json(json::value_t::discarded).dump();

/// What must be the same in every run of a file with this content.
std::string comparable(const fs::path& folder, const std::string& name, const std::string& content) {
  const auto ends = [&](const char* ending) { return name.ends_with(ending); };
  // Pages and tables hold times among their words; they are whole when they have their ends.
  if (ends(".html")) return content.ends_with("</html>\n") ? "whole page" : "half a page";
  if (ends("report.txt")) return content.ends_with("not for diagnosis.\n") ? "whole report" : "half a report";
  if (ends(".tsv") || ends(".csv")) return content.ends_with("\n") ? "whole table" : "half a table";
  if (ends(".dcm")) return dicom_without_times((folder / name).string());
  if (ends("site.key")) return "a key of " + std::to_string(content.size()) + " bytes";
  if (!ends(".json") && !ends("journal") && !ends(".log")) return content;
  std::istringstream lines(content);
  std::string text;
  if (!ends(".log")) return without_times(json::parse(content, nullptr, false)).dump();
  for (std::string line; std::getline(lines, line);) text += without_times(json::parse(line, nullptr, false)).dump() + "\n";
  return text;
}

class DiskFull : public AppTest {
 protected:
  void SetUp() override {
    AppTest::SetUp();
    if (!SmallDisk::permitted()) GTEST_SKIP() << "this user may not mount a small file system";
    disk_ = std::make_unique<SmallDisk>(folder_ / "disk");
  }
  void TearDown() override {
    disk_.reset();
    AppTest::TearDown();
  }

  Ended run(const Writer& writer, bool going_on) const {
    std::vector<std::string> words = writer.words;
    if (going_on) words.insert(words.end(), writer.to_go_on.begin(), writer.to_go_on.end());
    for (auto& word : words)
      if (const auto at = word.find("DISK"); at != std::string::npos) word.replace(at, 4, disk_->folder().string());
    return run_postrec(words);
  }

  std::int64_t pages_used() const {
    std::int64_t pages = 0;
    for (const auto& [name, content] : disk_->files()) pages += pages_of(content);
    return pages;
  }

  std::map<std::string, std::string> comparable_files(const Writer& writer) const {
    auto files = disk_->files();
    std::erase_if(files, [&](const auto& file) { return std::regex_search(file.first, std::regex(writer.changing)); });
    for (auto& [name, content] : files) content = comparable(disk_->folder(), name, content);
    return files;
  }

  /// The file of `whole` that a message names, which is written into a folder with another name first; "" when it names none.
  static std::string named_file(const std::string& message, const std::map<std::string, std::string>& whole, const Writer& writer) {
    for (const auto& [name, content] : whole) {
      std::string end = name;
      for (int folders = writer.batch ? 2 : 1; folders > 0 && end.find('/') != std::string::npos; --folders) end = end.substr(end.find('/') + 1);
      if (message.find("/" + end + "'") != std::string::npos) return name;
    }
    return "";
  }

  /// What a failed run must be like.
  void expect_clean_failure(const Ended& ended, const Writer& writer, const std::map<std::string, std::string>& whole, const std::string& where) const {
    EXPECT_EQ(ended.code, 74) << where << ended.err;
    EXPECT_TRUE(std::regex_search(ended.err, std::regex(writer.batch ? "No space left on device|disk full" : "No space left on device"))) << where << ended.err;
    if (!writer.batch) {
      const auto error = ended.err.find("postrec: error: ");
      EXPECT_NE(error, std::string::npos) << where << ended.err;
      EXPECT_EQ(ended.err.find('\n', error), ended.err.size() - 1) << "more follows the error: " << where << ended.err;
    }
    for (const auto& [name, content] : comparable_files(writer)) {
      EXPECT_NE(content, kHalfJson) << where << name << " is left and half";
      if (std::regex_search(name, std::regex(writer.kept))) continue;
      const auto same = whole.find(name);
      EXPECT_TRUE(same != whole.end() && same->second == content) << where << name << " is left and not whole";
    }
  }

  /// From a disk without room, made larger whenever it is full, until the command ends well. Each file must have been the one that did not fit, but for `never`.
  void fill_at_every_file(const Writer& writer, const std::set<std::string>& never = {}, const std::function<void()>& prepare = [] {}) {
    disk_->make(kPlenty);
    prepare();
    ASSERT_EQ(run(writer, false).code, 0);
    const auto contents = disk_->files();
    const auto whole = comparable_files(writer);

    std::set<std::string> hit;
    disk_->make(kPlenty);
    prepare();
    std::int64_t pages = pages_used();
    for (int runs = 0;; ++runs) {
      ASSERT_LT(runs, 80);
      disk_->resize(pages);
      const Ended ended = run(writer, runs > 0);
      if (ended.code == 0) break;
      const std::string where = std::to_string(pages) + " pages: ", file = named_file(ended.err, contents, writer);
      expect_clean_failure(ended, writer, whole, where);
      if (HasFailure()) return;
      // First without any room for this file, then without its last page, then without any for the next one.
      const bool is_new = !file.empty() && hit.insert(file).second;
      const std::int64_t size = is_new ? pages_of(contents.at(file)) : 1;
      pages += std::max<std::int64_t>(size - 1, writer.batch ? 4 : 1);
    }
    EXPECT_EQ(comparable_files(writer), whole);
    if (writer.batch) return;                  // in larger steps: what a worker writes is what Reconstruct has tried
    for (const auto& [name, content] : whole) EXPECT_TRUE(hit.count(name) != 0 || never.count(name) != 0) << name << " was never the one that did not fit";
  }

  std::vector<std::string> mr_words(const std::string& command, const std::vector<std::string>& more) const {
    std::vector<std::string> words = {command, path("mr.nii.gz"), "--slice", "1", "--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--set", "acceleration=2", "--set",
                                      "n-acs-lines=5", "--simulate-coils", "2", "--noise", "0.1", "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::vector<std::string> with_prior(std::vector<std::string> words) const {
    words.insert(words.end(), {"--prior", path("mr.safetensors"), "--samples", "2", "--steps", "2"});
    return words;
  }

  std::unique_ptr<SmallDisk> disk_;
};

// NIfTI, PNG, JSON, text, page, derived DICOM series and maps, and the state of the run.
TEST_F(DiskFull, Reconstruct) {
  test::PhantomSpec spec;
  spec.slices = 1;
  test::write_phantom_series(path("series"), spec);
  fill_at_every_file({{"reconstruct", path("series"), "--simulate", "--operator", "ct-radon", "--set", "n-views=20", "--noise", "0.5", "--prior", path("ct.safetensors"), "--samples", "2",
                       "--steps", "2", "--threads", "1", "--dicom", "--threshold", "30", "--output", "DISK/out"},
                      {"--resume"},
                      "^out\\.checkpoint/slice_0\\.safetensors$"});
}

// Before the data the nameless file of the measurement in work, as large as they are, finds no room.
TEST_F(DiskFull, Simulate) { fill_at_every_file({mr_words("simulate", {"--output", "DISK/measured"})}, {"measured/kspace.cfl"}); }

TEST_F(DiskFull, SimulateRealData) {
  fill_at_every_file({{"simulate", path("ct.nii.gz"), "--unit", "hu", "--slice", "1", "--operator", "ct-radon", "--set", "n-views=20", "--noise", "0.5", "--output", "DISK/measured"}},
                     {"measured/data.mha", "measured/measurement.json"});
}

TEST_F(DiskFull, Sample) {
  fill_at_every_file({{"sample", "--prior", path("mr.safetensors"), "--size", "17x19", "--samples", "2", "--steps", "2", "--threads", "1", "--output", "DISK/drawn"}});
}

// The table of the slices that were finished stays, and who goes on must say that it may go.
TEST_F(DiskFull, Evaluate) {
  for (const char* table : {"DISK/table.json", "DISK/table.csv"})
    fill_at_every_file({.words = with_prior(mr_words("evaluate", {"--compare", "bridge", "--table", table})), .to_go_on = {"--on-existing", "overwrite"}, .kept = "table\\.json$"});
}

TEST_F(DiskFull, Likelihood) {
  fs::create_directories(folder_ / "scans");
  for (int i = 0; i < 8; ++i)
    write_nifti(path("scans/sub-" + std::to_string(i / 2) + "_run-" + std::to_string(i % 2) + "_T1w.nii.gz"), {test_volume(kSlices, kHeight, kWidth) * (1.0 + 0.2 * i), {}, IntensityUnit::kArbitrary});
  fill_at_every_file({{"likelihood", path("scans"), "--no-density", "--prior", path("mr.safetensors"), "--threads", "1", "--write-typical", "DISK/typical.json"}});
}

TEST_F(DiskFull, Calibrate) {
  fill_at_every_file({{"calibrate", path("mr.nii.gz"), "--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--noise", "0.1", "--prior", path("mr.safetensors"), "--samples", "4",
                       "--steps", "2", "--threads", "1", "--journal", "DISK/journal", "--output", "DISK/certificate"},
                      {},
                      "^journal$"});
}

TEST_F(DiskFull, TrainAGaussian) {
  fill_at_every_file({{"train", path("mr.nii.gz"), "--table-size", "16", "--licence", "CC0", "--threads", "1", "--output", "DISK/prior.safetensors"}});
}

// The checkpoint, what lies beside it, and the prior.
TEST_F(DiskFull, TrainANetwork) {
  fs::create_directories(folder_ / "scans");
  for (int i = 0; i < 2; ++i)
    write_nifti(path("scans/sub-" + std::to_string(i) + "_T1w.nii.gz"), {test_volume(kSlices, kHeight, kWidth) * (1.0 + 0.2 * i), {}, IntensityUnit::kArbitrary});
  fill_at_every_file({{"train", path("scans"), "--kind", "network", "--licence", "CC0", "--table-size", "16", "--widths", "8", "--blocks", "1", "--steps", "6", "--decay-steps", "2",
                       "--batch-pixels", "576", "--threads", "1", "--quiet", "--output", "DISK/prior.safetensors"},
                      {"--resume"},
                      "^prior\\.safetensors\\.checkpoint"});
}

TEST_F(DiskFull, TrainRemeasures) {
  fs::create_directories(folder_ / "scans");
  for (int i = 0; i < 2; ++i)
    write_nifti(path("scans/sub-" + std::to_string(i) + "_T1w.nii.gz"), {test_volume(kSlices, kHeight, kWidth) * (1.0 + 0.2 * i), {}, IntensityUnit::kArbitrary});
  ASSERT_EQ(run_postrec({"train", path("scans"), "--kind", "network", "--licence", "CC0", "--table-size", "16", "--widths", "8", "--blocks", "1", "--steps", "2", "--decay-steps", "1",
                         "--batch-pixels", "576", "--threads", "1", "--quiet", "--output", path("network.safetensors")})
                .code,
            0);
  fill_at_every_file({{"train", path("mr.nii.gz"), "--remeasure", path("network.safetensors"), "--phase", "smooth", "--threads", "1", "--output", "DISK/prior.safetensors"}});
}

// The prior lies beside its module, which is there before.
TEST_F(DiskFull, TrainMeasuresAModule) {
  torch::jit::Module module("denoiser");
  module.define("def forward(self, x, sigma):\n  return x * (0.1 / (0.1 + (sigma * sigma).reshape(-1, 1, 1, 1)))\n");
  module.save(path("module.pt"));
  fill_at_every_file({{"train", path("mr.nii.gz"), "--measure", "DISK/module.pt", "--allow-code", "--licence", "CC0", "--trained-on", "nothing", "--threads", "1", "--output",
                       "DISK/prior.safetensors"}},
                     {"module.pt"}, [this] { fs::copy_file(path("module.pt"), disk_->folder() / "module.pt"); });
}

class BatchDiskFull : public DiskFull {
 protected:
  std::vector<std::string> plan_words() const {
    return with_prior({"batch", "plan", path("list.csv"), "DISK/batch", "--simulate", "--slice", "1", "--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--noise", "0.1"});
  }
  void SetUp() override {
    DiskFull::SetUp();
    write_text("list.csv", "path,case\nmr.nii.gz,one\n");
  }
  void prepare_plan() const { ASSERT_EQ(run({plan_words()}, false).code, 0); }
};

TEST_F(BatchDiskFull, Plan) { fill_at_every_file({plan_words()}); }

TEST_F(BatchDiskFull, Run) {
  disk_->make(kPlenty);
  prepare_plan();
  disk_->resize(pages_used());
  expect_error(run({{"batch", "run", "DISK/batch", "--jobs", "1"}}, false), 74, {".events/shard-1-of-1-", "No space left on device"});  // what it writes first
  // Events are written as the batch goes, one file a process.
  fill_at_every_file({{"batch", "run", "DISK/batch", "--jobs", "1"}, {}, "^batch/\\.work/", "^batch/\\.events/", true}, {"batch/plan.jsonl", "batch/site.key"}, [this] { prepare_plan(); });
}

TEST_F(BatchDiskFull, Report) {
  fill_at_every_file({{"batch", "report", "DISK/batch"}}, {"batch/plan.jsonl", "batch/site.key"}, [this] { prepare_plan(); });
}

// The script is written to standard output; what goes to sbatch is no file of ours, but the folder for its logs is.
TEST_F(BatchDiskFull, Submit) {
  disk_->make(kPlenty);
  prepare_plan();
  const std::string command = std::string("exec " POSTREC_PROGRAM " batch submit '") + path("disk/batch") + "' --slurm 2";
  const Ended printed = run({{"batch", "submit", "DISK/batch", "--slurm", "2"}}, false);
  ASSERT_EQ(printed.code, 0) << printed.err;
  disk_->resize(pages_used());
  const auto [code, said] = test::shell("(" + command + " 2>&3 >'" + path("disk/job.sh") + "') 3>&1");
  EXPECT_EQ(code, 74) << said;
  EXPECT_NE(said.find("cannot write to standard output"), std::string::npos) << said;
  disk_->resize(kPlenty);
  EXPECT_EQ(test::shell(command + " >'" + path("disk/job.sh") + "'").first, 0);
  EXPECT_EQ(content("disk/job.sh"), printed.out);

  fs::create_directories(folder_ / "bin");
  write_text("bin/sbatch", "#!/bin/sh\ncat >>'" + path("submitted") + "'\necho 7\n");
  fs::permissions(folder_ / "bin/sbatch", fs::perms::owner_all);
  ChildOptions with_sbatch;
  with_sbatch.environment = {"PATH=" + path("bin") + ":/usr/bin:/bin"};
  const auto submit = [&] { return run_postrec({"batch", "submit", path("disk/batch"), "--slurm", "2", "--submit"}, with_sbatch); };
  disk_->forbid_new_files();
  expect_error(submit(), 74, {"batch/.events", "No space left on device"});
  EXPECT_FALSE(fs::exists(path("submitted"))) << "jobs without a folder for their logs fail";
  disk_->resize(kPlenty);
  const Ended submitted = submit();
  EXPECT_EQ(submitted.out, "submitted array 7 of 2 shards, and report 7 after it\n") << submitted.err;
  EXPECT_NE(content("submitted").find("batch run"), std::string::npos);
}

// The links to the files of a DICOM series are made on the disk of the batch; a failure names none of them, whose names and folders may hold a patient's.
TEST_F(BatchDiskFull, LinksToASeries) {
  test::write_phantom_series(path("in"), test::PhantomSpec());
  disk_->make(kPlenty);
  ASSERT_EQ(run({{"batch", "plan", path("in"), "DISK/batch", "--simulate", "--slice", "1", "--operator", "ct-radon", "--set", "n-views=20", "--noise", "0.5", "--samples", "2", "--steps", "2",
                  "--prior", path("ct.safetensors")}},
                false)
                .code,
            0);
  const auto batch_run = [&] { return run({{"batch", "run", "DISK/batch", "--jobs", "1"}}, false); };
  std::string said;
  const auto links_failed = [&] { return said.find("the links to the input of the case cannot be made: No space left on device") != std::string::npos; };
  for (int more = 0; more < 20 && !links_failed(); ++more) {
    disk_->forbid_new_files(more);
    const Ended ended = batch_run();
    EXPECT_EQ(ended.code, 74) << ended.err;
    said += ended.err;
  }
  EXPECT_TRUE(links_failed()) << said;
  EXPECT_EQ(said.find(test::kCanary), std::string::npos) << said;
  disk_->resize(kPlenty);
  const Ended rest = batch_run();
  EXPECT_EQ(rest.code, 0) << rest.err;
}

// No folder or file more can be made, though there is room for data.
TEST_F(BatchDiskFull, NoNewFiles) {
  disk_->make(kPlenty);
  prepare_plan();
  const auto before = disk_->files();
  const std::vector<std::vector<std::string>> commands = {
      {"batch", "plan", path("list.csv"), "DISK/other", "--simulate", "--operator", "mri-fourier", "--prior", path("mr.safetensors")},
      {"batch", "run", "DISK/batch", "--jobs", "1"},
      {"batch", "report", "DISK/batch"},
      {"pacs", "listen", "--output", "DISK/inbox", "--port", "0"},
      with_prior(mr_words("reconstruct", {"--simulate", "--output", "DISK/out"})),
      with_prior(mr_words("evaluate", {"--compare", "bridge", "--table", "DISK/table.json"})),
      mr_words("simulate", {"--output", "DISK/measured"}),
      {"sample", "--prior", path("mr.safetensors"), "--size", "17x19", "--samples", "2", "--steps", "2", "--threads", "1", "--output", "DISK/drawn"},
      {"train", path("mr.nii.gz"), "--table-size", "16", "--licence", "CC0", "--threads", "1", "--output", "DISK/prior.safetensors"}};
  for (const auto& words : commands) {
    disk_->forbid_new_files();
    const Ended ended = run({words}, false);
    EXPECT_EQ(ended.code, 74) << words[0] << " " << words[1] << ": " << ended.err;
    EXPECT_NE(ended.err.find("No space left on device"), std::string::npos) << words[0] << " " << words[1] << ": " << ended.err;
    EXPECT_EQ(disk_->files(), before) << words[0] << " " << words[1];
  }
}

// Standard output is a file, too.
TEST_F(DiskFull, StandardOutput) {
  const std::vector<std::vector<std::string>> commands = {
      {"help", "--man"}, {"help", "--man", "batch"}, {"help", "--completion", "zsh"}, {"help", "exit-codes"}, {"plugins", "list"}, {"plugins", "describe", "ct-radon"}, {"batch", "--help"},
      {"likelihood", path("mr.nii.gz"), "--slice", "1", "--prior", path("mr.safetensors"), "--log-format", "json"},
      with_prior(mr_words("evaluate", {"--compare", "bridge"})), with_prior(mr_words("reconstruct", {"--simulate", "--output", path("result")}))};
  for (const auto& words : commands) {
    std::string command = POSTREC_PROGRAM;
    for (const auto& word : words) command += " '" + word + "'";
    const auto [code, said] = test::shell("(" + command + " 2>&3 >/dev/full) 3>&1");
    EXPECT_EQ(code, 74) << words.front() << said;
    EXPECT_NE(said.find("cannot write to standard output"), std::string::npos) << words.front() << said;
  }
  EXPECT_TRUE(fs::exists(path("result/run.json"))) << "what was written before is whole";
}

class PacsDiskFull : public PacsTest {
 protected:
  void SetUp() override {
    PacsTest::SetUp();
    if (!SmallDisk::permitted()) GTEST_SKIP() << "this user may not mount a small file system";
    disk_ = std::make_unique<SmallDisk>(folder_ / "disk");
  }
  void TearDown() override {
    disk_.reset();
    PacsTest::TearDown();
  }
  static std::string peer_of(const Background& listener) { return "INBOX@127.0.0.1:" + std::to_string(port_of(listener)); }
  /// Files with an end that means something: neither a lock nor a listener's.
  std::set<std::string> instances_on_the_disk() const {
    std::set<std::string> names;
    for (const auto& [name, content] : disk_->files())
      if (name != "inbox/.incoming/lock" && !name.ends_with("/complete")) names.insert(name);
    return names;
  }

  std::unique_ptr<SmallDisk> disk_;
};

TEST_F(PacsDiskFull, TheLedgerOfSend) {
  write_study("sent_study", 4);
  disk_->make(0);
  Background listener(listen_command("inbox", 0), path("listen.log"));
  const std::string peer = peer_of(listener);
  const std::vector<std::string> ledger = {"--ledger", path("disk/ledger.jsonl"), "--timeout", "60"};
  expect_error(send("sent_study", peer, ledger), 74, {"ledger.jsonl", "No space left on device"});
  disk_->resize(kPlenty);
  const Ended again = send("sent_study", peer, ledger);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(data_sets(path("inbox")), data_sets(path("sent_study")));
  EXPECT_EQ(send("sent_study", peer, ledger).out, "0 of 4 instances sent, 4 were sent before\n");
  EXPECT_EQ(listener.stop(SIGTERM), 0);
}

// What finds room is taken and the rest refused, to be sent again; what has a name is whole; and the listener lives on and takes the rest.
TEST_F(PacsDiskFull, Listen) {
  write_study("sent_study", 6);
  const auto sent = data_sets(path("sent_study"));
  const std::int64_t pages_each = pages_of(*sent.begin()) + 1;
  disk_->make(2 * pages_each);
  Background listener(listen_command("disk/inbox", 0, {"--stable-age", "0.2", "--timeout", "3"}), path("listen.log"));
  const std::string peer = peer_of(listener);
  expect_error(send("sent_study", peer, {"--retries", "0", "--timeout", "60"}), 76, {"could not take an instance now", "0xA700"});
  const auto kept = data_sets(path("disk/inbox"));
  EXPECT_LT(kept.size(), sent.size());
  EXPECT_GT(kept.size(), 0u);
  EXPECT_TRUE(std::includes(sent.begin(), sent.end(), kept.begin(), kept.end())) << "an instance with a name is half";
  disk_->resize(kPlenty);
  const Ended again = send("sent_study", peer, {"--timeout", "60"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(data_sets(path("disk/inbox")), sent);
  EXPECT_EQ(listener.stop(SIGTERM), 0) << listener.output();
  for (const auto& [name, content] : disk_->files()) EXPECT_EQ(name.find(".part"), std::string::npos) << name;
}

// Whichever piece of a data set finds no room, the first, one in the middle or the last, the sender hears at once that the disk is full, and what it then sends arrives as it is.
TEST_F(PacsDiskFull, TheSenderHearsAtOnceThatThereIsNoRoom) {
  constexpr double kPatience = 30, kSoon = 10;  // of listener and sender; what an answer may take on a busy machine
  struct Case { int rows, step; };
  for (const auto& [rows, step] : {Case{8, 1}, Case{64, 3}, Case{600, 25}}) {
    const std::string study = "sent_" + std::to_string(rows);
    write_study(study, 1, rows);
    const auto sent = data_sets(path(study));
    disk_->make(0);
    Background listener(listen_command("disk/inbox", 0, {"--timeout", std::to_string(static_cast<int>(kPatience)), "--stable-age", "1000"}), path(study + ".log"));
    const std::string peer = peer_of(listener);
    const auto send_once = [&] { return send(study, peer, {"--retries", "0", "--timeout", std::to_string(static_cast<int>(kPatience)), "--ledger", path("ledger_" + std::to_string(rows))}); };
    const std::int64_t needed = pages_of(*sent.begin() + std::string(512, ' '));  // with the meta header
    std::set<std::int64_t> rooms = {needed - 2};
    for (std::int64_t pages = 0; pages < needed - 1; pages += step) rooms.insert(pages);
    for (const std::int64_t pages : rooms) {
      disk_->resize(pages);
      const auto begin = std::chrono::steady_clock::now();
      expect_error(send_once(), 76, {"could not take an instance now", "0xA700"});
      EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), kSoon) << rows << " rows, " << pages << " pages";
      EXPECT_EQ(instances_on_the_disk(), std::set<std::string>()) << rows << " rows, " << pages << " pages";
    }
    EXPECT_TRUE(listener.wait_for("the disk is full")) << listener.output();
    EXPECT_EQ(listener.output().find("the disk is full"), listener.output().rfind("the disk is full")) << "is said once";
    EXPECT_EQ(listener.output().find("lost"), std::string::npos) << listener.output();
    disk_->resize(kPlenty);
    EXPECT_EQ(send_once().code, 0);
    EXPECT_EQ(data_sets(path("disk/inbox")), sent);
    EXPECT_EQ(instances_on_the_disk().size(), 1u);
    EXPECT_EQ(listener.stop(SIGTERM), 0) << listener.output();
  }
}

// One association with an instance too large and one that fits: the listener goes on in it. A sender that tries again waits until there is room.
TEST_F(PacsDiskFull, AnAssociationGoesOnAndRetriesEndWell) {
  write_study("sent_study", 1, 600);
  TestInstance small;
  small.series = small.instance = "1.2.3.9";
  write_instance(folder_ / "sent_study" / "ZZ last", small);
  disk_->make(8);
  Background listener(listen_command("disk/inbox", 0, {"--stable-age", "1000"}), path("listen.log"));
  Background sender({POSTREC_PROGRAM, "pacs", "send", path("sent_study"), "--peer", peer_of(listener), "--retries", "1000", "--retry-delay", "0.1", "--retry-delay-max", "0.1"}, path("send.log"));
  EXPECT_TRUE(sender.wait_for("trying again")) << sender.output();
  EXPECT_EQ(instances_on_the_disk().size(), 1u) << "the small one, whole";
  disk_->resize(kPlenty);
  EXPECT_EQ(sender.wait(), 0) << sender.output();
  EXPECT_EQ(data_sets(path("disk/inbox")), data_sets(path("sent_study")));
  EXPECT_EQ(listener.output().find("lost"), std::string::npos) << listener.output();
  EXPECT_EQ(listener.stop(SIGTERM), 0) << listener.output();
}

// Somebody else's sender.
TEST_F(PacsDiskFull, Storescu) {
  if (test::shell("command -v storescu").first != 0) GTEST_SKIP() << "storescu (Debian: dcmtk) is not installed";
  write_study("sent_study", 1, 64);
  disk_->make(4);
  Background listener(listen_command("disk/inbox", 0), path("listen.log"));
  const std::string command = "timeout 25 storescu -v -aet RECON -aec INBOX +sd +r 127.0.0.1 " + std::to_string(port_of(listener)) + " '" + path("sent_study") + "'";
  const auto [refused, said] = test::shell(command);
  EXPECT_NE(refused, 0);
  EXPECT_NE(said.find("Received Store Response (Refused: OutOfResources)"), std::string::npos) << said;
  EXPECT_NE(said.find("Releasing Association"), std::string::npos) << said;
  EXPECT_EQ(instances_on_the_disk(), std::set<std::string>());
  disk_->resize(kPlenty);
  const auto [stored, again] = test::shell(command);
  EXPECT_EQ(stored, 0) << again;
  EXPECT_EQ(data_sets(path("disk/inbox")), data_sets(path("sent_study")));
  EXPECT_EQ(listener.stop(SIGTERM), 0) << listener.output();
}

// A series that has arrived while its marker finds no room is marked as soon as there is some.
TEST_F(PacsDiskFull, TheMarkerOfACompleteSeries) {
  write_study("sent_study", 1);
  disk_->make(pages_of(*data_sets(path("sent_study")).begin()) + 1);
  Background listener(listen_command("disk/inbox", 0, {"--stable-age", "2"}), path("listen.log"));  // time enough to fill the disk
  ASSERT_EQ(send("sent_study", peer_of(listener), {"--timeout", "60"}).code, 0);
  std::ofstream(path("disk/filler")) << std::string(64 * SmallDisk::kPage, 'x');
  const auto markers = [&] {
    int n = 0;
    for (const auto& [name, content] : disk_->files()) n += name.ends_with("/complete");
    return n;
  };
  EXPECT_TRUE(listener.wait_for("No space left on device")) << listener.output();
  EXPECT_EQ(markers(), 0);
  disk_->resize(kPlenty);
  EXPECT_TRUE(listener.wait_for("is complete: 1 instances")) << listener.output();
  EXPECT_EQ(markers(), 1);
  EXPECT_EQ(listener.stop(SIGTERM), 0) << listener.output();
}

}  // namespace
}  // namespace postrec
