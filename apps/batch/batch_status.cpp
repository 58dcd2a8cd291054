#include "batch/batch_status.hpp"

#include <array>
#include <cmath>
#include <fstream>

#include "batch/batch_attempt.hpp"
#include "result/result_folder.hpp"

namespace postrec {
namespace fs = std::filesystem;
using nlohmann::ordered_json;
namespace {

constexpr std::array kStates = {CaseState::kDone, CaseState::kFailed, CaseState::kRunning, CaseState::kStopped, CaseState::kNotStarted};
constexpr std::size_t kReasonsShown = 20;

using Counts = std::array<std::int64_t, kStates.size()>;

std::vector<Counts> counts_of_shards(const std::vector<CaseStatus>& cases, std::int64_t n_shards) {
  std::vector<Counts> counts(static_cast<std::size_t>(n_shards), Counts{});
  for (std::size_t i = 0; i < cases.size(); ++i) ++counts[i % static_cast<std::size_t>(n_shards)][static_cast<std::size_t>(cases[i].state)];
  return counts;
}

/// "3 cases not started, 1 failed"; "done" when all are; empty counts are left out.
std::string counts_text(const Counts& counts) {
  std::int64_t all = 0;
  for (const auto count : counts) all += count;
  if (counts[0] == all) return "done (" + std::to_string(all) + " cases)";
  std::string text;
  for (std::size_t i = 0; i < kStates.size(); ++i)
    if (counts[i] > 0) text += (text.empty() ? "" : ", ") + std::to_string(counts[i]) + (text.empty() ? " cases " : " ") + state_name(kStates[i]);
  return text;
}

ordered_json counts_json(const Counts& counts) {
  ordered_json json;
  for (std::size_t i = 0; i < kStates.size(); ++i) json[state_name(kStates[i])] = counts[i];
  return json;
}

CaseStatus status_of(const BatchPlan& plan, const BatchCase& each, const BatchFolders& folders, CheckDepth depth) {
  CaseStatus status;
  status.id = each.id;
  const ResultCheck result = check_result(folders.result(each.id), case_identity(plan.config, each), depth);
  if (result.state == ResultState::kDone) {
    status.state = CaseState::kDone;
    return status;
  }
  status.reason = result.reason;
  const AttemptStates attempts = attempts_at(folders.work(each.id));
  if (attempts.running) {
    status.state = CaseState::kRunning;
  } else if (const auto failure = read_failure(folders, each.id)) {
    status = {each.id, CaseState::kFailed, failure->code, failure->reason};
  } else if (attempts.stopped) {
    status.state = CaseState::kStopped;
  }
  return status;
}

double mean_of(const ordered_json& numbers) {
  double sum = 0;
  for (const auto& number : numbers) sum += number.is_number() ? number.get<double>() : 0.0;
  return numbers.empty() ? 0.0 : sum / static_cast<double>(numbers.size());
}

/// What is worth a column of a result.
ordered_json facts_of(const fs::path& result) {
  std::ifstream file(result / "run.json");
  const ordered_json run = ordered_json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!run.is_object()) return ordered_json::object();
  ordered_json facts, chi2 = ordered_json::array();
  for (const auto& slice : run["slices"]) chi2.push_back(mean_of(slice["reduced_chi2"]));
  facts["origin"] = run["origin"];
  facts["slices"] = run["slices"].size();
  facts["samples"] = run["samples_kept"];
  facts["sigma_y"] = run["sigma_y"]["value"];
  facts["reduced_chi2"] = mean_of(chi2);
  facts["prior_fits"] = run["prior_fit"]["fits"];
  facts["uncertainty_withheld"] = uncertainty_withheld(run);
  facts["seconds"] = run["seconds"];
  if (run.contains("quality")) facts["quality"] = run["quality"];
  return facts;
}

std::string cell(const ordered_json& row, const char* column) {
  if (!row.contains(column)) return "n/a";
  std::string text = row[column].is_string() ? row[column].get<std::string>() : row[column].dump();
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return text.empty() ? "n/a" : text;
}

}  // namespace

const char* state_name(CaseState state) {
  constexpr std::array kNames = {"done", "failed", "running", "stopped", "not started"};
  return kNames[static_cast<std::size_t>(state)];
}

std::vector<CaseStatus> batch_status(const BatchPlan& plan, const BatchFolders& folders, CheckDepth depth) {
  std::vector<CaseStatus> cases;
  for (const auto& each : plan.cases) cases.push_back(status_of(plan, each, folders, depth));
  return cases;
}

std::string status_text(const std::vector<CaseStatus>& cases, std::int64_t n_shards) {
  std::string text;
  const auto counts = counts_of_shards(cases, n_shards);
  for (std::size_t i = 0; i < counts.size() && n_shards > 1; ++i)
    text += "shard " + std::to_string(i + 1) + " of " + std::to_string(n_shards) + ": " + counts_text(counts[i]) + "\n";
  text += (n_shards > 1 ? "all shards: " : "") + counts_text(counts_of_shards(cases, 1).front()) + "\n";
  std::size_t shown = 0, more = 0;
  for (const auto& each : cases) {
    if (each.reason.empty()) continue;
    if (++shown > kReasonsShown) ++more;
    else text += "  " + each.id + " " + state_name(each.state) + ": " + each.reason + "\n";
  }
  return more == 0 ? text : text + "  and " + std::to_string(more) + " more; --log-format json lists all\n";
}

ordered_json status_json(const std::vector<CaseStatus>& cases, std::int64_t n_shards) {
  ordered_json shards = ordered_json::array(), list = ordered_json::array();
  const auto counts = counts_of_shards(cases, n_shards);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    ordered_json shard = {{"shard", i + 1}};
    shard.update(counts_json(counts[i]));
    shards.push_back(shard);
  }
  for (const auto& each : cases) {
    ordered_json row = {{"case", each.id}, {"state", state_name(each.state)}};
    if (each.state == CaseState::kFailed) row["exit_code"] = each.code;
    if (!each.reason.empty()) row["reason"] = each.reason;
    list.push_back(row);
  }
  return {{"all", counts_json(counts_of_shards(cases, 1).front())}, {"shards", shards}, {"cases", list}};
}

ordered_json batch_summary(const std::vector<CaseStatus>& cases, const BatchFolders& folders) {
  ordered_json summary = status_json(cases, 1);
  summary.erase("shards");
  for (std::size_t i = 0; i < cases.size(); ++i)
    if (cases[i].state == CaseState::kDone) summary["cases"][i].update(facts_of(folders.result(cases[i].id)));
  return summary;
}

BatchIndex batch_index(const ordered_json& summary, const BatchFolders& folders) {
  BatchIndex index;
  index.title = "Batch of " + std::to_string(summary["cases"].size()) + " cases";
  index.figure_titles = {"reduced chi-square", "PSNR (dB)", "time (s)"};
  for (const auto& row : summary["cases"]) {
    const std::string id = row["case"];
    BatchIndexRow& shown = index.rows.emplace_back();
    shown.case_id = id;
    shown.state = row["state"];
    shown.reason = row.value("uncertainty_withheld", false) ? "uncertainty withheld: see the report" : row.value("reason", "");
    const bool done = shown.state == state_name(CaseState::kDone);
    const auto link = [&](const char* title, const fs::path& file) {
      if (fs::exists(file)) shown.links.emplace_back(title, file.lexically_relative(folders.output));
    };
    if (done) link("report", folders.result(id) / "report.html");
    else link("failure", folders.failure_page(id));
    if (done && fs::exists(folders.result(id) / "mean.png")) shown.thumbnail = fs::path(id) / "mean.png";
    // Null where there is none: the PSNR of slices that are one value everywhere.
    const auto number = [](const ordered_json& in, const char* key) { return in.contains(key) && in[key].is_number() ? in[key].get<double>() : std::nan(""); };
    shown.figures = {number(row, "reduced_chi2"), row.contains("quality") ? number(row["quality"]["mean"], "psnr_db") : std::nan(""), number(row, "seconds")};
  }
  return index;
}

std::string summary_table(const ordered_json& summary) {
  constexpr std::array kColumns = {"case", "state", "exit_code", "reason", "origin", "slices", "samples", "sigma_y", "reduced_chi2", "prior_fits", "uncertainty_withheld", "seconds"};
  std::string text;
  for (const char* column : kColumns) text += std::string(column == kColumns.front() ? "" : "\t") + column;
  text += "\n";
  for (const auto& row : summary["cases"]) {
    for (const char* column : kColumns) text += (column == kColumns.front() ? "" : "\t") + cell(row, column);
    text += "\n";
  }
  return text;
}

}  // namespace postrec
