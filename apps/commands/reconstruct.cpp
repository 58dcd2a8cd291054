#include "common/reconstruct_case.hpp"

#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/commands.hpp"
#include "common/console.hpp"
#include "common/interrupt.hpp"
#include "common/nearest_name.hpp"
#include "common/options.hpp"
#include "common/result_folder.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;

CommandOptions declared_options() {
  CommandOptions options("reconstruct", "INPUT", 1, 1,
                         "Samples of p(image | measurement). INPUT: a measurement (folder, .cfl, sinogram), or with --simulate an image.",
                         "postrec reconstruct head.nii.gz --simulate --slice 90 --operator mri-fourier --simulate-coils 8\n"
                         "    --set mask-pattern=equispaced --set acceleration=4 --noise 0.02 --output result");
  add_output_options(options);
  options.add()("simulate", po::bool_switch(), "INPUT is an image: compute its measurement first");
  add_measurement_options(options);
  options.add()("prior", po::value<std::string>()->value_name("PRIOR"), "file, or one that ships: brain-mr, ct (chosen by unit)")  //
      ("sampler", po::value<std::string>()->default_value("bridge")->value_name("NAME"), "method of sampling")                   //
      ("samples", po::value<std::int64_t>()->default_value(20)->value_name("N"), "how many per slice")                            //
      ("steps", po::value<int>()->default_value(20)->value_name("N"), "noise levels, one use of the prior each")                 //
      ("batch-size", po::value<std::int64_t>()->default_value(8)->value_name("N"), "samples computed together; 0: all")          //
      ("tolerance", po::value<double>()->default_value(1e-3, "1e-3")->value_name("X"), "of the linear solver; see core/README.md")         //
      ("interval", po::value<double>()->default_value(0.9, "0.9")->value_name("P"), "probability inside the interval images")           //
      ("device", po::value<std::string>()->default_value("auto")->value_name("DEVICE"), "cpu, cuda or auto");
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
  result.sampler.method = options.get<std::string>("sampler");
  result.sampler.n_samples = options.get<std::int64_t>("samples");
  result.sampler.batch_size = options.get<std::int64_t>("batch-size");
  result.sampler.n_steps = options.get<int>("steps");
  result.sampler.seed = options.get<std::uint64_t>("seed");
  result.sampler.solve.tolerance = options.get<double>("tolerance");
  result.interval_level = options.get<double>("interval");
  if (!(result.interval_level > 0 && result.interval_level < 1))
    throw Error(ErrorKind::kUsage, "--interval is " + std::to_string(result.interval_level), "it must lie between 0 and 1, e.g. 0.9");
  result.device = options.choice("device", {"auto", "cpu", "cuda"});
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

int run_reconstruct(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  apply_threads(options);
  const CaseOptions case_request = case_options(options, options.get<bool>("simulate"));
  Session session(session_options(options));
  OutputFolder output = required_output(options, {case_request.input}, {"run.json"});
  catch_interrupts();

  const Case input = read_case(case_request, session.registry());
  CaseResult result;
  {
    Progress progress(static_cast<std::int64_t>(input.slices.size()));
    result = reconstruct_case(input, session, progress);
  }
  const auto run = write_result(output.folder(), typed_command(), input, result, session);
  output.commit();
  say_result(output, run);
  if (!result.interrupted) return 0;
  console().warning("interrupted: " + std::to_string(result.slices.size()) + " slice(s) with " + std::to_string(result.slices.front().samples.size(0)) +
                    " sample(s) each were kept in '" + output.final_path().string() + "'");
  return 128 + interrupting_signal();
}

}  // namespace postrec
