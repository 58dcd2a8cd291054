// postrec batch run, killed without warning again and again: nothing is lost, nothing is twice, nothing is half, and every image is that of a run in peace.
#include <csignal>
#include <random>
#include <thread>

#include "batch_fixture.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

class BatchKill : public BatchTest {};

TEST_F(BatchKill, FiftyTimesAtRandomMoments) {
  constexpr int kCases = 20, kKills = 50;
  make_bids(kCases);
  plan("whole");
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(run_batch("whole").code, 0);
  const std::chrono::duration<double> peaceful = std::chrono::steady_clock::now() - begin;
  const auto whole = digests("whole");
  ASSERT_EQ(whole.size(), static_cast<std::size_t>(kCases));

  std::mt19937 generator(1);
  // Up to a seventh of the batch before each kill: starting, working, finishing, publishing are all hit.
  std::uniform_real_distribution<double> moment(0.0, peaceful.count() / 7);
  int kills = 0;
  for (int batch = 0; kills < kKills; ++batch) {
    const std::string output = "killed" + std::to_string(batch);
    plan(output);
    bool finished = false;
    while (!finished && kills < kKills) {
      const int pid = start_postrec({"batch", "run", path(output)});
      std::this_thread::sleep_for(std::chrono::duration<double>(moment(generator)));
      kill(pid, SIGKILL);
      const int code = wait_for(pid);
      finished = code == 0;
      kills += finished ? 0 : 1;
      for (const auto& entry : fs::directory_iterator(folder_ / output))
        if (entry.path().filename().string().rfind("sub-", 0) == 0) { EXPECT_TRUE(fs::exists(entry.path() / "done.json")) << entry.path(); }
      for (const auto& [id, outputs] : digests(output)) EXPECT_EQ(outputs, whole.at(id)) << "half a result under a final name: " << id;
    }
    const Ended rest = run_batch(output);
    ASSERT_EQ(rest.code, 0) << rest.err;
    EXPECT_EQ(digests(output), whole);
    EXPECT_EQ(status(output, {"--verify"})["all"]["done"], kCases);
    EXPECT_TRUE(leftovers(output).empty()) << leftovers(output).front();
  }
}

}  // namespace
}  // namespace postrec
