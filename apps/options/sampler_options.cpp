#include "options/sampler_options.hpp"

#include <map>
#include <sstream>

#include "cli/number_text.hpp"
#include "postrec/nearest_name.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;

/// `default` and `fast` are the bridge at the numbers of levels that the tables of core/README.md and the quickstart speak for. `exact` is the one method that reaches
/// the exact posterior of every bed, at about a thousand evaluations a sample; on trained priors it has not been measured.
const std::map<std::string, SamplerOptions>& presets() {
  static const auto table = [] {
    std::map<std::string, SamplerOptions> made;
    SamplerOptions& fast = made["fast"];
    fast.n_steps = 10;
    fast.n_samples = 8;
    SamplerOptions& standard = made["default"];
    standard.n_steps = 20;
    standard.n_samples = 20;
    SamplerOptions& exact = made["exact"];
    exact.method = "split-gibbs";
    exact.n_steps = 47;                        // sweeps of twenty evaluations, and the start's: 1000 in all
    exact.n_samples = 32;                      // a group of its start
    return made;
  }();
  return table;
}

std::string preset_names() {
  std::string names;
  for (const auto& [name, preset] : presets()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

/// The methods and solvers that there are, with what they can be told.
std::string catalogue_text() {
  std::ostringstream text;
  const auto list = [&](const char* title, const std::vector<SamplerInfo>& infos) {
    text << "\n" << title << ":\n";
    for (const SamplerInfo& info : infos) {
      text << "  " << info.name << (info.solver.empty() ? "" : " (with " + info.solver + ")") << ": " << info.summary << " " << info.source << "\n";
      for (const SamplerSetting& setting : info.settings) text << "      " << setting.name << " (=" << setting.standard << ") " << setting.help << "\n";
    }
  };
  list("Methods (--sampler; prior and class-guidance take no measurement: postrec sample, and programs of your own)", sampling_methods());
  list("Solvers (--solver)", reverse_solvers());
  return text.str();
}

double number(const std::string& key, const std::string& text) {
  const auto value = number_of_text(text);
  if (!value) throw Error(ErrorKind::kUsage, "--sampler-set " + key + "=" + text + " is not a number", "write --sampler-set key=number");
  return *value;
}

}  // namespace

void add_sampler_options(CommandOptions& options) {
  options.add()("preset", po::value<std::string>()->default_value("default")->value_name("NAME"), ("sampler, steps and samples: " + preset_names()).c_str())  //
      ("sampler", po::value<std::string>()->value_name("NAME"), "method of sampling; see --help-sampling")                                                     //
      ("samples", po::value<std::int64_t>()->value_name("N"), "how many per slice")                                                                            //
      ("steps", po::value<int>()->value_name("N"), "noise levels")                                                                                             //
      ("batch-size", po::value<std::int64_t>()->default_value(8)->value_name("N"), "samples computed together; 0: all");
  auto topic = options.add_topic("sampling", "sampling", catalogue_text());
  topic                                                                                                                                                    //
      ("solver", po::value<std::string>()->value_name("NAME"), "of the reverse process, for methods that guide one")                                       //
      ("sampler-set", po::value<std::vector<std::string>>()->composing()->value_name("KEY=NUMBER"), "a setting of sampler or solver (repeatable)")         //
      ("nfe", po::value<std::int64_t>()->default_value(0)->value_name("N"), "network evaluations per sample, instead of --steps")                          //
      ("process", po::value<std::string>()->default_value("edm")->value_name("NAME"), "noise process that solvers reverse: edm, ve, vp, sub-vp, ncsn")     //
      ("levels", po::value<std::string>()->default_value("auto")->value_name("KIND"), "noise levels: auto, leap, karras, geometric, process")                         //
      ("sigma-max", po::value<double>()->default_value(0.0, "0")->value_name("X"), "first noise level; 0: the prior's")                                     //
      ("sigma-min", po::value<double>()->default_value(0.0, "0")->value_name("X"), "last noise level; 0: the prior's")                                      //
      ("tolerance", po::value<double>()->default_value(3e-4, "3e-4")->value_name("X"), "of the linear solver; see core/README.md");
  add_precision_option(topic);
}

SamplerOptions sampler_options(const CommandOptions& options) {
  const auto name = options.get<std::string>("preset");
  const auto preset = presets().find(name);
  if (preset == presets().end()) throw Error(ErrorKind::kUsage, "--preset '" + name + "' is not known", "known presets are " + preset_names());
  SamplerOptions result = preset->second;
  if (options.has("sampler")) result.method = options.get<std::string>("sampler");
  if (options.has("samples")) result.n_samples = options.get<std::int64_t>("samples");
  if (options.has("steps")) result.n_steps = options.get<int>("steps");
  if (options.has("solver")) result.solver = options.get<std::string>("solver");
  for (const auto& [key, text] : settings_of(options, "sampler-set")) result.settings[key] = number(key, text);
  result.batch_size = options.get<std::int64_t>("batch-size");
  result.nfe = options.get<std::int64_t>("nfe");
  if (result.nfe > 0 && options.has("steps")) throw Error(ErrorKind::kUsage, "--steps and --nfe are both given", "give one of them");
  result.process = options.get<std::string>("process");
  result.levels = options.get<std::string>("levels");
  result.sigma_max = options.get<double>("sigma-max");
  result.sigma_min = options.get<double>("sigma-min");
  result.solve.tolerance = options.get<double>("tolerance");
  return result;
}

}  // namespace postrec
