#include "calibration/calibration_journal.hpp"

#include <algorithm>
#include <fstream>
#include <utility>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"

namespace postrec {

using nlohmann::ordered_json;

CalibrationJournal::CalibrationJournal(std::filesystem::path path, ordered_json identity) : path_(std::move(path)), identity_(std::move(identity)) {
  std::ifstream file(path_);
  if (path_.empty() || !file) return;
  const ordered_json saved = ordered_json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!saved.is_object() || !saved.contains("identity") || !saved.contains("records") || !saved["records"].is_array())
    throw Error(ErrorKind::kBadData, "--journal " + quoted_path(path_) + " is not a journal of postrec calibrate", "give another name");
  if (saved["identity"] != identity_)
    throw Error(ErrorKind::kUsage, "--journal " + quoted_path(path_) + " is of a run with other options", "give the same options, or another name");
  for (const auto& record : saved["records"]) records_.push_back(CalibrationRecord::from_json(record));
}

const CalibrationRecord* CalibrationJournal::find(const std::string& name) const {
  const auto found = std::find_if(records_.begin(), records_.end(), [&](const CalibrationRecord& record) { return record.name == name; });
  return found == records_.end() ? nullptr : &*found;
}

void CalibrationJournal::add(const CalibrationRecord& record) {
  if (path_.empty()) return;
  records_.push_back(record);
  ordered_json list = ordered_json::array();
  for (const auto& each : records_) list.push_back(each.json());
  const ordered_json whole = {{"identity", identity_}, {"records", list}};
  write_text_atomically(path_, whole.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace postrec
