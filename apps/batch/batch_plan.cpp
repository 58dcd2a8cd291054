#include "batch/batch_plan.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "cli/version.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"
#include "run/session.hpp"

namespace postrec {
namespace fs = std::filesystem;
using nlohmann::ordered_json;
namespace {

constexpr int kFormat = 1;
constexpr const char* kFormatKey = "postrec_batch_plan";
constexpr const char* kDigestKey = "plan_sha256";

std::string text_of(const ordered_json& json) { return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace); }
std::string sha256_of(const std::string& text) { return sha256_hex(text.data(), text.size()); }

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The words of a config file that may be files: the values.
std::vector<std::string> config_values(const std::string& path) {
  std::vector<std::string> values;
  std::istringstream lines(content_of(path));
  for (std::string line; std::getline(lines, line);) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    const auto begin = line.find_first_not_of(" \t", equals + 1), end = line.find_last_not_of(" \t\r");
    if (begin != std::string::npos && begin <= end) values.push_back(line.substr(begin, end - begin + 1));
  }
  return values;
}

/// `word` and what stands behind each of its '=', as far as they are files; a .cfl with its .hdr.
void add_files(const std::string& word, std::set<std::string>& files) {
  for (std::string rest = word;;) {
    std::error_code failure;
    if (!rest.empty() && fs::is_regular_file(rest, failure)) {
      files.insert(rest);
      if (const fs::path header = fs::path(rest).replace_extension(".hdr"); fs::path(rest).extension() == ".cfl" && fs::exists(header, failure)) files.insert(header.string());
    }
    const auto equals = rest.find('=');
    if (equals == std::string::npos) return;
    rest = rest.substr(equals + 1);
  }
}

ordered_json file_digests(const std::vector<std::string>& options) {
  std::set<std::string> files;
  for (std::size_t i = 0; i < options.size(); ++i) {
    add_files(options[i], files);
    const std::string kConfig = "--config=";
    const bool equals = options[i].rfind(kConfig, 0) == 0, next = options[i] == "--config" && i + 1 < options.size();
    if (!equals && !next) continue;
    for (const auto& value : config_values(equals ? options[i].substr(kConfig.size()) : options[i + 1])) add_files(value, files);
  }
  ordered_json digests = ordered_json::array();
  for (const auto& file : files) digests.push_back(FileDigest::of(file, file).json());
  return digests;
}

ordered_json prior_digests(const std::string& prior) {
  ordered_json digests = ordered_json::object();
  // Without --prior the unit of each scan decides; what is not installed is not used.
  for (const std::string& name : prior.empty() ? std::vector<std::string>{"brain-mr", "ct"} : std::vector<std::string>{prior}) {
    try {
      digests[name] = sha256_file(find_prior(name));
    } catch (const Error&) {
      if (!prior.empty()) throw;
    }
  }
  return digests;
}

ordered_json plugin_digests(const std::string& operator_name, const PluginSearch& search) {
  const PluginRegistry registry(search);
  warn_of_refused_plugins(registry);
  ordered_json digests = ordered_json::object();
  if (!operator_name.empty()) {
    const PluginInfo& plugin = registry.plugin_of(operator_name);
    digests[plugin.id] = plugin.sha256;
  } else {
    for (const PluginInfo& plugin : registry.plugins()) digests[plugin.id] = plugin.sha256;
  }
  return digests;
}

[[noreturn]] void throw_damaged(const std::string& how) {
  throw Error(ErrorKind::kConfiguration, "plan.jsonl " + how, "a plan is never changed: make a new one with postrec batch plan and another output folder");
}

ordered_json parsed(const std::string& line) {
  ordered_json json = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw_damaged("holds a line that is no JSON object");
  return json;
}

std::string without_prefix(const std::string& label) { return label.rfind("sub-", 0) == 0 ? label.substr(4) : label; }

}  // namespace

FileDigest FileDigest::of(const fs::path& file, const std::string& name) { return {name, static_cast<std::uint64_t>(fs::file_size(file)), sha256_file(file)}; }

FileDigest FileDigest::from_json(const ordered_json& json) {
  return {json.at("path").get<std::string>(), json.at("size").get<std::uint64_t>(), json.at("sha256").get<std::string>()};
}

std::string BatchConfig::sha256() const { return sha256_of(text_of(parts)); }

std::uint64_t BatchCase::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& file : files) sum += file.size;
  return sum;
}

BatchConfig make_batch_config(const std::vector<std::string>& options, std::uint64_t seed, const std::string& prior, const std::string& operator_name,
                              const PluginSearch& plugins) {
  BatchConfig config;
  config.options = options;
  config.seed = seed;
  config.parts = {{"program", program_version()}, {"libtorch", libtorch_version()}, {"options", options},           {"seed", seed},
                  {"files", file_digests(options)}, {"priors", prior_digests(prior)}, {"plugins", plugin_digests(operator_name, plugins)}};
  return config;
}

void require_same_config(const BatchConfig& planned, const BatchConfig& now) {
  for (const auto& [name, value] : planned.parts.items())
    if (!now.parts.contains(name) || now.parts[name] != value)
      throw Error(ErrorKind::kConfiguration, "the " + name + " of this batch are not those of its plan", "put back what was planned, or make a new plan with another output folder");
}

std::vector<BatchCase> name_cases(const BatchInput& found, const SiteKey& key, const CaseChoice& choice) {
  std::set<std::string> missing_participants, missing_ids(choice.ids.begin(), choice.ids.end()), names;
  for (const auto& label : choice.participants) missing_participants.insert(without_prefix(label));
  const std::set<std::string> participants = missing_participants, ids = missing_ids;
  std::vector<BatchCase> cases;
  for (const FoundCase& each : found.cases) {
    if (!participants.empty() && participants.count(each.participant) == 0) continue;
    missing_participants.erase(each.participant);
    const std::string source = each.series_uid.empty() ? each.path.generic_string() : "SeriesInstanceUID " + each.series_uid;
    const std::string id = each.label.empty() ? key.opaque_id(source) : each.label;
    if (!names.insert(id).second) throw Error(ErrorKind::kBadData, "two cases have the name '" + id + "'", "every case needs a name of its own");
    if (!ids.empty() && ids.count(id) == 0) continue;
    missing_ids.erase(id);
    BatchCase& named = cases.emplace_back(BatchCase{id, each.path.generic_string(), {}, !each.files.empty()});
    for (const auto& file : named.dicom_series ? each.files : files_of_case(found.root, each.path)) named.files.push_back({file.generic_string(), 0, ""});
  }
  if (!missing_participants.empty()) throw Error(ErrorKind::kNoInput, "there is no participant '" + *missing_participants.begin() + "' in the input", "see the folders sub-*");
  if (!missing_ids.empty()) throw Error(ErrorKind::kNoInput, "there is no case '" + *missing_ids.begin() + "' in the input", "postrec batch plan --dry-run lists them");
  std::sort(cases.begin(), cases.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return cases;
}

std::uint64_t seed_of_case(std::uint64_t seed, const std::string& id) {
  constexpr std::size_t kDigits = 16;
  return std::stoull(sha256_of("postrec batch\n" + std::to_string(seed) + "\n" + id).substr(0, kDigits), nullptr, 16);
}

std::string BatchPlan::text() const {
  const ordered_json head = {{kFormatKey, kFormat},       {"input", input.string()},        {"working_folder", working_folder.string()}, {"config", config.parts},
                             {"config_sha256", config.sha256()}, {"n_cases", cases.size()}, {"skipped", skipped}};
  std::string text = text_of(head) + "\n";
  for (const auto& each : cases) {
    ordered_json files = ordered_json::array();
    for (const auto& file : each.files) files.push_back(file.json());
    ordered_json line = {{"case", each.id}, {"path", each.path}, {"files", files}};
    if (each.dicom_series) line["dicom_series"] = true;
    text += text_of(line) + "\n";
  }
  return text + text_of({{kDigestKey, sha256_of(text)}}) + "\n";
}

BatchPlan BatchPlan::read(const fs::path& output) {
  const fs::path path = file_in(output);
  if (!fs::exists(path)) throw Error(ErrorKind::kNoInput, quoted_path(output) + " holds no plan.jsonl", "make one with postrec batch plan IN OUT");
  const std::string text = content_of(path);
  if (::access(path.c_str(), R_OK) != 0) throw Error(ErrorKind::kNoInput, "plan.jsonl of " + quoted_path(output) + " may not be read", "it says whose scans these are: ask who made it");
  const auto last = text.size() < 2 ? std::string::npos : text.rfind('\n', text.size() - 2);
  if (last == std::string::npos || text.back() != '\n') throw_damaged("is cut off");
  if (parsed(text.substr(last + 1)).value(kDigestKey, "") != sha256_of(text.substr(0, last + 1))) throw_damaged("was changed, or is cut off: its digest is not that of its last line");

  BatchPlan plan;
  std::istringstream lines(text.substr(0, last + 1));
  std::string line;
  std::getline(lines, line);
  const ordered_json head = parsed(line);
  if (head.value(kFormatKey, 0) != kFormat) throw_damaged("is of another format");
  plan.input = head.at("input").get<std::string>();
  plan.working_folder = head.at("working_folder").get<std::string>();
  plan.config.parts = head.at("config");
  plan.config.options = plan.config.parts.at("options").get<std::vector<std::string>>();
  plan.config.seed = plan.config.parts.at("seed").get<std::uint64_t>();
  plan.skipped = head.at("skipped");
  while (std::getline(lines, line)) {
    const ordered_json json = parsed(line);
    BatchCase& each = plan.cases.emplace_back(BatchCase{json.at("case").get<std::string>(), json.at("path").get<std::string>(), {}, json.value("dicom_series", false)});
    for (const auto& file : json.at("files")) each.files.push_back(FileDigest::from_json(file));
  }
  return plan;
}

void write_plan(const BatchPlan& plan, const fs::path& output) {
  const fs::path path = BatchPlan::file_in(output);
  const std::string text = plan.text();
  if (fs::exists(path)) {
    if (content_of(path) == text) return;
    throw Error(ErrorKind::kCannotCreate, quoted_path(path) + " is a plan with other cases or options", "a plan is never changed: give another output folder");
  }
  write_text_atomically(path, text);
  struct stat file = {};
  // It ties ids to names, so nobody may read it whom the umask keeps out.
  if (::stat(path.c_str(), &file) == 0) ::chmod(path.c_str(), file.st_mode & (S_IRUSR | S_IRGRP | S_IROTH));
}

}  // namespace postrec
