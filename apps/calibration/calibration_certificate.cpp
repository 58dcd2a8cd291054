#include "calibration/calibration_certificate.hpp"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "postrec/nearest_name.hpp"

namespace postrec {
namespace {

using nlohmann::ordered_json;
using Records = std::vector<CalibrationRecord>;

constexpr double kCoverageTolerance = 0.05, kDataTolerance = 0.05, kChi2Tolerance = 0.2, kSpreadTolerance = 0.1;

constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();

/// Records of one person are not independent: they have a number together, others each their own.
std::int64_t group_of(const Records& records, std::size_t i) { return records[i].subject >= 0 ? records[i].subject : -1 - static_cast<std::int64_t>(i); }

/// A number over all records but those of one group.
using Statistic = std::function<double(const Records&, std::int64_t left_out)>;

template <class Value>
Statistic mean_of(Value value) {
  return [value](const Records& records, std::int64_t left_out) {
    double sum = 0.0, n = 0.0;
    for (std::size_t i = 0; i < records.size(); ++i)
      if (group_of(records, i) != left_out) sum += value(records[i]), n += 1.0;
    return sum / n;
  };
}

ErrorAndSpread total(const Records& records, std::int64_t left_out, ErrorAndSpread CalibrationRecord::*part) {
  ErrorAndSpread sum;
  for (std::size_t i = 0; i < records.size(); ++i)
    if (group_of(records, i) != left_out) sum += records[i].*part;
  return sum;
}

Statistic chi2_of(ErrorAndSpread CalibrationRecord::*part) {
  return [part](const Records& records, std::int64_t left_out) { return total(records, left_out, part).chi2(); };
}

std::set<std::int64_t> groups_of(const Records& records) {
  std::set<std::int64_t> groups;
  for (std::size_t i = 0; i < records.size(); ++i) groups.insert(group_of(records, i));
  return groups;
}

/// By leaving out one group at a time (jackknife); NaN for less than two.
double standard_error(const Records& records, const Statistic& statistic) {
  const auto groups = groups_of(records);
  const std::size_t n = groups.size();
  if (n < 2) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> without;
  for (const auto group : groups) without.push_back(statistic(records, group));
  double mean = 0.0, square = 0.0;
  for (const double value : without) mean += value / static_cast<double>(n);
  for (const double value : without) square += (value - mean) * (value - mean);
  return std::sqrt(square * static_cast<double>(n - 1) / static_cast<double>(n));
}

struct Figure {
  std::string name;
  Statistic statistic;
  double expected = 1.0;
  double tolerance = 0.0;
  CalibrationVerdict below = CalibrationVerdict::kOverConfident;
  CalibrationVerdict above = CalibrationVerdict::kUnderConfident;
};

/// How many standard errors, themselves estimated from so many groups (two at least), a right figure passes with probability kFigureFalseAlarm.
double standard_errors(std::size_t n_groups) {
  return boost::math::quantile(boost::math::students_t(static_cast<double>(n_groups - 1)), 1.0 - kFigureFalseAlarm / 2.0);
}

CalibrationVerdict judge(double value, double error, std::size_t n_groups, const Figure& figure) {
  if (!std::isfinite(value) || !std::isfinite(error)) return CalibrationVerdict::kNotEnough;
  const double off = value - figure.expected, margin = standard_errors(n_groups) * error;
  if (error == 0.0 && std::abs(off) > figure.tolerance) return CalibrationVerdict::kNotEnough;  // a few shares that happen to agree
  if (std::abs(off) > std::max(figure.tolerance, margin)) return off < 0.0 ? figure.below : figure.above;
  return margin <= figure.tolerance ? CalibrationVerdict::kCalibrated : CalibrationVerdict::kNotEnough;
}

ordered_json number(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

std::string percent(double level) { return std::to_string(std::lround(100.0 * level)) + " %"; }

std::vector<Figure> figures_of(const Records& records) {
  constexpr auto kOver = CalibrationVerdict::kOverConfident, kUnder = CalibrationVerdict::kUnderConfident, kBiased = CalibrationVerdict::kBiased;
  std::vector<Figure> figures;
  for (const auto& [what, part] : {std::pair{"pixels", &CalibrationRecord::pixels}, {"regions", &CalibrationRecord::regions}})
    for (std::size_t i = 0; i < kCoverageLevels.size(); ++i)
      figures.push_back({std::string("coverage of ") + what + ", " + percent(kCoverageLevels[i]), mean_of([part = part, i](const CalibrationRecord& record) { return (record.*part)[i].covered; }),
                         (records.front().*part)[i].expected, kCoverageTolerance, kOver, kUnder});
  // Where nothing is measured there is nothing to compare.
  if (total(records, kNone, &CalibrationRecord::measured).expected > 0.0) {
    figures.push_back({"row-space chi-square of the data", mean_of([](const CalibrationRecord& record) { return record.data_chi2; }), 1.0, kDataTolerance, kOver, kBiased});
    figures.push_back({"row-space chi-square of the error", chi2_of(&CalibrationRecord::measured), 1.0, kChi2Tolerance, kUnder, kOver});
  }
  figures.push_back({"null-space chi-square of the error", chi2_of(&CalibrationRecord::unmeasured), 1.0, kChi2Tolerance, kUnder, kOver});
  figures.push_back({"spread over RMSE", [](const Records& all, std::int64_t left_out) { return total(all, left_out, &CalibrationRecord::image).spread_over_rmse(); }, 1.0, kSpreadTolerance, kOver, kUnder});
  return figures;
}

struct Counted {
  CalibrationVerdict verdict;
  std::string name;
};

ordered_json figures_json(const Records& records, std::vector<Counted>& counted) {
  ordered_json result = ordered_json::array();
  const std::size_t n_groups = groups_of(records).size();
  for (const Figure& figure : figures_of(records)) {
    const double value = figure.statistic(records, kNone), error = standard_error(records, figure.statistic);
    const CalibrationVerdict verdict = judge(value, error, n_groups, figure);
    counted.push_back({verdict, figure.name});
    result.push_back({{"name", figure.name},
                      {"value", number(value)},
                      {"standard_error", number(error)},
                      {"right", figure.expected},
                      {"tolerance", figure.tolerance},
                      {"verdict", verdict_name(verdict)}});
  }
  return result;
}

/// The ranks of one quantity over all records; empty where the operator has no such direction.
std::vector<std::int64_t> ranks_over(const Records& records, std::size_t quantity) {
  std::vector<std::int64_t> ranks;
  for (const auto& record : records) ranks.push_back(record.ranks.at(quantity));
  return std::find(ranks.begin(), ranks.end(), -1) == ranks.end() ? ranks : std::vector<std::int64_t>();
}

ordered_json ranks_json(const Records& records, std::vector<Counted>& counted) {
  const std::vector<std::string> names = ranked_quantities();
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> found;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (auto ranks = ranks_over(records, i); !ranks.empty()) found.emplace_back(names[i], std::move(ranks));
  const RankBand band = rank_band(static_cast<std::int64_t>(records.size()), records.front().n_samples, kFalseAlarm / static_cast<double>(found.size()));
  ordered_json quantities = ordered_json::array();
  for (const auto& [name, ranks] : found) {
    const RankJudgement judgement = judge_ranks(ranks, band);
    counted.push_back({judgement.verdict, "ranks of " + name});
    quantities.push_back({{"name", name},
                          {"inside", judgement.inside},
                          {"largest_deviation", judgement.excess},
                          {"shift", judgement.shift},
                          {"extremes", judgement.extremes},
                          {"verdict", verdict_name(judgement.verdict)},
                          {"ranks", ranks}});
  }
  return {{"samples", band.n_samples},
          {"replicates", band.n_replicates},
          {"false_alarm_each", band.false_alarm},
          {"false_alarm_together", kFalseAlarm},
          {"noticed_spread", kNoticedSpread},
          {"power", band.power},
          {"lower", band.lower},
          {"upper", band.upper},
          {"quantities", quantities}};
}

/// The worst that was found: what is wrong before what is not known.
CalibrationVerdict overall(const std::vector<Counted>& counted) {
  using enum CalibrationVerdict;
  for (const CalibrationVerdict verdict : {kOverConfident, kBiased, kUnderConfident, kNotEnough})
    if (std::any_of(counted.begin(), counted.end(), [&](const Counted& one) { return one.verdict == verdict; })) return verdict;
  return kCalibrated;
}

std::string explanation_of(CalibrationVerdict verdict, TruthKind truths) {
  const std::string subject = truths == TruthKind::kPrior ? "truths drawn from the prior (the sampler alone is on trial)" : "held-out scans (prior and sampler are on trial together)";
  switch (verdict) {
    case CalibrationVerdict::kCalibrated: return "Uncertainties agree with the errors on " + subject + ".";
    case CalibrationVerdict::kOverConfident: return "Errors are larger than the samples say on " + subject + ": do not trust the uncertainty.";
    case CalibrationVerdict::kUnderConfident: return "Errors are smaller than the samples say on " + subject + ": the uncertainty is too large.";
    case CalibrationVerdict::kBiased: return "The samples lie to one side of the truth, or miss the data, on " + subject + ".";
    case CalibrationVerdict::kNotEnough: break;
  }
  return "Nothing wrong was seen on " + subject + ", but there are too few to say more: raise their number.";
}

std::string cell(const ordered_json& value) {
  if (!value.is_number()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", value.get<double>());
  return text;
}

}  // namespace

ordered_json calibration_findings(const Records& records, TruthKind truths) {
  std::vector<Counted> counted, ranked;
  const ordered_json figures = figures_json(records, counted), ranks = ranks_json(records, ranked);
  if (truths == TruthKind::kPrior) {
    // The bands have shown what they can find; a figure that is still uncertain beside them takes nothing away.
    std::erase_if(counted, [](const Counted& figure) { return figure.verdict == CalibrationVerdict::kNotEnough; });
    counted.insert(counted.end(), ranked.begin(), ranked.end());
  }
  const CalibrationVerdict verdict = overall(counted);
  std::vector<std::string> because;
  for (const Counted& one : counted)
    if (one.verdict == verdict && verdict != CalibrationVerdict::kCalibrated) because.push_back(one.name);
  ordered_json list = ordered_json::array();
  for (const auto& record : records) list.push_back(record.json());
  return {{"verdict", verdict_name(verdict)}, {"ranks_are_judged", truths == TruthKind::kPrior}, {"because", because}, {"explanation", explanation_of(verdict, truths)}, {"figures", figures}, {"ranks", ranks}, {"records", list}};
}

std::string calibration_table(const ordered_json& findings) {
  char line[160];
  std::string table;
  std::snprintf(line, sizeof line, "%-36s %8s %8s %8s  %s\n", "", "value", "+-", "right", "verdict");
  table += line;
  for (const auto& figure : findings["figures"]) {
    std::snprintf(line, sizeof line, "%-36s %8s %8s %8s  %s\n", figure["name"].get<std::string>().c_str(), cell(figure["value"]).c_str(), cell(figure["standard_error"]).c_str(),
                  cell(figure["right"]).c_str(), figure["verdict"].get<std::string>().c_str());
    table += line;
  }
  const auto& ranks = findings["ranks"];
  std::size_t inside = 0;
  for (const auto& quantity : ranks["quantities"]) inside += quantity["inside"].get<bool>() ? 1 : 0;
  table += "ranks: " + std::to_string(inside) + " of " + std::to_string(ranks["quantities"].size()) + " quantities inside their bands";
  table += findings["ranks_are_judged"].get<bool>() ? "\n" : ", which are for independent truths and judge nothing of scans\n";
  for (const auto& quantity : ranks["quantities"])
    if (findings["ranks_are_judged"].get<bool>() && !quantity["inside"].get<bool>()) table += "  outside: " + quantity["name"].get<std::string>() + ", " + quantity["verdict"].get<std::string>() + "\n";
  return table + "VERDICT: " + findings["verdict"].get<std::string>() + ". " + findings["explanation"].get<std::string>() + "\n";
}

}  // namespace postrec
