#include "batch/batch_store.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "cli/version.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"

namespace postrec {
namespace fs = std::filesystem;
using nlohmann::ordered_json;
namespace {

constexpr const char* kDone = "done.json";
constexpr int kPublishAttempts = 5;            // each failed one means that another process published meanwhile

ordered_json read_json(const fs::path& path) {
  std::ifstream file(path);
  return file ? ordered_json::parse(file, nullptr, /*allow_exceptions=*/false) : ordered_json();
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// Images come out the same in every run; reports and DICOM objects hold times and unique names.
bool is_repeatable(const fs::path& file) {
  const std::string name = file.filename().string();
  const auto ends = [&](const std::string& ending) { return name.size() > ending.size() && name.compare(name.size() - ending.size(), std::string::npos, ending) == 0; };
  return ends(".nii.gz") || ends(".png");
}

/// "" when every file of the list is there with its size and, when asked for, its digest.
std::string first_difference(const fs::path& folder, const ordered_json& files, CheckDepth depth) {
  for (const auto& json : files) {
    const FileDigest wanted = FileDigest::from_json(json);
    std::error_code failure;
    const auto size = fs::file_size(folder / wanted.path, failure);
    if (failure) return wanted.path + " is missing";
    if (size != wanted.size || (depth == CheckDepth::kDigests && sha256_file(folder / wanted.path) != wanted.sha256)) return wanted.path + " was changed";
  }
  return "";
}

/// What `done` says against what it must; "" when nothing differs.
std::string difference(const fs::path& folder, const ordered_json& done, const ordered_json& identity, CheckDepth depth) {
  for (const auto& [key, value] : identity.items())
    if (!done.contains(key) || done[key] != value) return "its " + key + " is not that of the plan";
  for (const char* list : {"outputs", "records"}) {
    if (!done.contains(list) || !done[list].is_array()) return "done.json is damaged";
    if (const std::string first = first_difference(folder, done[list], depth); !first.empty()) return first;
  }
  return "";
}

bool rename_is_refused(int error) { return error == EEXIST || error == ENOTEMPTY; }

[[noreturn]] void throw_unpublished(const fs::path& final_path, const std::string& why) {
  throw Error(ErrorKind::kCannotCreate, "the result " + quoted_path(final_path) + " cannot be put in its place: " + why, "check that the folder can be written");
}

}  // namespace

ordered_json case_identity(const BatchConfig& config, const BatchCase& each) {
  ordered_json inputs = ordered_json::array();
  for (const auto& file : each.files) inputs.push_back({{"size", file.size}, {"sha256", file.sha256}});  // no names: they may be patients'
  return {{"case", each.id}, {"config_sha256", config.sha256()}, {"seed", seed_of_case(config.seed, each.id)}, {"inputs", inputs}};
}

ordered_json done_json(const fs::path& folder, const ordered_json& identity) {
  ordered_json done = identity;
  const ordered_json run = read_json(folder / "run.json");
  done["program"] = {{"version", program_version()}, {"libtorch", libtorch_version()}};
  if (run.contains("prior")) done["prior_sha256"] = run["prior"].value("sha256", "");
  if (run.contains("operator")) done["plugin"] = run["operator"].value("plugin", ordered_json());
  done["outputs"] = done["records"] = ordered_json::array();
  for (const fs::path& file : files_below(folder))
    done[is_repeatable(file) ? "outputs" : "records"].push_back(FileDigest::of(file, file.lexically_relative(folder).generic_string()).json());
  return done;
}

ResultCheck check_result(const fs::path& folder, const ordered_json& identity, CheckDepth depth) {
  std::error_code failure;
  if (!fs::exists(fs::symlink_status(folder, failure))) return {ResultState::kAbsent, ""};
  const auto holds = [&](const char* name) { return fs::exists(folder / name, failure); };
  const bool ours = fs::is_directory(folder, failure) && (fs::is_empty(folder, failure) || holds(kDone) || holds("run.json"));
  if (failure == std::errc::permission_denied) return {ResultState::kForeign, "the folder in its place may not be read"};
  if (!ours) return {ResultState::kForeign, "what lies in its place is not a result of postrec"};
  const ordered_json done = read_json(folder / kDone);
  if (!done.is_object()) return {ResultState::kDifferent, "done.json is missing or damaged"};
  try {
    const std::string reason = difference(folder, done, identity, depth);
    return {reason.empty() ? ResultState::kDone : ResultState::kDifferent, reason};
  } catch (const nlohmann::json::exception&) {
    return {ResultState::kDifferent, "done.json is damaged"};
  } catch (const Error&) {                     // one unreadable file is no reason to stop a batch
    return {ResultState::kDifferent, "a file of it cannot be read"};
  }
}

void make_folders(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw Error(write_error_kind(failure.value()), quoted_path(folder) + " cannot be created: " + failure.message(), "give a folder that you may write to, with room");
}

void sync_tree(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) sync_to_disk(entry.path(), entry.path());
  sync_to_disk(folder, folder);
}

bool publish_result(const fs::path& made, const fs::path& final_path, const ordered_json& identity, bool replace) {
  const fs::path old = made.parent_path() / "replaced";
  for (int attempt = 0; attempt < kPublishAttempts; ++attempt) {
    if (::rename(made.c_str(), final_path.c_str()) == 0) {
      sync_to_disk(final_path.parent_path(), final_path);
      return true;
    }
    if (!rename_is_refused(errno)) throw_unpublished(final_path, std::strerror(errno));
    const ResultCheck there = check_result(final_path, identity, CheckDepth::kDigests);
    if (there.state == ResultState::kForeign) throw_unpublished(final_path, there.reason);
    if (there.state == ResultState::kDone && !replace) return read_json(made / kDone)["outputs"] == read_json(final_path / kDone)["outputs"];
    fs::remove_all(old);
    if (there.state != ResultState::kAbsent && ::rename(final_path.c_str(), old.c_str()) != 0 && errno != ENOENT) throw_unpublished(final_path, std::strerror(errno));
  }
  throw_unpublished(final_path, "other processes put theirs there all the time");
}

void write_failure(const BatchFolders& folders, const std::string& id, const CaseFailure& failure) {
  make_folders(folders.work(id));
  const ordered_json json = {{"case", id}, {"exit_code", failure.code}, {"reason", failure.reason}};
  write_text_atomically(folders.failure(id), json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

std::optional<CaseFailure> read_failure(const BatchFolders& folders, const std::string& id) {
  const ordered_json json = read_json(folders.failure(id));
  if (!json.is_object()) return std::nullopt;
  return CaseFailure{json.value("exit_code", 0), json.value("reason", "")};
}

void forget_failure(const BatchFolders& folders, const std::string& id) {
  std::error_code ignored;
  fs::remove(folders.failure(id), ignored);
  fs::remove(folders.failure_page(id), ignored);
  fs::remove(folders.work(id), ignored);       // only when empty
}

}  // namespace postrec
