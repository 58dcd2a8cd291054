#include "result/reconstruct_case.hpp"

#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/console.hpp"
#include "cli/interrupt.hpp"
#include "cli/run_main.hpp"
#include "commands/commands.hpp"
#include "commands/reconstruct.hpp"
#include "options/options.hpp"
#include "options/projection_options.hpp"
#include "options/sampler_options.hpp"
#include "postrec/nearest_name.hpp"
#include "result/dicom_output.hpp"
#include "result/questions.hpp"
#include "result/report_page_failure.hpp"
#include "result/result_folder.hpp"
#include "run/checkpoint_folder.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;

CommandOptions declared_options() {
  CommandOptions options("reconstruct", "INPUT", 1, 1,
                         "Samples of p(image | measurement). INPUT: a measurement (folder, .h5, .cfl, sinogram, projections), or with --simulate an image.",
                         "postrec reconstruct head.nii.gz --simulate --slice 90 --operator mri-fourier --simulate-coils 8\n"
                         "    --set mask-pattern=equispaced --set acceleration=4 --noise 0.02 --output result");
  add_output_options(options);
  options.add()("simulate", po::bool_switch(), "INPUT is an image: compute its measurement first");
  add_measurement_options(options);
  add_projection_options(options);
  add_sampler_options(options);
  add_question_options(options);
  add_dicom_options(options);
  options.add()("prior", po::value<std::string>()->value_name("PRIOR"), "file, or one that ships: brain-mr, ct (chosen by unit)")         //
      ("interval", po::value<double>()->default_value(0.9, "0.9")->value_name("P"), "probability inside the interval images")           //
      ("deadline", po::value<double>()->default_value(0.0, "0")->value_name("SECONDS"), "leave out levels, then samples, to end in time; 0: never")  //
      ("resume", po::bool_switch(), "go on with a run that was stopped, from its last noise level");
  add_device_option(options.add());
  add_code_option(options);
  add_run_options(options);
  add_plugin_options(options);
  add_common_options(options);
  return options;
}

SessionOptions session_options(const CommandOptions& options) {
  SessionOptions result;
  result.plugins = plugin_search(options);
  if (options.has("prior")) result.prior = options.get<std::string>("prior");
  result.code = code_policy(options);
  result.precision = wanted_precision(options);
  result.sampler = sampler_options(options);
  result.sampler.seed = options.get<std::uint64_t>("seed");
  result.deadline_s = options.get<double>("deadline");
  if (!(result.deadline_s >= 0)) throw Error(ErrorKind::kUsage, "--deadline is " + std::to_string(result.deadline_s), "it must be positive, or 0 for none");
  result.interval_level = options.get<double>("interval");
  if (!(result.interval_level > 0 && result.interval_level < 1))
    throw Error(ErrorKind::kUsage, "--interval is " + std::to_string(result.interval_level), "it must lie between 0 and 1, e.g. 0.9");
  result.device = wanted_device(options);
  return result;
}

void say_result(const OutputFolder& output, const nlohmann::ordered_json& run) {
  if (console().json()) {
    nlohmann::ordered_json line = {{"output", output.final_path().string()}, {"origin", run["origin"]}, {"interrupted", run["interrupted"]}};
    if (run.contains("quality")) line["quality"] = run["quality"];
    std::cout << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  } else if (!console().quiet) {
    std::cout << report_text(run) << "written to " << output.final_path().string() << "\n";
  }
}

}  // namespace

ReconstructRequest parse_reconstruct(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) throw Error(ErrorKind::kUsage, "--help stands among the options of a reconstruction", "see postrec reconstruct --help");
  ReconstructRequest request{case_options(options, options.get<bool>("simulate")), session_options(options)};
  request.session.sampler.validate();
  return request;
}

int run_reconstruct(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  apply_threads(options);
  CaseOptions case_request = case_options(options, options.get<bool>("simulate"));
  SessionOptions wanted = session_options(options);
  wanted.sampler.validate();
  const std::filesystem::path dicom_source = dicom_source_path(options);
  const bool goes_on = options.get<bool>("resume") && options.has("output") && is_interrupted_result(options.get<std::string>("output")).value_or(false);
  const std::vector inputs = dicom_source.empty() ? std::vector{case_request.input} : std::vector{case_request.input, dicom_source};
  OutputFolder output = required_output(options, inputs, {"run.json"}, goes_on);
  case_request.scratch = output.folder();
  CheckpointFolder checkpoints(output.final_path(), options.get<bool>("resume"));
  wanted.checkpoints = &checkpoints;
  const std::filesystem::path failure_page = failure_page_of(output.final_path());
  on_failure([=](const Failure& failure) { write_failure_page(failure_page, inputs, failure); });
  Session session(wanted);
  catch_interrupts();

  Case input = read_case(case_request, session.registry());
  const Questions questions = read_questions(options, input, session.registry());
  std::optional<DicomOutput> dicom;
  if (!dicom_source.empty()) dicom = dicom_output(options, dicom_source, input, session.registry());
  CaseResult result;
  {
    Progress progress(static_cast<std::int64_t>(input.slices.size()));
    result = reconstruct_case(input, session, progress);
  }
  const auto run = write_result(output.folder(), typed_command(), input, result, session, questions, dicom ? &*dicom : nullptr);
  const bool finished_is_there = !is_interrupted_result(output.final_path()).value_or(true);
  if (result.interrupted && finished_is_there) {
    console().warning("interrupted: the finished result in '" + output.final_path().string() + "' stays as it is; go on with --resume --on-existing overwrite");
    return 128 + interrupting_signal();
  }
  output.commit();
  remove_failure_page(failure_page);
  on_failure({});
  say_result(output, run);
  if (!result.interrupted) {
    checkpoints.clear();
    return 0;
  }
  console().warning("interrupted: " + std::to_string(result.slices.size()) + " slice(s) with " + std::to_string(result.slices.front().samples.size(0)) +
                    " sample(s) each were kept in '" + output.final_path().string() + "'; go on with --resume");
  return 128 + interrupting_signal();
}

}  // namespace postrec
