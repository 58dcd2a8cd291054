#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "calibration/calibration_certificate.hpp"
#include "calibration/calibration_journal.hpp"
#include "calibration/calibration_page.hpp"
#include "calibration/calibration_problems.hpp"
#include "case/image_size.hpp"
#include "cli/console.hpp"
#include "cli/interrupt.hpp"
#include "cli/progress.hpp"
#include "commands/commands.hpp"
#include "options/noise_options.hpp"
#include "options/options.hpp"
#include "options/sampler_options.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/prior_file.hpp"
#include "postrec/sha256.hpp"
#include "result/result_folder.hpp"
#include "training/training_scans.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::int64_t kRankSamples = 63;      // against the prior, unless --samples says otherwise: 64 places
constexpr std::int64_t kFewestPoints = 10;     // of the score's discrepancy

struct CalibrateRequest {
  TruthKind truths = TruthKind::kPrior;
  std::vector<fs::path> scans;
  std::int64_t n_slices = 0;
  CaseOptions measurement;
  PriorProblemOptions against_prior;
  RegionOptions regions;
  double score_sigma = 0.0;
  fs::path journal;
  SessionOptions session;
};

CommandOptions declared_options() {
  CommandOptions options("calibrate", "[IMAGE...]", 0, 100000,
                         "Is the uncertainty of a sampler right? Without IMAGEs: truths are drawn from the prior, and the sampler alone is on trial. With IMAGEs (files "
                         "or folders of files, not trained on): measurements of them are simulated, and prior and sampler are on trial together.",
                         "postrec calibrate --prior brain-mr --size 64x64 --noise 0.02 --output certificate\n"
                         "    --operator mri-fourier --set mask-pattern=equispaced --set acceleration=4");
  add_output_options(options);
  add_measurement_options(options);
  add_sampler_options(options);
  options.add()("prior", po::value<std::string>()->value_name("PRIOR"), "file, or one that ships (required)")                                                        //
      ("against", po::value<std::string>()->value_name("WHAT"), "prior or scans; by whether there are IMAGEs")                                                       //
      ("slices", po::value<std::int64_t>()->default_value(0)->value_name("N"), "at most N slices of each scan, evenly spread; 0: all")                              //
      ("regions", po::value<std::string>()->default_value("blocks")->value_name("HOW"), "blocks, discs, or an image of labels")                                     //
      ("region-rows", po::value<std::int64_t>()->default_value(4)->value_name("N"), "N x N blocks or discs")                                                        //
      ("journal", po::value<std::string>()->value_name("FILE"), "keep what is finished there, and go on from it");
  options.add_topic("prior-truths", "truths of the prior",
                    "Operators are also `zero` (nothing is seen: the sampler must give back the prior) and `identity`.\n--noise is in model units.\n")              //
      ("size", po::value<std::string>()->default_value("64x64")->value_name("HxW"), "rows and columns of the images")                                               //
      ("pixel-mm", po::value<double>()->default_value(0.0, "0")->value_name("X"), "pixel size; 0: the prior's own")                                                 //
      ("replicates", po::value<std::int64_t>()->default_value(200)->value_name("N"), "truths")                                                                      //
      ("truth-steps", po::value<int>()->default_value(100)->value_name("N"), "noise levels of their drawing")                                                       //
      ("told-noise", po::value<double>()->value_name("X"), "what the sampler is told, to see that it is found out")                                                 //
      ("score-sigma", po::value<double>()->default_value(0.05, "0.05")->value_name("X"), "noise level at which truths are compared with the prior's score");
  add_device_option(options.add());
  add_code_option(options);
  add_run_options(options);
  add_plugin_options(options);
  add_common_options(options);
  return options;
}

double positive(const CommandOptions& options, const std::string& name) {
  const double value = options.get<double>(name);
  if (!(value > 0.0 && std::isfinite(value))) throw Error(ErrorKind::kUsage, "--" + name + " is " + std::to_string(value), "it must be a positive number");
  return value;
}

template <class Number>
Number at_least(const CommandOptions& options, const std::string& name, Number smallest) {
  const auto value = options.get<Number>(name);
  if (value < smallest) throw Error(ErrorKind::kUsage, "--" + name + " is " + std::to_string(value), "it must be at least " + std::to_string(smallest));
  return value;
}

TruthKind truth_kind(const CommandOptions& options) {
  const bool images = !options.operands().empty();
  if (!options.has("against")) return images ? TruthKind::kScans : TruthKind::kPrior;
  const bool scans = options.choice("against", {"prior", "scans"}) == "scans";
  if (scans && !images) throw Error(ErrorKind::kUsage, "--against scans is given without an IMAGE", "give scans that the prior was not trained on");
  if (!scans && images) throw Error(ErrorKind::kUsage, "--against prior is given with '" + options.operands().front() + "'", "truths of the prior need no IMAGE");
  return scans ? TruthKind::kScans : TruthKind::kPrior;
}

/// What is measured of the prior's own images.
CaseOptions measurement_of_prior(const CommandOptions& options) {
  for (const char* name : {"slice", "sigma-y"})
    if (options.has(name)) throw Error(ErrorKind::kUsage, std::string("--") + name + " is given without an IMAGE", "truths of the prior have neither slices nor a unit; give --noise");
  if (!options.has("operator")) throw Error(ErrorKind::kUsage, "--operator is missing", "give one of postrec plugins list, or zero or identity");
  if (!options.has("noise")) throw Error(ErrorKind::kUsage, "--noise is missing", "give the noise of the measurement in model units, e.g. 0.02");
  CaseOptions result;
  result.operator_name = options.get<std::string>("operator");
  result.settings = settings_of(options, "set");
  result.noise = positive(options, "noise");
  result.simulate_coils = options.get<std::int64_t>("simulate-coils");
  result.seed = options.get<std::uint64_t>("seed");
  return result;
}

PriorProblemOptions prior_options(const CommandOptions& options, const CaseOptions& measurement) {
  PriorProblemOptions result;
  result.measurement = measurement;
  result.noise = *measurement.noise;
  if (options.has("told-noise")) result.told_noise = positive(options, "told-noise");
  std::tie(result.height, result.width) = image_size(options.get<std::string>("size"), /*smallest=*/2);
  if (options.get<double>("pixel-mm") != 0.0) result.pixel_mm = positive(options, "pixel-mm");
  result.truth_steps = at_least<int>(options, "truth-steps", 1);
  result.n_replicates = at_least<std::int64_t>(options, "replicates", 1);
  return result;
}

/// Weights, coils that share their noise and counts are not simulated here.
void require_white_noise(const CommandOptions& options) {
  if (!NoiseModel(noise_options(options), /*n_slices=*/1).is_white())
    throw Error(ErrorKind::kUsage, "--noise-model " + options.get<std::string>("noise-model") + (options.has("noise-covariance") ? " --noise-covariance" : "") + " is given to calibrate",
                "it simulates white Gaussian noise alone; leave it out");
}

CalibrateRequest request_of(const CommandOptions& options) {
  require_white_noise(options);
  CalibrateRequest request;
  request.truths = truth_kind(options);
  if (!options.has("prior")) throw Error(ErrorKind::kUsage, "--prior is missing", "give a .safetensors file or the name of one that ships");
  const bool scans = request.truths == TruthKind::kScans;
  request.measurement = scans ? case_options(options, /*simulate=*/true) : measurement_of_prior(options);
  request.n_slices = at_least<std::int64_t>(options, "slices", 0);
  request.regions = {options.get<std::string>("regions"), at_least<std::int64_t>(options, "region-rows", 1)};
  request.score_sigma = positive(options, "score-sigma");
  if (options.has("journal")) request.journal = options.get<std::string>("journal");
  if (scans) {
    options.refuse_given({"size", "pixel-mm", "replicates", "truth-steps", "told-noise", "score-sigma"}, "with an IMAGE");
    request.scans = training_paths(options.operands());
  } else {
    request.against_prior = prior_options(options, request.measurement);
  }
  SessionOptions& session = request.session;
  session.plugins = plugin_search(options);
  session.prior = options.get<std::string>("prior");
  session.code = code_policy(options);
  session.device = wanted_device(options);
  session.precision = wanted_precision(options);
  session.sampler = sampler_options(options);
  if (!scans && !options.has("samples")) session.sampler.n_samples = kRankSamples;
  if (session.sampler.n_samples < 2) throw Error(ErrorKind::kUsage, "--samples is " + std::to_string(session.sampler.n_samples), "a spread needs at least 2");
  session.sampler.seed = request.measurement.seed;
  session.sampler.validate();
  return request;
}

/// Of a file, or of the files of a folder in the order of their names.
std::string digest_of(const fs::path& scan) {
  if (!fs::is_directory(scan)) return sha256_file(scan);
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(scan))
    if (entry.is_regular_file()) files.insert(entry.path());
  std::string all;
  for (const auto& file : files) all += sha256_file(file);
  return sha256_hex(all.data(), all.size());
}

/// All that a record depends on.
ordered_json settings_json(const CalibrateRequest& request, const PriorInfo& prior, const c10::Device& device) {
  const CaseOptions& how = request.measurement;
  ordered_json operator_settings = ordered_json::object();
  for (const auto& [key, value] : how.settings) operator_settings[key] = value;
  ordered_json settings = {{"truths", request.truths == TruthKind::kPrior ? "prior" : "scans"},
                           {"prior", prior_json(prior)},
                           {"operator", {{"name", how.operator_name}, {"settings", operator_settings}, {"simulated_coils", how.simulate_coils}}},
                           {"noise", how.noise ? ordered_json(*how.noise) : ordered_json(nullptr)},
                           {"sigma_y", how.sigma_y ? ordered_json(*how.sigma_y) : ordered_json(nullptr)},
                           {"phase", how.smooth_phase ? "smooth" : "zero"},
                           {"sampler", sampler_json(request.session.sampler)},
                           {"seed", how.seed},
                           {"regions", {{"kind", request.regions.kind}, {"rows", request.regions.rows}}}};
  if (request.truths == TruthKind::kPrior) {
    const PriorProblemOptions& own = request.against_prior;
    settings["told_noise"] = own.told_noise.value_or(own.noise);
    settings["size"] = {own.height, own.width};
    settings["pixel_mm"] = own.pixel_mm;
    settings["truth_steps"] = own.truth_steps;
  } else {
    ordered_json digests = ordered_json::array();
    for (const auto& scan : request.scans) digests.push_back(digest_of(scan));
    settings["scans_sha256"] = digests;
    settings["slices_of_each"] = request.n_slices;
    settings["scale"] = "slice and volume";    // before there was this entry, the slice alone
  }
  if (!device.is_cpu()) {                      // where no entry says so, the CPU and float32
    settings["device"] = device.str();
    settings["precision"] = precision_name(network_precision(request.session.precision, device));
  }
  return settings;
}

CalibrationProblems make_problems(const CalibrateRequest& request, Session& session) {
  if (request.truths == TruthKind::kScans) return scan_problems(request.scans, request.measurement, request.n_slices, request.regions, session);
  Progress progress(1);
  return prior_problems(request.against_prior, request.regions, session, progress);
}

std::vector<CalibrationRecord> run_all(const CalibrationProblems& problems, const CalibrateRequest& request, const Session& session, CalibrationJournal& journal) {
  std::vector<CalibrationRecord> records;
  TestFunctions functions(request.measurement.seed);
  Progress progress(problems.n);
  for (std::int64_t i = 0; i < problems.n && interrupting_signal() == 0; ++i) {
    progress.begin_part(i);
    if (const CalibrationRecord* kept = journal.find(problems.name(i))) {
      records.push_back(*kept);
      continue;
    }
    const auto record = calibrate_problem(problems.make(i), functions, session.options().sampler, progress);
    if (!record) break;
    journal.add(*record);
    records.push_back(*record);
  }
  if (records.empty()) throw Error(ErrorKind::kInterrupted, "interrupted before the first truth was finished", "nothing is written");
  return records;
}

ordered_json score_json(const CalibrationProblems& problems, const Prior& prior, const CalibrateRequest& request) {
  if (!problems.truths.defined() || problems.truths.size(0) < kFewestPoints) return nullptr;
  const SteinDiscrepancy found = score_discrepancy(prior, problems.truths, request.score_sigma, request.measurement.seed);
  return {{"value", found.value},
          {"p_value", found.p_value},
          {"sigma", request.score_sigma},
          {"points", problems.truths.size(0)},
          {"meaning", found.p_value > 0.01 ? "the truths agree with the prior's score" : "the truths are not samples of the density whose score the prior gives: ranks test the sampler against these truths alone"}};
}

void say_result(const OutputFolder& output, const ordered_json& certificate) {
  const auto& findings = certificate["findings"];
  if (console().json()) {
    const ordered_json line = {{"output", output.final_path().string()}, {"verdict", findings["verdict"]}, {"because", findings["because"]}, {"figures", findings["figures"]}, {"interrupted", certificate["interrupted"]}};
    std::cout << line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << "\n";
  } else if (!console().quiet) {
    std::cout << calibration_table(findings);
    if (certificate["score_discrepancy"].is_object()) std::cout << "score: " << certificate["score_discrepancy"]["meaning"].get<std::string>() << " (p = " << certificate["score_discrepancy"]["p_value"] << ")\n";
    std::cout << "written to " << output.final_path().string() << "\n";
  }
}

}  // namespace

int run_calibrate(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  apply_threads(options);
  const CalibrateRequest request = request_of(options);
  const fs::path prior_file = find_prior(request.session.prior);
  std::vector<fs::path> inputs = request.scans;
  inputs.push_back(prior_file);
  OutputFolder output = required_output(options, inputs, {"certificate.json"});
  const auto prior = load_prior(prior_file, request.against_prior.pixel_mm, request.session.code);
  Session session(request.session);
  const ordered_json settings = settings_json(request, prior->info(), session.device());
  CalibrationJournal journal(request.journal, settings);
  catch_interrupts();

  const CalibrationProblems problems = make_problems(request, session);
  const std::vector<CalibrationRecord> records = run_all(problems, request, session, journal);
  ordered_json certificate = run_header(typed_command());
  certificate.update(settings);
  certificate["threads"] = at::get_num_threads();
  certificate["device"] = session.device().str();
  certificate["precision"] = precision_name(network_precision(request.session.precision, session.device()));
  certificate["asked_for"] = request.truths == TruthKind::kPrior ? request.against_prior.n_replicates : problems.n;
  certificate["done"] = records.size();
  certificate["interrupted"] = interrupting_signal() != 0;
  certificate["score_discrepancy"] = score_json(problems, *prior, request);
  certificate["findings"] = calibration_findings(records, request.truths);
  write_text_atomically(output.folder() / "certificate.html", calibration_page(certificate));
  write_text_atomically(output.folder() / "certificate.json", certificate.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  output.commit();
  say_result(output, certificate);
  return interrupting_signal() == 0 ? 0 : 128 + interrupting_signal();
}

}  // namespace postrec
