// postrec batch run in several processes that are held, killed, stopped or without room: nothing is done twice, nothing that was computed is lost.
#include <csignal>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "batch/batch_store.hpp"
#include "batch_fixture.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

std::vector<int> children_of(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
  std::vector<int> children;
  for (int child = 0; file >> child;) children.push_back(child);
  return children;
}

/// Whether the signal is in a set of /proc/PID/status: SigCgt, those that the process catches, or ShdPnd, those that wait for it.
bool has_signal(int pid, const std::string& set, int signal) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(set + ":", 0) == 0) return (std::stoull(line.substr(set.size() + 1), nullptr, 16) >> (signal - 1) & 1) != 0;
  return false;
}

/// Whether a child of a batch has become a worker, which is another program, and has come so far that SIGTERM lets it stop at a checkpoint.
bool would_stop(int worker) {
  std::ifstream file("/proc/" + std::to_string(worker) + "/cmdline", std::ios::binary);
  std::ostringstream command;
  command << file.rdbuf();
  return command.str().find(std::string("\0case\0", 6)) != std::string::npos && has_signal(worker, "SigCgt", SIGTERM);
}

/// Looks every 2 ms, for a minute at most.
template <class Condition>
bool becomes_true(const Condition& condition) {
  for (int i = 0; i < 30000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

/// The one worker of a batch, stopped as soon as it would leave a checkpoint on SIGTERM; -1 if there never was one.
int held_worker(int batch) {
  int held = -1;
  becomes_true([&] {
    for (const int worker : children_of(batch))
      if (would_stop(worker) && kill(worker, SIGSTOP) == 0) held = worker;
    return held > 0;
  });
  return held;
}

class BatchProcesses : public BatchTest {
 protected:
  /// As plan(), with so many noise levels that a case at work can be met.
  void plan_long(const std::string& output) const {
    auto words = plan_words(output);
    *std::find(words.begin(), words.end(), "3") = "1500";
    ASSERT_EQ(run_postrec(words).code, 0);
  }

  /// Plans the three slices of mr.nii.gz as one case. With many levels the state of the first slice is there long before the last.
  void plan_volume(const std::string& output, const std::string& levels) const {
    write_text("list.csv", "path,case\nmr.nii.gz,volume\n");
    auto words = plan_words(output, {}, "list.csv");
    *std::find(words.begin(), words.end(), "3") = levels;
    const Ended planned = run_postrec(words);
    ASSERT_EQ(planned.code, 0) << planned.err;
  }

  bool has_state(const std::string& output, const std::string& id) const {
    std::error_code ignored;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / output / ".work" / id, ignored))
      if (entry.path().filename() == "slice_0.safetensors") return true;
    return false;
  }
};

// When two processes made one case, the result of the first stays. Reports hold times and may differ, images are not meant to.
TEST_F(BatchProcesses, TheFirstResultStays) {
  const nlohmann::ordered_json identity = {{"case", "sub-01_T1w"}, {"seed", 7}};
  const auto make = [&](const std::string& name, const std::string& image) {
    fs::create_directories(folder_ / name);
    write_text(name + "/mean.nii.gz", image);
    write_text(name + "/report.txt", name);
    write_text(name + "/done.json", done_json(folder_ / name, identity).dump());
  };
  make("first", "an image");
  EXPECT_TRUE(publish_result(folder_ / "first", folder_ / "result", identity, false));
  make("same", "an image");
  EXPECT_TRUE(publish_result(folder_ / "same", folder_ / "result", identity, false));
  EXPECT_EQ(content("result/report.txt"), "first");
  make("other", "another image");
  EXPECT_FALSE(publish_result(folder_ / "other", folder_ / "result", identity, false));
  EXPECT_EQ(content("result/report.txt"), "first");
}

TEST_F(BatchProcesses, TwoProcessesDoNoHarm) {
  make_bids(4);
  plan("alone");
  ASSERT_EQ(run_batch("alone").code, 0);
  plan("both");
  const int one = start_postrec({"batch", "run", path("both"), "--jobs", "2"}), two = start_postrec({"batch", "run", path("both"), "--jobs", "2"});
  EXPECT_EQ(wait_for(one), 0);
  EXPECT_EQ(wait_for(two), 0);
  EXPECT_EQ(digests("both"), digests("alone"));
  EXPECT_TRUE(leftovers("both").empty());
}

// A checkpoint that is damaged meanwhile shows that the rerun does read it, and costs no case.
TEST_F(BatchProcesses, SigtermEndsWith75AndARerunGoesOn) {
  make_bids(2);
  for (const char* output : {"whole", "out"}) {  // many levels, so that the signal meets cases at work
    auto words = plan_words(output);
    *std::find(words.begin(), words.end(), "3") = "1500";
    ASSERT_EQ(run_postrec(words).code, 0);
  }
  ASSERT_EQ(run_batch("whole").code, 0);
  const int pid = start_postrec({"batch", "run", path("out"), "--jobs", "2"});
  std::set<int> held;                          // until they have the signal: no machine is too fast for that
  EXPECT_TRUE(becomes_true([&] {
    for (const int worker : children_of(pid))
      if (would_stop(worker) && kill(worker, SIGSTOP) == 0) held.insert(worker);
    return held.size() == 2;
  }));
  EXPECT_EQ(states("out"), (std::map<std::string, std::string>{{"sub-01_T1w", "running"}, {"sub-02_T1w", "running"}}));
  kill(pid, SIGTERM);
  for (const int worker : held) {
    EXPECT_TRUE(becomes_true([&] { return has_signal(worker, "ShdPnd", SIGTERM); }));
    kill(worker, SIGCONT);
  }
  EXPECT_EQ(wait_for(pid), 75);
  EXPECT_EQ(states("out"), (std::map<std::string, std::string>{{"sub-01_T1w", "stopped"}, {"sub-02_T1w", "stopped"}}));
  EXPECT_TRUE(digests("out").empty());

  for (const auto& attempt : fs::directory_iterator(folder_ / "out/.work/sub-01_T1w")) {
    const fs::path checkpoint = attempt.path() / "result.checkpoint/slice_0.safetensors";
    if (attempt.is_directory()) fs::resize_file(checkpoint, fs::file_size(checkpoint) / 2);
  }
  EXPECT_EQ(run_batch("out").code, 0);
  int resumed = 0;
  for (const auto& start : events("out", "start")) resumed += start["resumed"].get<bool>();
  EXPECT_EQ(resumed, 2);
  const auto again = events("out", "again");
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0]["case"], "sub-01_T1w");
  EXPECT_NE(again[0]["reason"].get<std::string>().find("slice_0.safetensors' is not a readable safetensors file"), std::string::npos) << again[0];
  EXPECT_EQ(digests("out"), digests("whole"));
  EXPECT_TRUE(leftovers("out").empty());
}

TEST_F(BatchProcesses, KilledWorkerCostsOneCase) {
  make_bids(3);
  plan("out");
  bool killed = false;
  // The first worker is the only child of the batch.
  const int pid = start_postrec({"batch", "run", path("out"), "--jobs", "1"});
  for (int i = 0; i < 1000 && !killed; ++i) {
    const auto children = children_of(pid);
    killed = !children.empty() && kill(children.front(), SIGSEGV) == 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  ASSERT_TRUE(killed);
  EXPECT_EQ(wait_for(pid), 8);
  const auto table = status("out");
  EXPECT_EQ(table["all"]["done"], 2) << table;
  EXPECT_NE(table.dump().find("SIGSEGV"), std::string::npos) << table;
  EXPECT_EQ(run_batch("out").code, 0);
  EXPECT_EQ(status("out")["all"]["done"], 3);
}


// The other process is at a case: it is waited for, and done here when that process is gone.
TEST_F(BatchProcesses, ACaseIsLeftToWhoIsAtIt) {
  make_bids(3);
  for (const char* output : {"whole", "out"}) plan_long(output);
  ASSERT_EQ(run_batch("whole").code, 0);
  const int first = start_postrec({"batch", "run", path("out"), "--jobs", "1"}), held = held_worker(first);
  ASSERT_GT(held, 0);
  const int second = start_postrec({"batch", "run", path("out"), "--jobs", "1"});
  EXPECT_TRUE(becomes_true([&] { return digests("out").size() == 2; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(600));  // of which each 200 ms it looks again
  EXPECT_EQ(events("out", "start").size(), 3u) << "the held case was begun once more";
  EXPECT_EQ(waitpid(second, nullptr, WNOHANG), 0) << "it did not wait";
  kill(first, SIGKILL);
  wait_for(first);
  kill(held, SIGKILL);
  EXPECT_EQ(wait_for(second), 0);
  EXPECT_EQ(digests("out"), digests("whole"));
  EXPECT_EQ(events("out", "start").size(), 4u);
  EXPECT_TRUE(leftovers("out").empty());
}

// With --deadline or on other hardware images differ; a case that is done is no failure for it.
TEST_F(BatchProcesses, AnotherResultThatCameFirstIsNoFailure) {
  make_bids(1);
  for (const char* output : {"whole", "out"}) plan_long(output);
  ASSERT_EQ(run_batch("whole").code, 0);
  const fs::path other = folder_ / "whole/sub-01_T1w";
  auto identity = nlohmann::ordered_json::parse(content("whole/sub-01_T1w/done.json"));
  for (const char* key : {"program", "prior_sha256", "plugin", "outputs", "records"}) identity.erase(key);
  write_text("whole/sub-01_T1w/mean.png", "another picture");
  fs::remove(other / "done.json");             // it lists every other file
  write_text("whole/sub-01_T1w/done.json", done_json(other, identity).dump());

  const int pid = start_postrec({"batch", "run", path("out"), "--jobs", "1"}), held = held_worker(pid);
  ASSERT_GT(held, 0);
  fs::rename(other, folder_ / "out/sub-01_T1w");
  kill(held, SIGCONT);
  EXPECT_EQ(wait_for(pid), 0);
  EXPECT_EQ(content("out/sub-01_T1w/mean.png"), "another picture");
  const auto done = events("out", "done");
  ASSERT_EQ(done.size(), 1u);
  EXPECT_NE(done[0].dump().find("finished the case first, with other images"), std::string::npos) << done[0];
}

// There a batch, which would not know who is at work, refuses, as often as it is asked; a single run does without.
TEST_F(BatchProcesses, AFileSystemWithoutLocks) {
  ChildOptions there;
  there.environment = {"LD_PRELOAD=" POSTREC_WITHOUT_LOCKS};
  const Ended alone = run_postrec(mr_arguments("alone"), there);
  EXPECT_EQ(alone.code, 0) << alone.err;
  EXPECT_FALSE(fs::exists(folder_ / "alone.checkpoint"));
  make_bids(1);
  plan("out");
  for (int i = 0; i < 2; ++i) expect_error(run_batch("out", {}, there), 73, {"no lock can be taken", "a file system with locks"});
  EXPECT_EQ(run_batch("out").code, 0);
}

// What has been computed when memory runs out is gone on from by the next run.
TEST_F(BatchProcesses, AKilledWorkerLeavesItsCheckpoint) {
  for (const char* output : {"whole", "out"}) plan_volume(output, "400");
  ASSERT_EQ(run_batch("whole").code, 0);
  const int pid = start_postrec({"batch", "run", path("out"), "--jobs", "1"});
  EXPECT_TRUE(becomes_true([&] { return has_state("out", "volume"); }));
  for (const int worker : children_of(pid)) kill(worker, SIGKILL);
  EXPECT_EQ(wait_for(pid), 8);
  EXPECT_EQ(status("out")["cases"][0]["exit_code"], 71);
  EXPECT_TRUE(has_state("out", "volume"));
  ASSERT_EQ(run_batch("out").code, 0);
  const auto starts = events("out", "start");
  EXPECT_EQ(std::count_if(starts.begin(), starts.end(), [](const auto& start) { return start["resumed"].template get<bool>(); }), 1);
  EXPECT_EQ(digests("out"), digests("whole"));
  EXPECT_TRUE(leftovers("out").empty());
}

TEST_F(BatchProcesses, AFullDiskLeavesTheCheckpoint) {
  for (const char* output : {"whole", "out"}) plan_volume(output, "20");
  ASSERT_EQ(run_batch("whole").code, 0);
  ChildOptions full;
  full.file_size_limit = 30000;                // checkpoints fit, the page of the report does not
  for (int i = 0; i < 2; ++i) {                // the second one goes on and fails where the first did
    const Ended ended = run_batch("out", {}, full);
    EXPECT_EQ(ended.code, 74);
    EXPECT_TRUE(has_state("out", "volume")) << ended.err;
  }
  EXPECT_EQ(status("out")["cases"][0]["exit_code"], 74);
  ASSERT_EQ(run_batch("out").code, 0);
  const auto starts = events("out", "start");
  EXPECT_EQ(std::count_if(starts.begin(), starts.end(), [](const auto& start) { return start["resumed"].template get<bool>(); }), 2);
  EXPECT_EQ(digests("out"), digests("whole"));
  EXPECT_TRUE(leftovers("out").empty());
}

}  // namespace
}  // namespace postrec
