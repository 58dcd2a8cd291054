#include "case/scan_subject.hpp"

#include <regex>

namespace postrec {
namespace fs = std::filesystem;
namespace {

std::string bare_name(const fs::path& path) {
  static const std::regex kEnding(R"((\.nii)?\.[^.]*$)");
  const std::string name = name_of_scan(path);
  return fs::is_directory(path) ? name : std::regex_replace(name, kEnding, "");
}

}  // namespace

std::string name_of_scan(const fs::path& path) { return (path.has_filename() ? path : path.parent_path()).filename().string(); }

std::string subject_of_name(const fs::path& path) {
  static const std::regex kBids(R"(^sub-[A-Za-z0-9]+)");
  static const std::regex kSession(R"(_(study|session|ses|t1|t2|flair|pd|dwi|run).*$)", std::regex::icase);
  const std::string name = bare_name(path);
  std::smatch found;
  if (std::regex_search(name, found, kBids)) return found.str();
  return std::regex_replace(name, kSession, "");
}

std::string subject_of(const Scan& scan, const fs::path& path) { return scan.patient_sha256.empty() ? subject_of_name(path) : scan.patient_sha256; }

}  // namespace postrec
