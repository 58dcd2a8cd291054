#include "result/comparison.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "cli/console.hpp"
#include "cli/progress.hpp"
#include "postrec/data/scan.hpp"
#include "result/levels_that_fit.hpp"
#include "result/matching_slices.hpp"
#include "result/quality.hpp"
#include "result/reconstruct_case.hpp"

namespace postrec {
namespace {

using nlohmann::ordered_json;

double mean_of(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size()); }

/// A case for each of its slices, with the truth of that slice.
std::vector<Case> single_slices(const Case& all, const std::filesystem::path& truth_file) {
  at::Tensor truth = all.truth;
  if (!truth.defined()) {
    std::vector<std::int64_t> numbers;
    for (const CaseSlice& slice : all.slices) numbers.push_back(slice.number);
    truth = matching_slices(read_scan(truth_file).image.pixels, numbers, "--truth '" + truth_file.string() + "'");
  }
  std::vector<Case> cases;
  for (std::size_t i = 0; i < all.slices.size(); ++i) {
    Case& one = cases.emplace_back(all);
    one.slices = {all.slices[i]};
    one.truth = truth.narrow(0, static_cast<std::int64_t>(i), 1);
  }
  return cases;
}

/// Of a run of which nothing is kept.
class SilentProgress : public Progress {
 public:
  SilentProgress() : Progress(1) {}
  void on_message(const std::string& /*text*/) override {}
};

SliceResult run_once(const Case& input, Session& session, Progress&& progress) {
  CaseResult result = reconstruct_case(input, session, progress);
  if (result.interrupted) throw Error(ErrorKind::kInterrupted, "interrupted", "");
  return std::move(result.slices.front());
}

SessionOptions with_levels(SessionOptions options, int levels) {
  options.sampler.n_steps = levels;
  options.sampler.nfe = 0;
  return options;
}

double seconds_taken(const Case& input, const SessionOptions& options, int levels) {
  Session session(with_levels(options, levels));
  return run_once(input, session, SilentProgress()).report.seconds;
}

ordered_json figures_of(const SliceResult& result, const at::Tensor& truth, IntensityUnit unit, double level) {
  const std::int64_t n = result.samples.size(0);
  const ordered_json quality = judge({.mean = result.mean.unsqueeze(0), .one_sample = result.samples.narrow(0, 0, 1), .lower = result.lower.unsqueeze(0),
                                      .upper = result.upper.unsqueeze(0), .level = level, .n_samples = n, .standard_deviation = result.standard_deviation.unsqueeze(0)},
                                     truth, unit);
  const SamplerReport& report = result.report;
  return {{"psnr_mean_db", quality["mean"]["psnr_db"]},
          {"psnr_sample_db", quality["one_sample"]["psnr_db"]},
          {"ssim_mean", quality["mean"]["ssim"]},
          {"ssim_sample", quality["one_sample"]["ssim"]},
          {"coverage", quality["interval_coverage"]["object"]},
          {"coverage_expected", quality["interval_coverage"]["expected"]},
          {"spread", quality["spread_over_error"]["object"]},
          {"reduced_chi2", mean_of(result.reduced_chi2)},
          {"nfe", report.nfe},
          {"levels", report.sigmas.size()},
          {"seconds", report.seconds},
          {"network_share", report.seconds > 0 ? report.network_seconds / report.seconds : 0.0}};
}

/// The mean of every figure over slices; null where no slice has it.
ordered_json averages(const ordered_json& slices) {
  ordered_json means = ordered_json::object();
  for (const auto& [name, first] : slices.front()["figures"].items()) {
    std::vector<double> values;
    for (const auto& slice : slices)
      if (slice["figures"][name].is_number()) values.push_back(slice["figures"][name].get<double>());
    means[name] = values.empty() ? ordered_json(nullptr) : ordered_json(mean_of(values));
  }
  return means;
}

/// A method at work: its session, and what came out.
struct Row {
  ComparedMethod method;
  SessionOptions options;
  std::unique_ptr<Session> session = {};
  ordered_json slices = ordered_json::array();
  std::string failure = {};
  ErrorKind failure_kind = ErrorKind::kInternal;
};

/// Calls body(); a method that fails drops out, but an interruption ends the whole comparison.
template <class Body>
void attempt(Row& row, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInterrupted) throw;
    row.failure = error.what();
    row.failure_kind = error.kind();
    console().warning(row.method.text + ": " + row.failure);
  }
}

void prepare(Row& row, const Case& first, double seconds) {
  attempt(row, [&] {
    Session warm_up(with_levels(row.options, kWarmUpLevels));
    run_once(first, warm_up, SilentProgress());
    if (seconds > 0) row.options = with_levels(row.options, levels_that_fit(seconds, [&](int levels) { return seconds_taken(first, row.options, levels); }));
    row.session = std::make_unique<Session>(row.options);
  });
}

/// All methods on one slice.
void run_slice(std::vector<Row>& rows, const Case& input, const std::string& image) {
  std::vector<ordered_json> finished(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].failure.empty())
      attempt(rows[i], [&] {
        const SliceResult result = run_once(input, *rows[i].session, Progress(1));
        finished[i] = {{"image", image}, {"slice", result.number},
                       {"figures", figures_of(result, input.truth, input.measurement.unit, rows[i].options.interval_level)}};
      });
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (!finished[i].is_null()) rows[i].slices.push_back(finished[i]);
}

std::vector<Row> rows_of(const ComparisonRequest& request) {
  std::vector<Row> rows;
  for (const ComparedMethod& method : request.methods) {
    SessionOptions options = request.session;
    options.sampler = method.sampler;
    rows.push_back({method, options});
  }
  return rows;
}

void require_survivor(const std::vector<Row>& rows) {
  if (std::all_of(rows.begin(), rows.end(), [](const Row& row) { return !row.failure.empty(); }))
    throw Error(rows.back().failure_kind, "no method can do this: " + rows.back().failure, "");
}

ordered_json as_json(const std::vector<Row>& rows) {
  ordered_json methods = ordered_json::array();
  for (const Row& row : rows) {
    const SamplerOptions& sampler = row.options.sampler;
    ordered_json entry = {{"method", row.method.text}, {"sampler", sampler.method}, {"solver", sampler.solver}, {"settings", sampler.settings}, {"samples", sampler.n_samples}};
    if (!row.failure.empty()) {
      entry["failure"] = row.failure;
    } else {
      entry["mean"] = averages(row.slices);
      entry["slices"] = row.slices;
    }
    methods.push_back(entry);
  }
  return methods;
}

}  // namespace

ordered_json compare_methods(const ComparisonRequest& request, const std::function<void(const ordered_json&)>& keep) {
  std::vector<Row> rows = rows_of(request);
  Session reader(request.session);
  ordered_json notes = ordered_json::array();
  // Of the slices that are finished; null before there is one.
  const auto comparison = [&](bool interrupted) -> ordered_json {
    const auto done = std::find_if(rows.begin(), rows.end(), [](const Row& row) { return row.failure.empty() && !row.slices.empty(); });
    if (done == rows.end()) return nullptr;
    return {{"simulated", request.truth.empty()},
            {"slices", done->slices.size()},
            {"interval_level", request.session.interval_level},
            {"seconds_wanted", request.seconds > 0 ? ordered_json(request.seconds) : ordered_json(nullptr)},
            {"device", reader.device().str()},
            {"precision", precision_name(network_precision(request.session.precision, reader.device()))},
            {"threads", at::get_num_threads()},
            {"interrupted", interrupted},
            {"methods", as_json(rows)},
            {"notes", notes}};
  };
  bool prepared = false, interrupted = false;
  try {
    for (const CaseOptions& options : request.cases)
      for (const Case& input : single_slices(read_case(options, reader.registry()), request.truth)) {
        if (!prepared) {
          for (const auto& note : input.notes) notes.push_back(note);
          for (Row& row : rows) prepare(row, input, request.seconds);
          prepared = true;
        }
        require_survivor(rows);
        run_slice(rows, input, options.input.string());
        if (const ordered_json so_far = comparison(/*interrupted=*/true); keep && !so_far.is_null()) keep(so_far);
      }
    require_survivor(rows);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInterrupted) throw;
    interrupted = true;
  }
  ordered_json result = comparison(interrupted);
  if (result.is_null()) throw Error(ErrorKind::kInterrupted, "interrupted before the first slice was finished by all methods", "nothing is written");
  return result;
}

}  // namespace postrec
