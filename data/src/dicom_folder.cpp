// Many DICOM files, sorted into the series that they belong to.
#include "postrec/data/dicom_folder.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include "dicom_header.hpp"
#include "input_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

/// Where a file belongs: its series, or its folder when it says none.
struct Place {
  std::string series_uid;
  fs::path folder;                             ///< empty with a series
  bool operator==(const Place& other) const { return series_uid == other.series_uid && folder == other.folder; }
};

class Sorter {
 public:
  /// Takes files that say where they belong.
  void add(const fs::path& file, const DicomHeader& header) {
    const Place place = header.series_uid[0] != '\0' ? Place{header.series_uid, {}} : Place{"", file.parent_path()};
    std::size_t at = static_cast<std::size_t>(std::find(places_.begin(), places_.end(), place) - places_.begin());
    if (at == places_.size()) {
      places_.push_back(place);
      sorted_.series.push_back({place.series_uid, std::nullopt, {}});
    }
    if (header.is_whole) sorted_.series[at].projections = sorted_.series[at].projections.value_or(false) || header.projection;
    if (is_copy(file, header.sop_instance_uid)) return leave_out("a copy of an instance");
    sorted_.series[at].files.push_back(file);
  }

  void add_to_all_of_its_folder(const fs::path& file) {
    bool any = false;
    for (auto& series : sorted_.series) {
      const bool beside = std::any_of(series.files.begin(), series.files.end(), [&](const fs::path& other) { return other.parent_path() == file.parent_path(); });
      if (beside) series.files.push_back(file);
      any = any || beside;
    }
    if (any) return;
    places_.push_back({"", file.parent_path()});
    sorted_.series.push_back({"", std::nullopt, {file}});
  }

  void leave_out(const std::string& reason) { ++sorted_.left_out[reason]; }

  SortedDicomFiles sorted() && { return std::move(sorted_); }

 private:
  bool is_copy(const fs::path& file, const std::string& instance) {
    if (instance.empty()) return false;
    const auto [first, is_new] = instances_.try_emplace(instance, file);
    return !is_new && fs::file_size(first->second) == fs::file_size(file) && sha256_file(first->second) == sha256_file(file);
  }

  SortedDicomFiles sorted_;
  std::vector<Place> places_;                  ///< of sorted_.series
  std::map<std::string, fs::path> instances_;  ///< SOPInstanceUID -> its first file
};

}  // namespace

bool has_dicom_mark(const fs::path& path) {
  const std::string head = read_head(path, 132);
  return head.size() == 132 && head.compare(128, 4, "DICM") == 0;
}

bool is_lost_dicom(const fs::path& path) {
  if (path.filename().string().front() == '.') return false;
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::error_code failure;
  const bool named = ending == ".dcm" || ending == ".ima";
  if (!fs::exists(path, failure)) return named || ending.empty();
  return !has_dicom_mark(path) && (named || fs::file_size(path, failure) == 0);
}

SortedDicomFiles sort_dicom_files(const std::vector<fs::path>& files) {
  if (files.empty()) return {};
  std::vector<DicomHeader> headers;
  try {
    headers = read_dicom_headers(files);
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorKind::kNoInput, "a DICOM file cannot be opened: " + error.code().message(), "check its permissions");
  }
  Sorter sorter;
  std::vector<fs::path> homeless;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string reason = headers[i].is_whole ? reason_to_leave_out(headers[i]) : "";
    if (!reason.empty()) sorter.leave_out(reason);
    else if (!headers[i].is_whole && headers[i].series_uid[0] == '\0') homeless.push_back(files[i]);
    else sorter.add(files[i], headers[i]);
  }
  for (const fs::path& file : homeless) sorter.add_to_all_of_its_folder(file);
  return std::move(sorter).sorted();
}

}  // namespace postrec
