#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace postrec {

/// What one process of a batch did, one JSON object a line, for people: the truth is what lies in the output folder. Each process has a file of its own.
class BatchEvents {
 public:
  /// Makes FOLDER/shard-I-of-N-UUID.jsonl. Throws Error(kCannotCreate).
  BatchEvents(const std::filesystem::path& folder, std::int64_t shard, std::int64_t n_shards);
  ~BatchEvents();
  BatchEvents(const BatchEvents&) = delete;
  BatchEvents& operator=(const BatchEvents&) = delete;

  /// Adds the time, and "event" first. Throws Error(kInputOutput).
  void write(const std::string& event, const nlohmann::ordered_json& facts = nlohmann::ordered_json::object());

 private:
  std::filesystem::path path_;
  int file_ = -1;
};

/// The largest number of shards that processes worked with, from the names of their files; 1 when none did.
std::int64_t shards_seen(const std::filesystem::path& folder);

}  // namespace postrec
