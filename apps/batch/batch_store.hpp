#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "batch/batch_plan.hpp"

namespace postrec {

/// Where the parts of a batch lie below its output folder. A case's result appears by one rename, whole; everything unfinished is below .work.
struct BatchFolders {
  std::filesystem::path output;                ///< absolute

  std::filesystem::path result(const std::string& id) const { return output / id; }
  std::filesystem::path all_work() const { return output / ".work"; }
  std::filesystem::path work(const std::string& id) const { return all_work() / id; }
  std::filesystem::path failure(const std::string& id) const { return work(id) / "failed.json"; }
  /// The page that a failed `postrec reconstruct` writes.
  std::filesystem::path failure_page(const std::string& id) const { return work(id) / "failed.html"; }
  std::filesystem::path events() const { return output / ".events"; }
};

/// What a result must say of itself to be that of this case: the digests of configuration and inputs, and the seed.
nlohmann::ordered_json case_identity(const BatchConfig& config, const BatchCase& each);

/// done.json: the identity, the versions, and the digest of every file of `folder`, images (`outputs`, the same in every run) apart from those with times in them (`records`).
nlohmann::ordered_json done_json(const std::filesystem::path& folder, const nlohmann::ordered_json& identity);

enum class ResultState {
  kAbsent,
  kDone,
  kDifferent,                                  ///< ours, but not what done.json or the plan says: to be made again
  kForeign,                                    ///< not ours: never touched
};

struct ResultCheck {
  ResultState state = ResultState::kAbsent;
  std::string reason;                          ///< of kDifferent and kForeign
};

enum class CheckDepth { kSizes, kDigests };

/// Whether `folder` holds the whole result of the case with this identity.
ResultCheck check_result(const std::filesystem::path& folder, const nlohmann::ordered_json& identity, CheckDepth depth);

/// Makes a folder and those above it. Throws Error: kCannotCreate, kInputOutput (disk full).
void make_folders(const std::filesystem::path& folder);

/// Syncs every file below `folder` and the folders. Throws Error(kInputOutput).
void sync_tree(const std::filesystem::path& folder);

/// Gives the finished folder `made` its final name. When another process was faster, its result stays, and whether it holds the same images is returned. An old result that is not
/// whole, or any with `replace`, makes way into `made`'s parent. Throws Error: kCannotCreate, kInputOutput.
bool publish_result(const std::filesystem::path& made, const std::filesystem::path& final_path, const nlohmann::ordered_json& identity, bool replace);

/// Why a case did not become done, kept until it does.
struct CaseFailure {
  int code = 0;
  std::string reason;
};

void write_failure(const BatchFolders& folders, const std::string& id, const CaseFailure& failure);
std::optional<CaseFailure> read_failure(const BatchFolders& folders, const std::string& id);
void forget_failure(const BatchFolders& folders, const std::string& id);

}  // namespace postrec
