#include "batch/batch_events.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <regex>

#include "batch/batch_store.hpp"
#include "batch/case_id.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/utc_time.hpp"

namespace postrec {
namespace fs = std::filesystem;
using nlohmann::ordered_json;

BatchEvents::BatchEvents(const fs::path& folder, std::int64_t shard, std::int64_t n_shards) {
  constexpr std::size_t kNameBytes = 8;
  make_folders(folder);
  path_ = folder / ("shard-" + std::to_string(shard) + "-of-" + std::to_string(n_shards) + "-" + random_hex(kNameBytes) + ".jsonl");
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0)
    throw Error(write_error_kind(errno), quoted_path(path_) + " cannot be created: " + std::strerror(errno), "check that the output folder can be written");
}

BatchEvents::~BatchEvents() { ::close(file_); }

void BatchEvents::write(const std::string& event, const ordered_json& facts) {
  ordered_json line = {{"event", event}, {"time", utc_time()}};
  line.update(facts);
  const std::string text = line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  if (!write_all(file_, text))
    throw Error(ErrorKind::kInputOutput, quoted_path(path_) + " cannot be written: " + std::strerror(errno), "check the free space");
}

std::int64_t shards_seen(const fs::path& folder) {
  static const std::regex kName("shard-[0-9]{1,9}-of-([0-9]{1,9})-[0-9a-f]+\\.jsonl");
  std::int64_t n_shards = 1;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure)) {
    std::smatch match;
    const std::string name = entry.path().filename().string();
    if (std::regex_match(name, match, kName)) n_shards = std::max<std::int64_t>(n_shards, std::stoll(match[1]));
  }
  return n_shards;
}

}  // namespace postrec
