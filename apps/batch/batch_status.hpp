#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "batch/batch_index.hpp"
#include "batch/batch_plan.hpp"
#include "batch/batch_store.hpp"

namespace postrec {

enum class CaseState { kDone, kFailed, kRunning, kStopped, kNotStarted };

/// "done", "failed", "running", "stopped", "not started"
const char* state_name(CaseState state);

struct CaseStatus {
  std::string id;
  CaseState state = CaseState::kNotStarted;
  int code = 0;                                ///< of kFailed
  std::string reason;                          ///< of kFailed; why a result does not count of kNotStarted
};

/// What the output folder says of each case of the plan, in its order. `depth`: whether results are read or only looked at.
std::vector<CaseStatus> batch_status(const BatchPlan& plan, const BatchFolders& folders, CheckDepth depth);

/// One line a shard, and the failed cases with their reasons.
std::string status_text(const std::vector<CaseStatus>& cases, std::int64_t n_shards);
nlohmann::ordered_json status_json(const std::vector<CaseStatus>& cases, std::int64_t n_shards);

/// A row for each case with what its run.json says: the content of summary.json.
nlohmann::ordered_json batch_summary(const std::vector<CaseStatus>& cases, const BatchFolders& folders);
/// What the index page OUT/index.html shows of it: a row a case, with links to its pages.
BatchIndex batch_index(const nlohmann::ordered_json& summary, const BatchFolders& folders);
/// The same as a table with tabs, the content of summary.tsv; n/a where a case says nothing.
std::string summary_table(const nlohmann::ordered_json& summary);

}  // namespace postrec
