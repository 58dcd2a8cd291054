#include "case/scan_subject.hpp"

#include <map>
#include <regex>

namespace postrec {
namespace fs = std::filesystem;
namespace {

const std::regex& bids_subject() {
  static const std::regex kBids(R"(^sub-[A-Za-z0-9]+)");
  return kBids;
}

fs::path without_slash(const fs::path& path) { return path.has_filename() ? path : path.parent_path(); }

fs::path folder_of(const fs::path& path) { return without_slash(path).lexically_normal().parent_path(); }

/// The innermost folder "sub-XX" above a scan, or the scan's own.
fs::path folder_of_person(const fs::path& path) {
  const fs::path folder = folder_of(path);
  for (fs::path above = folder; above.has_relative_path(); above = above.parent_path())
    if (std::regex_search(above.filename().string(), bids_subject())) return above;
  return folder;
}

std::string bare_name(const fs::path& path) {
  static const std::regex kEnding(R"((\.nii)?\.[^.]*$)");
  const std::string name = name_of_scan(path);
  return fs::is_directory(path) ? name : std::regex_replace(name, kEnding, "");
}

}  // namespace

std::string name_of_scan(const fs::path& path) { return without_slash(path).filename().string(); }

std::string subject_of_name(const fs::path& path) {
  static const std::regex kSession(R"(_(study|session|ses|t1|t2|flair|pd|dwi|run).*$)", std::regex::icase);
  const std::string name = bare_name(path);
  std::smatch found;
  if (std::regex_search(name, found, bids_subject())) return found.str();
  return std::regex_replace(name, kSession, "");
}

ScanSubjects::ScanSubjects(const std::vector<fs::path>& scans) {
  std::map<std::string, std::set<fs::path>> folders_with;
  for (const auto& scan : scans) folders_with[name_of_scan(scan)].insert(folder_of(scan));
  for (const auto& [name, folders] : folders_with)
    if (folders.size() > 1) persons_.insert(folders.begin(), folders.end());
}

std::string ScanSubjects::of(const Scan& scan, const fs::path& path) const {
  if (!scan.patient_sha256.empty()) return scan.patient_sha256;
  return persons_.count(folder_of(path)) != 0 ? folder_of_person(path).string() : subject_of_name(path);
}

}  // namespace postrec
