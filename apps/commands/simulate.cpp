#include <iostream>
#include <nlohmann/json.hpp>

#include "case/case.hpp"
#include "cli/console.hpp"
#include "commands/commands.hpp"
#include "options/options.hpp"
#include "postrec/data/measurement_file.hpp"
#include "run/session.hpp"

namespace postrec {
namespace {

CommandOptions declared_options() {
  CommandOptions options("simulate", "IMAGE", 1, 1, "Computes y = A x + noise from an image and writes a measurement folder, marked as simulated.",
                         "postrec simulate head.nii.gz --slice 90 --operator mri-fourier --simulate-coils 8 --noise 0.02 --output kspace");
  add_output_options(options);
  add_measurement_options(options);
  add_run_options(options);
  add_plugin_options(options);
  add_common_options(options);
  return options;
}

void say_result(const OutputFolder& output, const Measurement& measurement, const std::vector<std::string>& notes) {
  for (const auto& note : notes) console().information(note);
  if (console().json()) {
    const nlohmann::ordered_json line = {{"output", output.final_path().string()}, {"origin", "simulated"}, {"sigma_y", measurement.sigma_y}};
    std::cout << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  } else if (!console().quiet) {
    std::cout << "SIMULATED measurement of " << measurement.y.size(0) << " slice(s), sigma_y " << measurement.sigma_y << ", written to "
              << output.final_path().string() << "\n";
  }
}

}  // namespace

int run_simulate(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  apply_threads(options);
  CaseOptions request = case_options(options, /*simulate=*/true);
  PluginRegistry registry(plugin_search(options));
  warn_of_refused_plugins(registry);
  OutputFolder output = required_output(options, {request.input}, {"measurement.json"});
  request.scratch = output.folder();
  const Case simulated = read_case(request, registry);
  write_measurement(output.folder(), simulated.measurement);
  output.commit();
  say_result(output, simulated.measurement, simulated.notes);
  return 0;
}

}  // namespace postrec
