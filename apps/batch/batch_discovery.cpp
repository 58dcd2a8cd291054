#include "batch/batch_discovery.hpp"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <tuple>

#include "batch/case_id.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/dicom_folder.hpp"
#include "postrec/data/pacs_listen.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace fs = std::filesystem;
namespace {

constexpr const char* kMeasurement = "measurement.json";

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool ends_with(const fs::path& path, const std::string& ending) {
  const std::string name = lower_case(path.filename().string());
  return name.size() > ending.size() && name.compare(name.size() - ending.size(), std::string::npos, ending) == 0;
}

bool hidden(const fs::path& path) { return path.filename().string().rfind('.', 0) == 0; }

/// The entries of a folder in the order of their names, so that a plan does not depend on the file system.
std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure)) entries.push_back(entry.path());
  if (failure) throw Error(ErrorKind::kNoInput, "a folder below the input cannot be read: " + failure.message(), "check its permissions");
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool is_plain_folder(const fs::path& path) { return fs::is_directory(fs::symlink_status(path)); }

// What cannot be looked at, such as a symbolic link to itself, is neither; the library's own functions would throw its name.
bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// The beginning of a file that names others.
std::string text_of(const fs::path& path) {
  std::string text(std::size_t{1} << 20, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

bool is_map(const std::string& stem) {
  for (const char* suffix : {"_mask", "_dseg", "_probseg", "_defacemask"})
    if (const std::string end = suffix; stem.size() > end.size() && stem.compare(stem.size() - end.size(), std::string::npos, end) == 0) return true;
  return false;
}

void add_anat(const fs::path& anat, const std::string& participant, BatchInput& found) {
  bool any = false;
  for (const fs::path& file : is_folder(anat) ? sorted_entries(anat) : std::vector<fs::path>()) {
    if (hidden(file) || ends_with(file, ".json")) continue;  // the one describes a scan
    const std::string ending = scan_ending(file), name = file.filename().string(), stem = name.substr(0, name.size() - ending.size());
    if (!is_file(file)) {
      ++found.skipped["no regular file"];
    } else if (ending != ".nii.gz" && ending != ".nii") {
      ++found.skipped["not NIfTI, in anat of a BIDS tree"];
    } else if (is_map(stem)) {
      ++found.skipped["a mask or label map"];
    } else if (ending == ".nii" && is_file(file.string() + ".gz")) {
      ++found.skipped["a .nii beside the same in .nii.gz"];
    } else {
      const bool plain = is_bids_name(stem) && stem.rfind("sub-" + participant + "_", 0) == 0;
      found.cases.push_back({file.lexically_relative(found.root), plain ? stem : "", participant});
      any = true;
    }
  }
  if (!any) ++found.skipped["a subject or session without a scan in anat"];
}

/// What lies in a BIDS tree beside its subjects: its own descriptions and, if so, scans that are none of its.
void count_beside_subjects(const fs::path& entry, BatchInput& found) {
  if (hidden(entry)) return;
  if (is_folder(entry)) ++found.skipped["a folder beside the subjects of a BIDS tree"];
  else if (is_file(entry) && (!scan_ending(entry).empty() || has_dicom_mark(entry))) ++found.skipped["a scan beside the subjects of a BIDS tree"];
}

bool add_bids(BatchInput& found) {
  const std::string kPrefix = "sub-";
  const auto is_subject = [&](const fs::path& entry) { return entry.filename().string().rfind(kPrefix, 0) == 0 && is_folder(entry); };
  const std::vector<fs::path> entries = sorted_entries(found.root);
  if (std::none_of(entries.begin(), entries.end(), is_subject)) return false;
  for (const fs::path& subject : entries) {
    if (!is_subject(subject)) {
      count_beside_subjects(subject, found);
      continue;
    }
    const std::string name = subject.filename().string();
    const std::string participant = name.substr(kPrefix.size());
    std::vector<fs::path> sessions;
    for (const fs::path& entry : sorted_entries(subject))
      if (entry.filename().string().rfind("ses-", 0) == 0 && is_folder(entry)) sessions.push_back(entry);
    if (sessions.empty() || is_folder(subject / "anat")) sessions.push_back(subject);
    for (const fs::path& session : sessions) add_anat(session / "anat", participant, found);
  }
  return true;
}

/// The DICOM files that were met on the way, to be told apart in the end: a series may lie in several folders.
struct DicomFiles {
  DiscoveryOptions options;
  std::vector<fs::path> files;
  std::set<fs::path> marked;                   ///< folders with the marker of a complete series
};

/// Whether a series is of the kind that is reconstructed; if not, that is said. One that is damaged throughout is: its row tells so.
bool is_wanted(const DicomSeriesFiles& series, DicomKind kind, BatchInput& found) {
  if (kind == DicomKind::kAll || !series.projections || *series.projections == (kind == DicomKind::kProjections)) return true;
  ++found.skipped[*series.projections ? "a DICOM series of projections, which are measured: plan them without --simulate" : "a DICOM series of images, which need --simulate"];
  return false;
}

/// The series of `dicom` as cases, with `label` if there is one; their paths begin with `base`, which is empty or that of the root.
void add_series(const DicomFiles& dicom, const fs::path& base, const std::string& label, BatchInput& found) {
  const auto shown = [&](const fs::path& path) { return base.empty() ? path : path.lexically_relative(base); };
  const SortedDicomFiles sorted = sort_dicom_files(dicom.files);
  for (const auto& [reason, count] : sorted.left_out) found.skipped[reason] += count;
  for (const auto& series : sorted.series) {
    if (!is_wanted(series, dicom.options.kind, found)) continue;
    FoundCase& each = found.cases.emplace_back(FoundCase{shown(series.files.front().parent_path()), label, "", series.series_uid, {}});
    std::set<fs::path> markers;
    for (const auto& file : series.files) {
      each.files.push_back(shown(file));
      if (dicom.marked.count(file.parent_path()) != 0) markers.insert(shown(file.parent_path() / kCompleteMarker));
    }
    each.files.insert(each.files.end(), markers.begin(), markers.end());
  }
}

/// Whether a folder holds what has not arrived as a whole; if so, that is said. `parent` is the folder that holds it.
bool leave_unfinished(const fs::path& folder, const fs::path& parent, DicomFiles& dicom, BatchInput& found) {
  if (is_pacs_inbox(folder) && folder.extension() == ".partial") {
    ++found.skipped["what an unfinished postrec pacs get left"];
    return true;
  }
  if (!is_pacs_inbox(parent) || dicom.options.receptions == Receptions::kAll) return false;
  if (!is_complete_series(folder)) {
    const std::string name = folder.filename().string();
    const bool ours = name.size() == 16 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
    ++found.skipped["a series that postrec pacs listen has not marked as complete" + (ours ? ": " + name : std::string())];
    return true;
  }
  dicom.marked.insert(folder);
  return false;
}

void add_folder(const fs::path& folder, DicomFiles& dicom, BatchInput& found) {
  const auto relative = [&](const fs::path& path) { return path.lexically_relative(found.root); };
  if (fs::exists(folder / kMeasurement)) {
    found.cases.push_back({relative(folder), "", ""});
    return;
  }
  std::vector<fs::path> folders, lost;
  const std::size_t n_before = dicom.files.size();
  for (const fs::path& entry : sorted_entries(folder)) {
    if (hidden(entry)) continue;
    if (is_plain_folder(entry)) {
      folders.push_back(entry);
    } else if (is_folder(entry)) {
      ++found.skipped["a symbolic link to a folder"];
    } else if (!is_file(entry)) {
      ++found.skipped["no regular file"];
    } else if (!scan_ending(entry).empty()) {
      found.cases.push_back({relative(entry), "", ""});
    } else if (has_dicom_mark(entry)) {
      dicom.files.push_back(entry);
    } else if (is_lost_dicom(entry)) {
      lost.push_back(entry);
    } else if (!ends_with(entry, ".hdr") && !(dicom.marked.count(folder) != 0 && entry.filename() == kCompleteMarker)) {  // the one belongs to a .cfl
      ++found.skipped["neither a scan nor a measurement"];
    }
  }
  // Beside a series it is a slice of it; the case fails and says so.
  if (dicom.files.size() > n_before) dicom.files.insert(dicom.files.end(), lost.begin(), lost.end());
  else if (!lost.empty()) found.skipped["neither a scan nor a measurement"] += static_cast<std::int64_t>(lost.size());
  for (const fs::path& inner : folders)
    if (!leave_unfinished(inner, folder, dicom, found)) add_folder(inner, dicom, found);
}

/// What a line of a list names. A folder may hold several DICOM series, unless it is to be one case.
void add_listed(const fs::path& path, const std::string& label, const std::string& where, const DiscoveryOptions& options, BatchInput& found) {
  const fs::path whole = found.root / path;
  DicomFiles dicom{options, {}, {}};
  if (is_folder(whole) && !fs::exists(whole / kMeasurement)) {
    if (leave_unfinished(whole, whole.parent_path(), dicom, found)) return;
    for (const fs::path& entry : sorted_entries(whole))
      if (!hidden(entry) && is_file(entry) && (has_dicom_mark(entry) || is_lost_dicom(entry))) dicom.files.push_back(entry);
  }
  if (dicom.files.empty()) {
    found.cases.push_back({path, label, ""});
    return;
  }
  const std::size_t before = found.cases.size();
  add_series(dicom, path.is_absolute() ? fs::path() : found.root, label, found);
  if (const std::size_t n = found.cases.size() - before; n != 1 && !label.empty())
    throw Error(ErrorKind::kBadData, "what " + where + " names holds " + std::to_string(n) + " DICOM series to reconstruct and has one name", "leave its case empty: each series gets an id of its own");
}

std::vector<std::string> split(const std::string& line, char separator) {
  std::vector<std::string> fields;
  std::istringstream stream(line);
  for (std::string field; std::getline(stream, field, separator);) fields.push_back(field);
  return fields;
}

/// The place of a column in the first line of a table, -1 without it.
std::ptrdiff_t column(const std::vector<std::string>& head, const std::string& name) {
  const auto at = std::find(head.begin(), head.end(), name);
  return at == head.end() ? -1 : at - head.begin();
}

std::string field_of(const std::vector<std::string>& fields, std::ptrdiff_t column) {
  return column >= 0 && column < static_cast<std::ptrdiff_t>(fields.size()) ? fields[column] : "";
}

void add_list(const fs::path& list, const DiscoveryOptions& options, BatchInput& found) {
  const char separator = ends_with(list, ".tsv") ? '\t' : ',';
  std::ifstream file(list);
  std::ptrdiff_t path_column = 0, case_column = -1;
  std::int64_t number = 0;
  bool named_columns = false;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (number == 1 && line.rfind("\xef\xbb\xbf", 0) == 0) line.erase(0, 3);  // the mark that Excel writes before UTF-8
    if (line.empty() || line.front() == '#') continue;
    const auto fields = ends_with(list, ".txt") ? std::vector<std::string>{line} : split(line, separator);
    if (number == 1 && column(fields, "path") >= 0) {
      path_column = column(fields, "path");
      case_column = column(fields, "case");
      named_columns = true;
      continue;
    }
    const std::string where = "line " + std::to_string(number) + " of the list";
    if (!named_columns && fields.size() > 1)
      throw Error(ErrorKind::kBadData, where + " has " + std::to_string(fields.size()) + " columns, and the first line does not name them", "begin a table with `path` and `case`, or write a .txt with a path a line");
    const std::string path = field_of(fields, path_column), label = field_of(fields, case_column);
    if (path.empty()) throw Error(ErrorKind::kBadData, where + " names no path", "write one path a line, or a table with a column `path`");
    if (!fs::exists(found.root / path)) throw Error(ErrorKind::kNoInput, "what " + where + " names does not exist", "paths are relative to the folder of the list, without quotes; the first line of a table has a column `path`");
    if (!label.empty() && !is_plain_label(label) && !is_bids_name(label))
      throw Error(ErrorKind::kBadData, "the case in " + where + " cannot be a name of a folder", "write letters and digits, or a name as BIDS has them");
    add_listed(fs::path(path).lexically_normal(), label, where, options, found);
  }
}

}  // namespace

std::string scan_ending(const fs::path& file) {
  for (const char* ending : {".cfl", ".h5", ".hdf5", ".mrd", ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"})
    if (ends_with(file, ending)) return ending;
  return "";
}

BatchInput find_cases(const fs::path& input, const DiscoveryOptions& options) {
  std::error_code failure;
  BatchInput found;
  const fs::path whole = fs::canonical(input, failure);
  if (failure) throw Error(ErrorKind::kNoInput, quoted_path(input) + " cannot be opened: " + failure.message(), "give a folder of scans, or a list of them");
  if (is_folder(whole)) {
    found.root = whole;
    DicomFiles dicom{options, {}, {}};
    const bool unfinished = leave_unfinished(whole, whole.parent_path(), dicom, found);
    if (!unfinished && (fs::exists(whole / kMeasurement) || !add_bids(found))) add_folder(whole, dicom, found);
    add_series(dicom, found.root, "", found);
  } else {
    found.root = whole.parent_path();
    if (ends_with(whole, ".txt") || ends_with(whole, ".csv") || ends_with(whole, ".tsv")) {
      add_list(whole, options, found);
    } else {
      found.cases.push_back({whole.filename(), "", ""});
    }
  }
  std::string left_out;
  for (const auto& [reason, count] : found.skipped) left_out += (left_out.empty() ? "; left out: " : ", ") + std::to_string(count) + " x " + reason;
  if (found.cases.empty())
    throw Error(ErrorKind::kNoInput, quoted_path(input) + " holds no case" + left_out, "it must be a BIDS tree (sub-*), a folder with measurements, DICOM series or scans, or a list of paths");
  std::sort(found.cases.begin(), found.cases.end(), [](const auto& a, const auto& b) { return std::tie(a.path, a.series_uid) < std::tie(b.path, b.series_uid); });
  return found;
}

std::vector<fs::path> files_of_case(const fs::path& root, const fs::path& path) {
  const fs::path whole = root / path;
  std::vector<fs::path> files;
  if (is_folder(whole)) {
    std::set<fs::path> inside;                 // measurement.json may name files of inner folders, and hidden ones
    const std::string named = text_of(whole / kMeasurement);
    for (const auto& entry : fs::recursive_directory_iterator(whole))
      if (is_file(entry.path()) && (!hidden(entry) || named.find(entry.path().stem().string()) != std::string::npos)) inside.insert(entry.path().lexically_relative(whole));
    for (const fs::path& file : inside) files.push_back((path / file).lexically_normal());
    return files;
  }
  files.push_back(path);
  if (ends_with(path, ".cfl")) files.push_back(fs::path(path).replace_extension(".hdr"));
  if (!ends_with(path, ".nhdr") && !ends_with(path, ".mhd")) return files;
  std::istringstream header(text_of(whole));
  for (std::string line; std::getline(header, line);) {  // `ElementDataFile = NAME`, `data file: NAME`
    const auto begin = line.find_first_not_of(" \t", line.find_first_of(":=") + 1), end = line.find_last_not_of(" \t\r");
    if (begin == std::string::npos || begin > end) continue;
    const fs::path named = line.substr(begin, end - begin + 1);
    if (is_file(whole.parent_path() / named)) files.push_back((path.parent_path() / named).lexically_normal());
  }
  return files;
}

}  // namespace postrec
