#include "commands/batch_case.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <fstream>

#include "batch/batch_discovery.hpp"
#include "batch/batch_store.hpp"
#include "cli/console.hpp"
#include "commands/commands.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/pacs_listen.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace fs = std::filesystem;
using nlohmann::ordered_json;
namespace {

ordered_json read_job(const fs::path& path) {
  std::ifstream file(path);
  ordered_json job = file ? ordered_json::parse(file, nullptr, /*allow_exceptions=*/false) : ordered_json();
  if (!job.is_object()) throw Error(ErrorKind::kUsage, "postrec batch case is for postrec batch run alone", "use postrec batch run");
  return job;
}

void require_planned_inputs(const fs::path& root, const ordered_json& files) {
  for (std::size_t i = 0; i < files.size(); ++i) {
    const FileDigest planned = FileDigest::from_json(files[i]);
    std::error_code failure;
    bool same = fs::file_size(root / planned.path, failure) == planned.size && !failure;
    try {
      same = same && FileDigest::of(root / planned.path, "").sha256 == planned.sha256;
    } catch (const Error&) {  // its message holds the name
      throw Error(ErrorKind::kNoInput, "input file " + std::to_string(i + 1) + " of " + std::to_string(files.size()) + " cannot be read", "check who may read it");
    }
    if (!same)  // by number: names may be patients'
      throw Error(ErrorKind::kBadData, "input file " + std::to_string(i + 1) + " of " + std::to_string(files.size()) + " is not the one that was planned", "put it back, or make a new plan");
  }
}

/// The end of a name that a reader goes by, in small letters. Whatever else follows a dot may be a patient's: "Meier.Anna".
std::string ending_of(const fs::path& path) {
  if (const std::string scan = scan_ending(path); !scan.empty()) return scan;
  std::string last = path.extension().string();
  std::transform(last.begin(), last.end(), last.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* ending : {".dcm", ".png", ".jpg", ".jpeg", ".txt", ".csv"})
    if (last == ending) return last;
  return "";
}

/// A link to the input under a name of ours: what is said and written of a case then never holds a name of the hospital's.
fs::path neutral_input(const fs::path& input, const fs::path& folder) {
  const std::string ending = fs::is_directory(input) ? "" : ending_of(input);
  if (ending == ".nhdr" || ending == ".mhd") return input;  // names its data by their place
  const auto link = [&](const fs::path& target, const std::string& name) {
    fs::remove(folder / name);
    fs::create_symlink(target, folder / name);
  };
  link(input, "input" + ending);
  if (ending == ".cfl") link(fs::path(input).replace_extension(".hdr"), "input.hdr");
  return folder / ("input" + ending);
}

/// A folder of links to the files of one DICOM series, by number: nothing else that lies beside them is read. A marker that it is complete is no file of DICOM.
fs::path neutral_series(const fs::path& root, const ordered_json& files, const fs::path& folder) {
  const fs::path series = folder / "input";
  fs::remove_all(series);
  fs::create_directory(series);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const fs::path file = files[i]["path"].get<std::string>();
    char name[32];
    std::snprintf(name, sizeof name, "%06zu.dcm", i + 1);
    if (file.filename() != kCompleteMarker) fs::create_symlink((root / file).lexically_normal(), series / name);
  }
  return series;
}

/// What the worker gives to reconstruct for its case. Throws Error: kInputOutput (disk full), kCannotCreate; without the names of the hospital's that a link failed with.
fs::path neutral_input_of(const ordered_json& job) {
  const fs::path root = job["input"].get<std::string>(), folder = job["folder"].get<std::string>();
  try {
    return job["dicom_series"] ? neutral_series(root, job["files"], folder) : neutral_input((root / job["path"].get<std::string>()).lexically_normal(), folder);
  } catch (const fs::filesystem_error& error) {
    throw Error(write_error_kind(error.code().value()), "the links to the input of the case cannot be made: " + error.code().message(), "the output folder needs room, and symbolic links");
  }
}

/// What a reader says of the files inside a measurement folder, with their numbers for their names.
std::string without_names(std::string text, const ordered_json& files) {
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string name = fs::path(files[i]["path"].get<std::string>()).filename().string(), number = "input file " + std::to_string(i + 1);
    if (name == "measurement.json") continue;
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + number.size())) text.replace(at, name.size(), number);
  }
  return text;
}

}  // namespace

ordered_json worker_job(const BatchPlan& plan, const BatchCase& each, const fs::path& output, const Attempt& attempt, int threads, bool replace) {
  ordered_json files = ordered_json::array();
  for (const auto& file : each.files) files.push_back(file.json());
  return {{"identity", case_identity(plan.config, each)}, {"input", plan.input.string()},   {"path", each.path},       {"files", files},     {"options", plan.config.options},
          {"working_folder", plan.working_folder.string()}, {"folder", attempt.folder().string()}, {"made", attempt.result().string()},
          {"final", BatchFolders{output}.result(each.id).string()}, {"threads", threads}, {"resume", attempt.resumes()}, {"replace", replace},
          {"dicom_series", each.dicom_series}};
}

int run_worker(const fs::path& job_file) {
  const ordered_json job = read_job(job_file);
  const fs::path root = job["input"].get<std::string>(), made = job["made"].get<std::string>();
  const ordered_json& identity = job["identity"];
  require_planned_inputs(root, job["files"]);

  const fs::path input = neutral_input_of(job);
  std::vector<std::string> words = {input.string(), "--output", made.string(), "--seed", identity["seed"].dump(), "--threads", job["threads"].dump(), "--quiet"};
  words.insert(words.end(), {"--log-format", "json"});
  if (job["resume"]) words.emplace_back("--resume");
  const auto options = job["options"].get<std::vector<std::string>>();
  words.insert(words.end(), options.begin(), options.end());
  // run.json lies in a result that may be handed on: it says how, the plan says what.
  std::vector<std::string> command = {"postrec", "reconstruct", "input" + (fs::is_directory(input) ? "" : ending_of(input)), "--output", identity["case"], "--seed", identity["seed"].dump()};
  command.insert(command.end(), options.begin(), options.end());
  set_typed_command(command);

  try {
    if (const int code = run_reconstruct(words); code != 0) return code;
  } catch (const Error& error) {
    throw Error(error.kind(), without_names(error.message(), job["files"]), without_names(error.hint(), job["files"]));
  }
  sync_tree(made);
  const ordered_json done = done_json(made, identity);
  write_text_atomically(made / "done.json", done.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  if (!publish_result(made, job["final"].get<std::string>(), identity, job["replace"]))
    console().warning("another process finished the case first, with other images; its result stays. With --deadline, and on machines of several kinds, that is as it must be; otherwise please report it");
  return 0;
}

}  // namespace postrec
