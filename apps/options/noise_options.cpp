#include "options/noise_options.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;

constexpr const char* kFiles =
    "\nFILE: .cfl, .nii.gz, .mha, .nrrd, .txt or .csv, in the layout of one slice of the measurement or of all of them. Fewer numbers are "
    "repeated: one for all, a row (one for each detector) for all rows.\n";

}  // namespace

void add_noise_options(CommandOptions& options) {
  options.add_topic("noise", "the noise model", kFiles)                                                                                                                     //
      ("noise-model", po::value<std::string>()->default_value("auto")->value_name("KIND"), "gaussian, weighted, or poisson (photon counts of CT); auto: what the measurement says, else gaussian")                      //
      ("noise-covariance", po::value<std::string>()->value_name("FILE"), "gaussian: of the coils, E[n n^H] of the complex noise of one average, [coil, coil]")                             //
      ("weights", po::value<std::string>()->value_name("FILE"), "weighted: the variance of an entry is sigma-y^2 / weight (sigma-y: 1 unless given); 0: not measured; laid out as the measurement")  //
      ("blank-scan", po::value<std::string>()->value_name("X|FILE"), "poisson: photons without an object")                                                                  //
      ("background", po::value<std::string>()->value_name("X|FILE"), "poisson: photons besides (scatter, dark current); none unless given")                                 //
      ("expansions", po::value<int>()->default_value(2)->value_name("N"), "poisson: how often the likelihood is expanded anew around 8 samples");
}

NoiseOptions noise_options(const CommandOptions& options) {
  const auto text = [&](const char* option) { return options.has(option) ? options.get<std::string>(option) : std::string(); };
  const std::string kind = options.choice("noise-model", {"auto", "gaussian", "weighted", "poisson"});
  NoiseOptions result;
  result.kind = kind == "weighted" ? NoiseKind::kWeighted : kind == "poisson" ? NoiseKind::kPoisson : NoiseKind::kGaussian;
  result.kind_given = kind != "auto";
  result.covariance = text("noise-covariance");
  result.weights = text("weights");
  result.blank_scan = text("blank-scan");
  result.background = text("background");
  if (result.kind_given && result.kind != NoiseKind::kPoisson) options.refuse_given({"expansions"}, "without --noise-model poisson");
  result.expansions = options.get<int>("expansions");
  return result;
}

}  // namespace postrec
