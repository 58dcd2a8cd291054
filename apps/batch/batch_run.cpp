#include "batch/batch_run.hpp"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <list>
#include <vector>

#include "batch/batch_events.hpp"
#include "batch/batch_store.hpp"
#include "batch/batch_worker.hpp"
#include "cli/console.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/progress.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "result/report_page_failure.hpp"

namespace postrec {
namespace fs = std::filesystem;
using nlohmann::ordered_json;
namespace {

constexpr int kPollMilliseconds = 200;         // how late a signal may be seen
constexpr int kNoRoomInARow = 2;               // one such failure can be a bad file, two in a row are a full disk

constexpr int code_of(ErrorKind kind) { return static_cast<int>(kind); }

/// Whether a case may well go on from its checkpoint when there is room again.
constexpr bool is_of_the_machine(int code) { return code == code_of(ErrorKind::kInputOutput) || code == code_of(ErrorKind::kOutOfMemory); }

/// The run of one shard: a queue of cases, and the workers that are at some of them.
class ShardRun {
 public:
  ShardRun(const BatchPlan& plan, const BatchRunOptions& options)
      : plan_(plan), options_(options), folders_{options.output}, events_(folders_.events(), options.shard, options.n_shards) {
    fill_queue();
  }

  BatchOutcome run() {
    Progress progress(static_cast<std::int64_t>(queue_.size()));
    progress_ = &progress;
    events_.write("begin", {{"shard", options_.shard}, {"shards", options_.n_shards}, {"cases", queue_.size()}, {"jobs", options_.jobs}});
    while (!queue_.empty() || !workers_.empty()) {
      while (may_start() && bring_forward_a_free_case()) start_next();
      if (workers_.empty() && !may_start()) break;
      wait_for_one();
    }
    outcome_.left += static_cast<std::int64_t>(queue_.size());
    outcome_.no_room = no_room_in_a_row_ > 0;
    outcome_.stopped = interrupting_signal() != 0;
    events_.write("end", {{"done", outcome_.done}, {"verified", outcome_.verified}, {"failed", outcome_.failed}, {"left", outcome_.left}});
    return outcome_;
  }

 private:
  void fill_queue() {
    std::deque<std::size_t> failed;
    for (std::size_t i = 0; i < plan_.cases.size(); ++i) {
      if (!in_shard(i, options_.shard, options_.n_shards)) continue;
      const std::string& id = plan_.cases[i].id;
      (read_failure(folders_, id) ? failed : queue_).push_back(i);
    }
    queue_.insert(queue_.end(), failed.begin(), failed.end());
  }

  /// Puts a case that no other process is at in front, those that one is at to the end; false when there is none.
  bool bring_forward_a_free_case() {
    for (std::size_t i = 0; i < queue_.size(); ++i) {
      if (!attempts_at(folders_.work(plan_.cases[queue_.front()].id)).running) return true;
      queue_.push_back(queue_.front());
      queue_.pop_front();
    }
    if (workers_.empty() && !said_that_it_waits_) {
      said_that_it_waits_ = true;
      progress_->on_message("waiting for " + std::to_string(queue_.size()) + " case(s) that another process is at");
    }
    return false;
  }

  bool may_start() const {
    const bool given_up = interrupting_signal() != 0 || no_room_in_a_row_ >= kNoRoomInARow || (options_.fail_fast && outcome_.failed > 0);
    return !given_up && !queue_.empty() && static_cast<int>(workers_.size()) < options_.jobs;
  }

  void start_next() {
    const std::size_t index = queue_.front();
    queue_.pop_front();
    const BatchCase& each = plan_.cases[index];
    const ResultCheck there = check_result(folders_.result(each.id), case_identity(plan_.config, each), CheckDepth::kDigests);
    const bool done = there.state == ResultState::kDone;
    if (there.state == ResultState::kForeign) return fail(index, {code_of(ErrorKind::kCannotCreate), there.reason});
    if (there.state != ResultState::kAbsent && options_.on_existing == OnExistingResult::kFail) return fail(index, {code_of(ErrorKind::kCannotCreate), "it has a result already"});
    if (done && options_.on_existing == OnExistingResult::kSkipVerified) return verify(index);
    if (there.state == ResultState::kDifferent) say(index, "again", {{"reason", there.reason}});
    Attempt attempt = Attempt::begin(folders_.work(each.id));
    write_text_atomically(attempt.job(), options_.job_of(each, attempt).dump() + "\n");
    events_.write("start", {{"case", each.id}, {"resumed", attempt.resumes()}});
    workers_.emplace_back(Worker(index, std::move(attempt), options_.threads), Clock::now());
  }

  /// Until a worker ends, a signal arrives or it is time to look again at what other processes do; the signal is handed on once.
  void wait_for_one() {
    std::vector<pollfd> ends;
    for (const auto& [worker, begin] : workers_) ends.push_back({worker.descriptor(), POLLIN, 0});
    ::poll(ends.data(), ends.size(), kPollMilliseconds);
    if (interrupting_signal() != 0 && !asked_to_stop_) {
      asked_to_stop_ = true;
      for (const auto& [worker, begin] : workers_) worker.ask_to_stop();
    }
    auto each = workers_.begin();
    for (const pollfd& end : ends) {
      const auto next = std::next(each);
      if (end.revents != 0) {
        auto [worker, begin] = std::move(*each);
        workers_.erase(each);
        finish(worker, std::chrono::duration<double>(Clock::now() - begin).count());
      }
      each = next;
    }
  }

  void finish(Worker& worker, double seconds) {
    const std::size_t index = worker.case_index();
    const Worker::Ending ending = worker.wait();
    if (ending.code == 0) {
      worker.attempt().remove();
      forget_failure(folders_, plan_.cases[index].id);
      no_room_in_a_row_ = 0;
      ++outcome_.done;
      ordered_json facts = {{"seconds", seconds}};
      if (!ending.warnings.empty()) facts["warnings"] = ending.warnings;
      say(index, "done", facts);
    } else if (ending.stopped && interrupting_signal() != 0) {
      ++outcome_.left;
      say(index, "stopped", {{"seconds", seconds}});
    } else if (worker.attempt().resumes() && !is_of_the_machine(ending.code)) {
      // What the dead attempt left may be the reason.
      say(index, "again", {{"reason", ending.reason}});
      worker.attempt().remove();
      queue_.push_front(index);
    } else {
      std::error_code none;                    // not every failure has a page
      fs::rename(failure_page_of(worker.attempt().result()), folders_.failure_page(plan_.cases[index].id), none);
      if (ending.died || is_of_the_machine(ending.code)) worker.attempt().keep_checkpoint();
      else worker.attempt().remove();
      fail(index, {ending.code, ending.reason.empty() ? "it ended with code " + std::to_string(ending.code) + " (" + exit_code_meaning(ending.code) + ")" : ending.reason});
    }
  }

  void verify(std::size_t index) {
    remove_dead_attempts(folders_.work(plan_.cases[index].id));
    forget_failure(folders_, plan_.cases[index].id);
    ++outcome_.verified;
    say(index, "verified", ordered_json::object());
  }

  void fail(std::size_t index, const CaseFailure& failure) {
    no_room_in_a_row_ = failure.code == code_of(ErrorKind::kInputOutput) ? no_room_in_a_row_ + 1 : 0;
    ++outcome_.failed;
    say(index, "failed", {{"exit_code", failure.code}, {"reason", failure.reason}});
    write_failure(folders_, plan_.cases[index].id, failure);
  }

  void say(std::size_t index, const std::string& event, const ordered_json& facts) {
    const std::string& id = plan_.cases[index].id;
    ordered_json line = {{"case", id}};
    line.update(facts);
    const std::string reason = facts.value("reason", "");
    progress_->clear_bar();
    if (event == "failed") console().warning("case " + id + " failed: " + reason);
    else console().information("case " + id + " " + event + (reason.empty() ? "" : ": " + reason));
    for (const auto& warning : facts.value("warnings", std::vector<std::string>())) console().warning("case " + id + ": " + warning);
    if (event == "done" || event == "verified" || event == "failed") progress_->finish_part(n_finished_++);
    events_.write(event, line);
  }

  using Clock = std::chrono::steady_clock;

  const BatchPlan& plan_;
  const BatchRunOptions& options_;
  BatchFolders folders_;
  BatchEvents events_;
  Progress* progress_ = nullptr;
  std::deque<std::size_t> queue_;
  std::list<std::pair<Worker, Clock::time_point>> workers_;
  BatchOutcome outcome_;
  std::int64_t n_finished_ = 0;
  int no_room_in_a_row_ = 0;
  bool asked_to_stop_ = false;
  bool said_that_it_waits_ = false;
};

}  // namespace

BatchOutcome run_batch(const BatchPlan& plan, const BatchRunOptions& options) { return ShardRun(plan, options).run(); }

}  // namespace postrec
