// postrec reconstruct: killed and resumed, against the clock, and the options of the sampler.
#include <ATen/ATen.h>
#include <sys/wait.h>
#include <zlib.h>

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

#include "app_fixture.hpp"
#include "postrec/data/scan.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

bool is_running(int child) {
  siginfo_t ended = {};
  return waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0;
}

/// The samples of a result, [sample, slice, H, W]; read_scan refuses a fourth axis.
at::Tensor read_samples(const std::string& nifti) {
  const gzFile file = gzopen(nifti.c_str(), "rb");
  std::array<char, 352> header = {};
  gzread(file, header.data(), header.size());
  std::array<std::int16_t, 5> dim = {};
  std::memcpy(dim.data(), header.data() + 40, sizeof dim);
  const at::Tensor samples = at::zeros({dim[4], dim[3], dim[2], dim[1]}, at::kFloat);
  gzread(file, samples.data_ptr(), static_cast<unsigned>(samples.nbytes()));
  gzclose(file);
  return samples;
}

class ResumeRun : public AppTest {
 protected:
  // Three slices of many levels: long enough to be killed in the middle of each.
  std::vector<std::string> arguments(const std::string& output, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"--samples", "4", "--batch-size", "2", "--steps", "400", "--log-format", "json"};
    all.insert(all.end(), more.begin(), more.end());
    return mr_arguments(output, all);
  }

  /// Sends the signal when the state of this slice is written, which is when it is finished: the next one is at work then, however fast the machine is.
  ChildOptions kill_after(const std::string& output, int slice, int signal, double pause_s = 0.0) const {
    ChildOptions options;
    const fs::path state = folder_ / (output + ".checkpoint") / ("slice_" + std::to_string(slice) + ".safetensors");
    options.watch = [state, signal, pause_s, sent = false](int pid, const std::string&) mutable {
      if (sent) return;
      sent = true;
      while (!fs::exists(state) && is_running(pid)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      std::this_thread::sleep_for(std::chrono::duration<double>(pause_s));
      kill(pid, signal);
    };
    return options;
  }
};

// A slice that is finished is not computed again, and a stopped one goes on from the level that it was at: same bits as without a stop.
TEST_F(ResumeRun, GivesTheSameSamples) {
  ASSERT_EQ(run_postrec(arguments("whole")).code, 0);
  EXPECT_FALSE(fs::exists(folder_ / "whole.checkpoint")) << "nothing is left beside a whole result";
  const Ended killed = run_postrec(arguments("killed"), kill_after("killed", 0, SIGKILL));
  ASSERT_EQ(killed.code, 128 + SIGKILL);
  EXPECT_FALSE(fs::exists(folder_ / "killed"));
  ASSERT_TRUE(fs::exists(folder_ / "killed.checkpoint/slice_0.safetensors"));
  // Only where it stops depends on the time: among the levels of the last slice.
  const double some_levels = 0.1 * run_json("whole")["slices"][2]["seconds"].get<double>();
  const Ended stopped = run_postrec(arguments("killed", {"--resume"}), kill_after("killed", 1, SIGTERM, some_levels));
  ASSERT_EQ(stopped.code, 128 + SIGTERM) << stopped.err;
  EXPECT_EQ(run_json("killed")["interrupted"], true);
  ASSERT_EQ(run_json("killed")["slices"].size(), 2u);
  for (const std::string name : {"mean", "standard_deviation", "interval_lower", "interval_upper", "pseudo_inverse"}) {
    const auto pixels = [&](const std::string& result) { return read_scan(path(result + "/" + name + ".nii.gz")).image.pixels; };
    EXPECT_TRUE(at::equal(pixels("killed"), pixels("whole").narrow(0, 0, 2))) << name;
  }
  EXPECT_TRUE(at::equal(read_samples(path("killed/samples.nii.gz")), read_samples(path("whole/samples.nii.gz")).narrow(1, 0, 2)));
  const Ended rest = run_postrec(arguments("killed", {"--resume"}));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_NE(rest.err.find("{\"level\":\"progress\",\"part\":2,"), std::string::npos) << rest.err;
  for (const char* part : {"\"part\":0,", "\"part\":1,"}) EXPECT_EQ(rest.err.find(part), std::string::npos) << "a finished slice is computed again: " << rest.err;
  EXPECT_EQ(content("killed/samples.nii.gz"), content("whole/samples.nii.gz"));
  EXPECT_EQ(run_json("killed")["interrupted"], false);
  EXPECT_FALSE(fs::exists(folder_ / "killed.checkpoint"));
}

TEST_F(ResumeRun, RefusesTheCheckpointOfAnotherRun) {
  ASSERT_EQ(run_postrec(arguments("killed"), kill_after("killed", 0, SIGKILL)).code, 128 + SIGKILL);
  const Ended other = run_postrec(arguments("killed", {"--resume", "--seed", "8"}));
  EXPECT_EQ(other.code, 78);
  EXPECT_NE(other.err.find("slice_0.safetensors' is the checkpoint of a run with another measurement, prior or options"), std::string::npos) << other.err;
  // Without --resume a new run begins, and what is in its folder but not its own stays.
  write_text("killed.checkpoint/note.txt", "x");
  ASSERT_EQ(run_postrec(mr_arguments("killed")).code, 0);
  EXPECT_EQ(content("killed.checkpoint/note.txt"), "x");
  EXPECT_FALSE(fs::exists(folder_ / "killed.checkpoint/slice_0.safetensors"));
}

// What is finished is not lost to a run that goes on with nothing, nor to one that is stopped.
TEST_F(ResumeRun, AFinishedResultStays) {
  ASSERT_EQ(run_postrec(mr_arguments("done")).code, 0);
  const std::string before = content("done/run.json");
  expect_error(run_postrec(mr_arguments("done", {"--resume"})), 73, {"done", "exists"});
  const Ended stopped = run_postrec(arguments("done", {"--on-existing", "overwrite"}), kill_after("done", 0, SIGTERM));
  EXPECT_EQ(stopped.code, 128 + SIGTERM) << stopped.err;
  EXPECT_NE(stopped.err.find("stays as it is"), std::string::npos) << stopped.err;
  EXPECT_EQ(content("done/run.json"), before);
  const Ended rest = run_postrec(arguments("done", {"--on-existing", "overwrite", "--resume"}));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(run_json("done")["interrupted"], false);
  EXPECT_NE(content("done/run.json"), before);
}

TEST_F(ResumeRun, SaysThatTheStateOfAnotherRunIsDropped) {
  ASSERT_EQ(run_postrec(arguments("killed"), kill_after("killed", 0, SIGKILL)).code, 128 + SIGKILL);
  const Ended anew = run_postrec(mr_arguments("killed"));
  EXPECT_EQ(anew.code, 0);
  EXPECT_NE(anew.err.find("killed.checkpoint' is dropped"), std::string::npos) << anew.err;
}

// Nor by one that comes to nothing before its first slice.
TEST_F(ResumeRun, ARunThatCannotBeginDropsNothing) {
  ASSERT_EQ(run_postrec(arguments("killed"), kill_after("killed", 0, SIGKILL)).code, 128 + SIGKILL);
  const std::string state = content("killed.checkpoint/slice_0.safetensors");
  write_text("no.safetensors", "no prior");
  EXPECT_EQ(run_postrec(arguments("killed", {"--prior", path("no.safetensors")})).code, 65);
  EXPECT_EQ(run_postrec(arguments("killed", {"--set", "acceleraton=2"})).code, 78);
  EXPECT_EQ(content("killed.checkpoint/slice_0.safetensors"), state);
}

// Two runs into one output would take each other's state, and the second one would find no place for its result.
TEST_F(ResumeRun, OneRunAtATimeWritesAnOutput) {
  ChildOptions while_it_works;
  Ended second;
  const fs::path state = folder_ / "out.checkpoint/slice_0.safetensors";
  while_it_works.watch = [&, tried = false](int pid, const std::string&) mutable {
    if (tried || !fs::exists(state)) return;
    tried = true;
    kill(pid, SIGSTOP);
    second = run_postrec(arguments("out", {"--resume"}));
    kill(pid, SIGCONT);
  };
  ASSERT_EQ(run_postrec(arguments("out"), while_it_works).code, 0);
  EXPECT_EQ(second.code, 73);
  EXPECT_NE(second.err.find("another run is writing --output"), std::string::npos) << second.err;
  EXPECT_FALSE(fs::exists(folder_ / "out.failed.html"));
  EXPECT_FALSE(fs::exists(folder_ / "out.checkpoint"));
}

// More levels than any machine does in this time; what comes out is whole, and says that levels are missing.
TEST_F(ResumeRun, Deadline) {
  const Ended ended = run_postrec(mr_arguments("out", {"--steps", "1000000", "--deadline", "2"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto run = run_json("out");
  for (const auto& slice : run["slices"]) {
    EXPECT_EQ(slice["levels_left_out"], true);
    EXPECT_LT(slice["sigmas"].size(), 1000000u);
    EXPECT_GE(slice["sigmas"].size(), 2u);
  }
  expect_error(run_postrec(mr_arguments("no", {"--deadline", "-1"})), 64, {"--deadline", "-1"});
}

TEST_F(ResumeRun, SamplerOptions) {
  ASSERT_EQ(run_postrec(mr_arguments("fast", {"--preset", "fast", "--nfe", "6", "--sigma-max", "5"})).code, 0);
  const auto run = run_json("fast");
  EXPECT_EQ(run["sampler"]["nfe"], 6);
  EXPECT_EQ(run["slices"][0]["nfe"], 6);
  EXPECT_EQ(run["slices"][0]["sigmas"][0], 5.0);
  ASSERT_EQ(run_postrec(mr_arguments("exact", {"--preset", "exact", "--slice", "1"})).code, 0);
  EXPECT_EQ(run_json("exact")["sampler"]["method"], "split-gibbs");
  expect_error(run_postrec(mr_arguments("no", {"--preset", "best"})), 64, {"--preset", "best", "default", "fast"});
  expect_error(run_postrec(mr_arguments("no", {"--sampler", "guess"})), 64, {"method", "guess", "bridge"});
  expect_error(run_postrec(mr_arguments("no", {"--solver", "dpm-solver-2m"})), 64, {"solver", "bridge"});
  expect_error(run_postrec(mr_arguments("no", {"--sampler-set", "colour=1"})), 64, {"colour"});
  expect_error(run_postrec(mr_arguments("no", {"--sampler-set", "colour=red"})), 64, {"colour=red", "number"});
  const Ended help = run_postrec({"reconstruct", "--help-sampling"});
  EXPECT_EQ(help.code, 0);
  for (const char* word : {"bridge", "dpm-solver-2m", "--sampler-set", "--nfe"}) EXPECT_NE(help.out.find(word), std::string::npos) << word;
}

}  // namespace
}  // namespace postrec
