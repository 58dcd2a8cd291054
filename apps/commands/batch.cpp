// postrec batch plan | run | status | report | submit: many cases, resumed by digest and spread over processes and machines.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <optional>
#include <sstream>

#include "batch/batch_estimate.hpp"
#include "batch/batch_events.hpp"
#include "batch/batch_run.hpp"
#include "batch/batch_slurm.hpp"
#include "batch/batch_status.hpp"
#include "batch/batch_worker.hpp"
#include "case/operator_parameters.hpp"
#include "cli/console.hpp"
#include "cli/interrupt.hpp"
#include "commands/batch_case.hpp"
#include "commands/batch_plan_words.hpp"
#include "commands/commands.hpp"
#include "commands/reconstruct.hpp"
#include "options/options.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/nearest_name.hpp"

namespace postrec {
namespace fs = std::filesystem;
namespace po = boost::program_options;
using nlohmann::ordered_json;
namespace {

constexpr int kSomeFailed = 8;
constexpr double kMega = 1e6;

constexpr const char* kOverview =
    R"(Usage: postrec batch plan IN OUT [options of reconstruct]
       postrec batch run | status | report | submit OUT
Reconstructs many cases: each in a process of its own, resumed by digest, spread over jobs, shards
and machines.

  plan    finds the cases of IN and writes OUT/plan.jsonl, which is never changed
  run     reconstructs them, or one shard of them, into OUT/CASE; run it again to go on
  status  what is done, failed, running and not started, from what lies in OUT
  report  OUT/index.html, OUT/summary.tsv and OUT/summary.json
  submit  the same as a Slurm job array

postrec batch plan --help and so on tell more.

Example:
  postrec batch plan bids out --simulate --operator mri-fourier --simulate-coils 8 \
      --set mask-pattern=equispaced --set acceleration=4 --noise 0.02
  postrec batch run out
  postrec batch report out
)";

void print_json(const ordered_json& json) { std::cout << json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << "\n"; }

/// What the planned options ask for; the console stays as it is.
ReconstructRequest request_of(const std::vector<std::string>& options, const std::vector<std::string>& seed) {
  std::vector<std::string> words = {"CASE", "--output", "OUT"};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), seed.begin(), seed.end());
  const Console mine = console();
  const ReconstructRequest request = parse_reconstruct(words);
  console() = mine;
  return request;
}

BatchConfig config_of(const std::vector<std::string>& options, const ReconstructRequest& request) {
  return make_batch_config(options, request.input.seed, request.session.prior, request.input.operator_name, request.session.plugins);
}

// ---------------------------------------------------------------- plan

CommandOptions plan_options() {
  CommandOptions options("batch plan", "IN OUT", 2, 3,
                         "Finds the cases of IN and writes OUT/plan.jsonl. IN: a BIDS tree (sub-*), a folder of measurements, DICOM series or scans, or a list\n"
                         "(.txt: a path a line; .csv, .tsv: columns `path` and `case`). All other options are those of postrec reconstruct, for every case.",
                         "postrec batch plan bids out --participant-label 01 02 --simulate --operator mri-fourier --simulate-coils 8\n"
                         "    --set mask-pattern=equispaced --set acceleration=4 --noise 0.02 --prior brain-mr");
  options.add()("participant-label", po::value<std::vector<std::string>>()->multitoken()->value_name("LABEL..."), "BIDS: only these, \"sub-\" in front or not")  //
      ("case", po::value<std::vector<std::string>>()->multitoken()->value_name("ID..."), "only these")                                                          //
      ("incomplete", po::bool_switch(), "also series that postrec pacs listen has not marked as complete")                                                       //
      ("site-key", po::value<std::string>()->value_name("FILE"), "64 hexadecimal digits that make ids opaque; else one is made in OUT/site.key")                //
      ("dry-run", po::bool_switch(), "only say what would be done");
  add_common_options(options);
  return options;
}

std::vector<std::string> list_of(const CommandOptions& options, const char* name) {
  return options.has(name) ? options.get<std::vector<std::string>>(name) : std::vector<std::string>();
}

/// The folder of the batch if it may be one: new, empty, or that of a batch.
fs::path batch_folder(const std::string& name) {
  const fs::path output = fs::absolute(name).lexically_normal();
  std::error_code failure;
  if (fs::exists(output, failure) && !fs::is_directory(output, failure)) throw Error(ErrorKind::kCannotCreate, quoted_path(output) + " is a file", "give a folder");
  const BatchFolders folders{output};
  const bool ours = fs::exists(BatchPlan::file_in(output)) || fs::exists(output / "site.key") || fs::is_directory(folders.events(), failure) || fs::is_directory(folders.all_work(), failure);
  if (fs::exists(output, failure) && !fs::is_empty(output, failure) && !ours)
    throw Error(ErrorKind::kCannotCreate, quoted_path(output) + " holds other things than a batch", "give a new or an empty folder");
  return output.has_filename() ? output : output.parent_path();
}

void require_separate(const fs::path& output, const fs::path& input, const BatchInput& found) {
  std::vector<fs::path> inputs;
  if (fs::is_directory(input)) inputs.push_back(input);
  else for (const auto& each : found.cases) inputs.push_back(found.root / each.path);
  try {
    require_separate_output(output, inputs);
  } catch (const Error&) {                     // whose message names the input, here below the folder of a list
    throw Error(ErrorKind::kUsage, "OUT " + quoted_path(output) + " and the input are in the same place", "write to a folder outside of the input, which is never changed");
  }
}

SiteKey site_key(const CommandOptions& options, const fs::path& output, bool dry_run, const BatchInput& found) {
  const fs::path own = output / "site.key";
  if (options.has("site-key")) return SiteKey::read(options.get<std::string>("site-key"));
  if (fs::exists(own)) return SiteKey::read(own);
  const SiteKey key = SiteKey::random();
  const bool used = std::any_of(found.cases.begin(), found.cases.end(), [](const FoundCase& each) { return each.label.empty(); });
  if (dry_run && used) console().information("ids that are not BIDS names will be others: the key that makes them is not written yet");
  if (!dry_run) key.write(own);
  return key;
}

void say_plan(const BatchPlan& plan, const ReconstructRequest& request, bool dry_run) {
  ordered_json cases = ordered_json::array();
  double bytes = 0;
  for (const auto& each : plan.cases) {
    cases.push_back({{"case", each.id}, {"files", each.files.size()}, {"bytes", each.bytes()}, {"memory_bytes", estimated_memory(plan.input, each, request.session.sampler.n_samples)}});
    bytes += static_cast<double>(each.bytes());
  }
  if (console().json()) return print_json({{"dry_run", dry_run}, {"cases", cases}, {"bytes", bytes}, {"skipped", plan.skipped}});
  if (console().quiet) return;
  std::cout << std::fixed << std::setprecision(1);
  if (dry_run)
    for (const auto& each : cases)
      std::cout << "  " << each["case"].get<std::string>() << "  " << each["files"] << " file(s), " << each["bytes"].get<double>() / kMega << " MB, about "
                << static_cast<std::int64_t>(each["memory_bytes"].get<double>() / kMega) << " MB of memory\n";
  std::cout << plan.cases.size() << " cases, " << bytes / kMega << " MB";
  for (const auto& [reason, count] : plan.skipped.items()) std::cout << "\n  left out: " << count << " x " << reason;
  std::cout << (dry_run ? "\nnothing was written\n" : "\n");
}

/// A file of a case, its content too unless `size_alone`. A failure names the case and not the file, whose name may be a patient's. Throws Error(kNoInput).
FileDigest input_digest(const fs::path& root, const std::string& file, const std::string& id, bool size_alone) {
  try {
    return size_alone ? FileDigest{"", fs::file_size(root / file), ""} : FileDigest::of(root / file, file);
  } catch (const std::exception&) {
    throw Error(ErrorKind::kNoInput, "a file of case " + id + " cannot be read", "check its permissions; postrec batch plan --case chooses others");
  }
}

/// The plan and the jobs are JSON, which holds no other names.
void require_utf8(const fs::path& output, const BatchInput& found) {
  const auto require = [](const fs::path& path) {
    try {
      ordered_json(path.native()).dump();
    } catch (const ordered_json::type_error&) {
      throw Error(ErrorKind::kUsage, quoted_path(path) + " is not UTF-8, as names must be in a batch", "rename it");
    }
  };
  for (const fs::path& path : {output, found.root, fs::current_path()}) require(path);
  for (const FoundCase& each : found.cases) {
    require(each.path);
    for (const auto& file : each.files.empty() ? files_of_case(found.root, each.path) : each.files) require(file);
  }
}

int plan(const std::vector<std::string>& arguments) {
  const PlanWords words = part_plan_words(arguments);
  CommandOptions options = plan_options();
  if (!options.parse(words.own)) return 0;
  if (options.operands().size() == 3 && options.operands()[2] != "participant")
    throw Error(ErrorKind::kUsage, "postrec batch plan: '" + options.operands()[2] + "' is one word too many", "IN OUT, and at most the word participant");
  const bool dry_run = options.get<bool>("dry-run");
  const fs::path input = options.operands()[0], output = batch_folder(options.operands()[1]);
  const ReconstructRequest request = request_of(words.reconstruct, words.seed);

  const BatchInput found = find_cases(input, {options.get<bool>("incomplete") ? Receptions::kAll : Receptions::kComplete, request.input.simulate ? DicomKind::kImages : DicomKind::kProjections});
  require_separate(output, input, found);
  require_utf8(output, found);
  if (!dry_run) make_folders(output);
  BatchPlan plan;
  plan.input = found.root;
  plan.working_folder = fs::current_path();
  plan.config = config_of(words.reconstruct, request);
  if (const CaseOptions& how = request.input; !how.operator_name.empty()) {
    PluginRegistry registry(request.session.plugins);
    require_declared(registry.operator_type(how.operator_name), how.settings);
  }
  plan.skipped = found.skipped;
  plan.cases = name_cases(found, site_key(options, output, dry_run, found), {list_of(options, "participant-label"), list_of(options, "case")});
  for (auto& each : plan.cases)
    for (auto& file : each.files) file = input_digest(plan.input, file.path, each.id, dry_run);
  if (!dry_run) write_plan(plan, output);
  say_plan(plan, request, dry_run);
  return 0;
}

// ---------------------------------------------------------------- what the others share

/// The options of a sub-command that works on a batch: its operands are [IN] OUT.
CommandOptions batch_options(const std::string& name, const std::string& purpose, const std::string& example) {
  return CommandOptions("batch " + name, "[IN] OUT", 1, 2, purpose, example);
}

struct OpenBatch {
  fs::path output;
  BatchPlan plan;
};

OpenBatch open_batch(const CommandOptions& options) {
  const fs::path output = fs::absolute(options.operands().back()).lexically_normal();
  OpenBatch batch{output.has_filename() ? output : output.parent_path(), BatchPlan::read(output)};
  if (options.operands().size() < 2) return batch;
  std::error_code failure;
  const fs::path input = fs::canonical(options.operands().front(), failure);
  const bool in_root = !fs::is_directory(input, failure) && input.parent_path() == batch.plan.input;  // a list, or the one scan
  if (failure || (input != batch.plan.input && !in_root))
    throw Error(ErrorKind::kUsage, quoted_path(options.operands().front()) + " is not what this batch was planned for", "leave IN out: the plan knows it");
  return batch;
}

std::int64_t positive_number(const CommandOptions& options, const std::string& name, std::int64_t most) {
  const auto value = options.get<std::int64_t>(name);
  if (value < 1 || value > most) throw Error(ErrorKind::kUsage, "--" + name + " is " + std::to_string(value), "it must be 1 to " + std::to_string(most));
  return value;
}

constexpr std::int64_t kMostShards = 1000000, kMostJobs = 1024;

// ---------------------------------------------------------------- run

struct Shard {
  std::int64_t number = 1, of = 1;
};

std::int64_t whole_number(const std::string& text) {
  char* end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  return text.empty() || *end != '\0' ? -1 : value;
}

/// --shard I/N, else the place in a Slurm job array, else everything.
Shard shard_of(const CommandOptions& options) {
  const auto variable = [](const char* name) { return std::getenv(name) ? whole_number(std::getenv(name)) : -1; };
  Shard shard;
  std::string said = "--shard";
  if (options.has("shard")) {
    const auto text = options.get<std::string>("shard");
    const auto slash = text.find('/');
    shard = {whole_number(text.substr(0, slash)), slash == std::string::npos ? -1 : whole_number(text.substr(slash + 1))};
    said += " " + text;
  } else if (const auto task = variable("SLURM_ARRAY_TASK_ID"); task >= 0) {
    const auto first = variable("SLURM_ARRAY_TASK_MIN"), steps = task - (first >= 0 ? first : 1), step = std::max<std::int64_t>(1, variable("SLURM_ARRAY_TASK_STEP"));
    shard = {steps % step == 0 ? steps / step + 1 : 0, variable("SLURM_ARRAY_TASK_COUNT")};
    said = "the shard of SLURM_ARRAY_TASK_ID " + std::to_string(task);
  }
  if (shard.number < 1 || shard.of > kMostShards || shard.number > shard.of) throw Error(ErrorKind::kUsage, said + " cannot be", "write I/N with I from 1 to N, e.g. 2/5");
  return shard;
}

OnExistingResult on_existing(const CommandOptions& options) {
  const std::string how = options.choice("on-existing", {"fail", "skip-verified", "overwrite"});
  return how == "fail" ? OnExistingResult::kFail : how == "overwrite" ? OnExistingResult::kOverwrite : OnExistingResult::kSkipVerified;
}

CommandOptions run_options() {
  CommandOptions options = batch_options("run", "Reconstructs the cases of OUT/plan.jsonl, or one shard of them, into OUT/CASE. Run it again to go on: what is done is checked by its digests.\n"
                                         "Exit code 8: some cases failed, see postrec batch status. 75: stopped by SIGTERM, go on later.",
                                         "postrec batch run out --shard 2/5 --jobs 4");
  options.add()("shard", po::value<std::string>()->value_name("I/N"), "every N-th case, from the I-th on (else from SLURM_ARRAY_TASK_ID)")                       //
      ("jobs", po::value<std::int64_t>()->value_name("J"), "cases at a time, each with 1/J of the cores (else one a core)")                                      //
      ("fail-fast", po::bool_switch(), "begin no case after one has failed")                                                                                    //
      ("on-existing", po::value<std::string>()->default_value("skip-verified")->value_name("HOW"), "when a case has a result: skip-verified (made again if it was changed), fail or overwrite");
  add_common_options(options);
  return options;
}

void say_outcome(const BatchOutcome& outcome, const fs::path& output) {
  if (console().json())
    return print_json({{"output", output.string()}, {"done", outcome.done}, {"verified", outcome.verified}, {"failed", outcome.failed}, {"left", outcome.left}, {"stopped", outcome.stopped}});
  if (console().quiet) return;
  std::cout << outcome.done << " cases done, " << outcome.verified << " were done before, " << outcome.failed << " failed, " << outcome.left << " left\n";
}

int code_of(const BatchOutcome& outcome) {
  if (outcome.stopped) return interrupting_signal() == SIGTERM ? static_cast<int>(ErrorKind::kTemporary) : static_cast<int>(ErrorKind::kInterrupted);
  if (outcome.no_room) return static_cast<int>(ErrorKind::kInputOutput);
  return outcome.failed > 0 ? kSomeFailed : 0;
}

void enter_working_folder(const BatchPlan& plan) {
  std::error_code failure;
  fs::current_path(plan.working_folder, failure);
  if (failure) throw Error(ErrorKind::kNoInput, "the folder in which the batch was planned, " + quoted_path(plan.working_folder) + ", cannot be entered: " + failure.message(), "relative paths begin there");
}

int run(const std::vector<std::string>& arguments) {
  CommandOptions options = run_options();
  if (!options.parse(arguments)) return 0;
  const Shard shard = shard_of(options);
  const OpenBatch batch = open_batch(options);
  const BatchPlan& plan = batch.plan;
  BatchRunOptions how;
  how.output = batch.output;
  how.shard = shard.number;
  how.n_shards = shard.of;
  how.jobs = static_cast<int>(options.has("jobs") ? positive_number(options, "jobs", kMostJobs) : usable_cores());
  how.threads = std::max(1, usable_cores() / how.jobs);
  how.fail_fast = options.get<bool>("fail-fast");
  how.on_existing = on_existing(options);
  how.job_of = [&](const BatchCase& each, const Attempt& attempt) {
    return worker_job(plan, each, batch.output, attempt, how.threads, how.on_existing == OnExistingResult::kOverwrite);
  };
  enter_working_folder(plan);
  require_same_config(plan.config, config_of(plan.config.options, request_of(plan.config.options, {"--seed", std::to_string(plan.config.seed)})));
  catch_interrupts();
  const BatchOutcome outcome = run_batch(plan, how);
  say_outcome(outcome, batch.output);
  if (outcome.no_room) console().warning("the last cases failed in reading or writing: is the disk full? The same command goes on");
  return code_of(outcome);
}

// ---------------------------------------------------------------- status, report, submit

int status(const std::vector<std::string>& arguments) {
  CommandOptions options = batch_options("status", "What is done, failed, running, stopped (with a checkpoint) and not started, from what lies in OUT.", "postrec batch status out");
  options.add()("shards", po::value<std::int64_t>()->value_name("N"), "tell it for each of N shards (else as many as were run)")  //
      ("verify", po::bool_switch(), "read every result and check its digests, not only sizes");
  add_common_options(options);
  if (!options.parse(arguments)) return 0;
  const OpenBatch batch = open_batch(options);
  const BatchFolders folders{batch.output};
  const std::int64_t n_shards = options.has("shards") ? positive_number(options, "shards", kMostShards) : shards_seen(folders.events());
  const auto cases = batch_status(batch.plan, folders, options.get<bool>("verify") ? CheckDepth::kDigests : CheckDepth::kSizes);
  if (console().json()) print_json(status_json(cases, n_shards));
  else std::cout << status_text(cases, n_shards);
  return 0;
}

int report(const std::vector<std::string>& arguments) {
  CommandOptions options = batch_options("report", "Writes OUT/index.html, OUT/summary.tsv and OUT/summary.json: a row a case, with what its run.json says.", "postrec batch report out");
  add_common_options(options);
  if (!options.parse(arguments)) return 0;
  const OpenBatch batch = open_batch(options);
  const BatchFolders folders{batch.output};
  const auto cases = batch_status(batch.plan, folders, CheckDepth::kSizes);
  const ordered_json summary = batch_summary(cases, folders);
  write_text_atomically(batch.output / "summary.json", summary.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  write_text_atomically(batch.output / "summary.tsv", summary_table(summary));
  write_batch_index(batch.output, batch_index(summary, folders));
  if (console().json()) print_json({{"output", batch.output.string()}, {"all", summary["all"]}});
  else if (!console().quiet) std::cout << status_text(cases, 1) << "written to index.html, summary.tsv and summary.json\n";
  return 0;
}

int submit(const std::vector<std::string>& arguments) {
  CommandOptions options = batch_options("submit", "Prints the scripts of a Slurm job array, an element a shard, and of a job that writes the report after it; with --submit gives them to sbatch.\n"
                                         "An element that Slurm stops ends with 75; clusters with RequeueExit=75 begin it again, elsewhere submit again.",
                                         "postrec batch submit out --slurm 20 --sbatch cpus-per-task=4 --sbatch time=8:00:00 --submit");
  options.add()("slurm", po::value<std::int64_t>()->value_name("N"), "elements of the array (required)")                                             //
      ("sbatch", po::value<std::vector<std::string>>()->composing()->value_name("OPTION"), "a further line #SBATCH --OPTION (repeatable); array=%5: five elements at a time")           //
      ("submit", po::bool_switch(), "submit instead of printing");
  add_common_options(options);
  if (!options.parse(arguments)) return 0;
  if (!options.has("slurm")) throw Error(ErrorKind::kUsage, "--slurm is missing", "give the number of array elements");
  const OpenBatch batch = open_batch(options);
  SlurmRequest request{fs::read_symlink("/proc/self/exe"), batch.output, positive_number(options, "slurm", kMostShards), {}};
  for (const auto& option : list_of(options, "sbatch")) request.options.push_back(option.rfind('-', 0) == 0 ? option : "--" + option);
  if (!options.get<bool>("submit")) {
    std::cout << slurm_array_script(request) << "\n# and, with --dependency=afterany:JOB of that array:\n" << slurm_report_script(request);
    return 0;
  }
  make_folders(BatchFolders{batch.output}.events());  // Slurm makes no folder for its logs, and jobs without one fail
  const SubmittedJobs jobs = submit_to_slurm(request);
  if (console().json()) print_json({{"array", jobs.array}, {"report", jobs.report}});
  else std::cout << "submitted array " << jobs.array << " of " << request.n_tasks << " shards, and report " << jobs.report << " after it\n";
  return 0;
}

/// For the workers of a run.
int work(const std::vector<std::string>& arguments) {
  if (arguments.empty()) throw Error(ErrorKind::kUsage, "postrec batch case is for postrec batch run alone", "use postrec batch run");
  return run_worker(arguments.front());
}

}  // namespace

int run_batch_command(const std::vector<std::string>& arguments) {
  const std::string name = arguments.empty() ? "--help" : arguments.front();
  if (name == "--help" || name == "-h") {
    std::cout << kOverview;
    return 0;
  }
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  const std::vector<std::pair<std::string, int (*)(const std::vector<std::string>&)>> kCommands = {
      {"plan", plan}, {"run", run}, {"status", status}, {"report", report}, {"submit", submit}, {"case", work}};
  std::vector<std::string> names;
  for (const auto& [known, command] : kCommands) {
    if (known == name) return command(rest);
    if (known != "case") names.push_back(known);
  }
  throw Error(ErrorKind::kUsage, "postrec batch '" + name + "' is not known", nearest_hint(name, names));
}

}  // namespace postrec
