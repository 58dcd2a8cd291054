#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "batch/batch_discovery.hpp"
#include "batch/case_id.hpp"
#include "postrec/host/plugin_registry.hpp"

namespace postrec {

/// A file by its content.
struct FileDigest {
  std::string path;
  std::uint64_t size = 0;
  std::string sha256;

  static FileDigest of(const std::filesystem::path& file, const std::string& name);
  nlohmann::ordered_json json() const { return {{"path", path}, {"size", size}, {"sha256", sha256}}; }
  static FileDigest from_json(const nlohmann::ordered_json& json);
};

/// What all cases of a batch are reconstructed with, down to the content of every file that it names. The same digest gives the same images.
struct BatchConfig {
  std::vector<std::string> options;            ///< as after `postrec reconstruct INPUT`
  std::uint64_t seed = 0;                      ///< the user's; each case derives its own
  nlohmann::ordered_json parts;                ///< program, options, seed, files, prior, plugins: what the digest is of

  std::string sha256() const;
};

struct BatchCase {
  std::string id;                              ///< name of its result: letters, digits, '-' and '_'
  std::string path;                            ///< of its input, from BatchPlan::input on
  std::vector<FileDigest> files;
  bool dicom_series = false;                   ///< the input is these files, whatever else lies in their folders

  std::uint64_t bytes() const;
};

/// The immutable list of what a batch does: OUT/plan.jsonl, a line for the batch, a line a case, and a line with the digest of those above it.
struct BatchPlan {
  std::filesystem::path input;                 ///< absolute: the root of the cases' paths
  std::filesystem::path working_folder;        ///< absolute: where relative paths in the options begin
  BatchConfig config;
  std::vector<BatchCase> cases;                ///< ordered by id
  nlohmann::ordered_json skipped;              ///< reason -> how many

  static std::filesystem::path file_in(const std::filesystem::path& output) { return output / "plan.jsonl"; }
  std::string text() const;
  /// Throws Error: kNoInput (there is none), kConfiguration (it was changed or cut off).
  static BatchPlan read(const std::filesystem::path& output);
};

/// The digest of what `options` say, relative paths from the working directory on. Every word, or value of a key=value, that is a file is digested with its content; so is
/// what a --config file names. `prior`: the value of --prior, empty for the ones chosen by unit; `operator_name`: empty for what measurements say, and then every plugin counts.
BatchConfig make_batch_config(const std::vector<std::string>& options, std::uint64_t seed, const std::string& prior, const std::string& operator_name,
                              const PluginSearch& plugins);

/// Throws Error(kConfiguration) that says which part is not as it was planned.
void require_same_config(const BatchConfig& planned, const BatchConfig& now);

/// Which cases of the input are wanted.
struct CaseChoice {
  std::vector<std::string> participants;       ///< BIDS labels, "sub-" in front or not; empty: all
  std::vector<std::string> ids;                ///< empty: all
};

/// Names and chooses the cases, their files without digests. A DICOM series is called by its UID, not by its place; what has no name that may be shown by its place, either as
/// SiteKey::opaque_id. Throws Error: kNoInput (a chosen one does not exist), kBadData (two of one name).
std::vector<BatchCase> name_cases(const BatchInput& found, const SiteKey& key, const CaseChoice& choice);

/// The seed of a case: the first 64 bits of SHA-256 over the user's seed and the case's id. The same whatever the order, the shards and the number of jobs.
std::uint64_t seed_of_case(std::uint64_t seed, const std::string& id);

/// Writes OUT/plan.jsonl, read-only. Nothing happens when the same is there; throws Error(kCannotCreate) when another is.
void write_plan(const BatchPlan& plan, const std::filesystem::path& output);

/// Whether case `index` of a plan belongs to shard `shard` (1 to `n_shards`).
inline bool in_shard(std::size_t index, std::int64_t shard, std::int64_t n_shards) {
  return static_cast<std::int64_t>(index) % n_shards == shard - 1;
}

}  // namespace postrec
