#include "training/network_options.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <sstream>

#include "cli/version.hpp"
#include "postrec/error.hpp"
#include "postrec/spectral_noise.hpp"
#include "run/session.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;

constexpr const char* kAuto = "auto";

std::string joined(const std::vector<std::int64_t>& numbers) {
  std::string text;
  for (const std::int64_t number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text;
}

/// "32,64,128".
std::vector<std::int64_t> numbers_of(const CommandOptions& options, const std::string& name) {
  const auto text = options.get<std::string>(name);
  std::vector<std::int64_t> numbers;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) {
    std::int64_t number = 0;
    const auto [end, status] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (status != std::errc() || end != word.data() + word.size()) throw Error(ErrorKind::kUsage, "--" + name + " is '" + text + "'", "write whole numbers, as 32,64,128");
    numbers.push_back(number);
  }
  return numbers;
}

void read_objective(const CommandOptions& options, TrainingOptions& training) {
  const std::string objective = options.choice("objective", {"denoising", "sliced", "sliced-vr"});
  if (objective != "denoising") training.sliced = objective == "sliced" ? SlicedNorm::kProjected : SlicedNorm::kExact;
  const std::string weighting = options.choice("weighting", {kAuto, "sigma-squared", "likelihood", "edm"});
  if (weighting == "sigma-squared") training.weighting = Weighting::kSigmaSquared;
  if (weighting == "likelihood") training.weighting = Weighting::kLikelihood;
  if (weighting == "edm") training.weighting = Weighting::kEdm;
  const std::string process = options.choice("process", {kAuto, "ve", "vp", "sub-vp", "edm", "ncsn"});
  if (process != kAuto) training.process = make_noise_process(process, {});
}

void read_network(const CommandOptions& options, UNetConfig& network) {
  network.widths = numbers_of(options, "widths");
  network.blocks = numbers_of(options, "blocks");
  network.unshuffle = options.get<std::int64_t>("unshuffle");
  network.group_norm = options.has("group-norm");
  network.attention = options.has("attention");
}

/// What is not as it usually is.
std::string unusual_text(const TrainingOptions& options) {
  constexpr std::array kProcesses = {"ve", "vp", "sub-vp", "edm", "ncsn"};
  constexpr std::array kWeightings = {"sigma-squared", "likelihood", "edm"};
  std::string text;
  if (options.network.unshuffle > 1) text += ", unshuffle " + std::to_string(options.network.unshuffle);
  if (options.network.group_norm) text += ", group norm";
  if (options.network.attention) text += ", attention";
  if (options.sliced) text += *options.sliced == SlicedNorm::kProjected ? ", objective sliced" : ", objective sliced-vr";
  if (options.process) text += std::string(", process ") + kProcesses[static_cast<std::size_t>(options.process->kind())];
  if (options.weighting) text += std::string(", weighting ") + kWeightings[static_cast<std::size_t>(*options.weighting)];
  if (options.masked_fourier.share > 0) text += ", conditional masked-fourier";
  return text;
}

}  // namespace

void add_network_options(CommandOptions& options) {
  const TrainingOptions usual;
  options.add_group("Options of --kind network", "kind", "network")                                                                                 //
      ("validation", po::value<std::vector<std::string>>()->composing()->value_name("SCAN"), "scans to judge by (repeatable); else a share is split off")  //
      ("validation-share", po::value<double>()->default_value(0.1, "0.1")->value_name("X"), "of the slices, by whole subjects")                       //
      ("subjects", po::value<std::string>()->value_name("FILE"), "whose scan each is: lines file,subject; else by file name")                       //
      ("steps", po::value<std::int64_t>()->default_value(usual.n_steps)->value_name("N"), "training steps")                                          //
      ("decay-steps", po::value<std::int64_t>()->default_value(usual.n_decay_steps)->value_name("N"), "the last of them, with a falling learning rate") //
      ("warm-up", po::value<std::int64_t>()->default_value(usual.n_warm_up_steps)->value_name("N"), "the first, with a rising one")                  //
      ("learning-rate", po::value<double>()->default_value(usual.learning_rate, "0.001")->value_name("X"), "of AdamW")                               //
      ("batch-pixels", po::value<std::int64_t>()->default_value(usual.pixels_per_step)->value_name("N"), "of all crops of a step")                   //
      ("clip-norm", po::value<double>()->default_value(usual.clip_norm)->value_name("X"), "longest gradient")                                        //
      ("average-decay", po::value<double>()->default_value(usual.average_decay, "0.999")->value_name("X"), "of the averaged weights, which are kept") //
      ("widths", po::value<std::string>()->default_value(joined(usual.network.widths))->value_name("LIST"), "channels per level")                   //
      ("blocks", po::value<std::string>()->default_value(joined(usual.network.blocks))->value_name("LIST"), "residual blocks per level")            //
      ("group-norm", "normalise the features")                                                                                                       //
      ("attention", "at the coarsest level")                                                                                                         //
      ("unshuffle", po::value<std::int64_t>()->default_value(usual.network.unshuffle)->value_name("N"), "fold 2x2 or 4x4 pixels into channels: 1, 2 or 4") //
      ("objective", po::value<std::string>()->default_value("denoising")->value_name("NAME"), "denoising, sliced or sliced-vr")                      //
      ("weighting", po::value<std::string>()->default_value(kAuto)->value_name("NAME"), "auto (EDM's, for coloured images), edm, sigma-squared or likelihood") //
      ("process", po::value<std::string>()->default_value(kAuto)->value_name("NAME"), "noise levels: auto (log-normal, more for large crops), ve, vp, sub-vp, edm or ncsn") //
      ("conditional", po::value<std::string>()->default_value("none")->value_name("KIND"), "masked-fourier: half of the steps teach it to use k-space of one coil too") //
      ("from", po::value<std::string>()->value_name("FILE"), "a network prior to fine-tune")                                                         //
      ("checkpoint", po::value<std::string>()->value_name("FILE"), "default: the output's name with .checkpoint")                                    //
      ("checkpoint-minutes", po::value<double>()->default_value(2.0)->value_name("X"), "between two of them")                                        //
      ("resume", "go on from the checkpoint")                                                                                                        //
      ("device", po::value<std::string>()->default_value("cpu")->value_name("NAME"), "cpu, or cuda with mixed precision");
}

TrainingOptions network_options(const CommandOptions& options, SpectralBasis basis, bool smooth_phase, PriorIntensity intensity) {
  TrainingOptions training;
  training.n_steps = options.get<std::int64_t>("steps");
  training.n_decay_steps = std::min(options.get<std::int64_t>("decay-steps"), training.n_steps);
  training.n_warm_up_steps = options.get<std::int64_t>("warm-up");
  training.learning_rate = options.get<double>("learning-rate");
  training.pixels_per_step = options.get<std::int64_t>("batch-pixels");
  training.clip_norm = options.get<double>("clip-norm");
  training.average_decay = options.get<double>("average-decay");
  training.seed = options.get<std::uint64_t>("seed");
  training.device = compute_device(options.choice("device", {"cpu", "cuda"}));
  read_network(options, training.network);
  read_objective(options, training);
  if (options.choice("conditional", {"none", "masked-fourier"}) == "masked-fourier") {
    training.network.conditions = SpectralNoise::kSummarySize;
    training.masked_fourier.share = 0.5;
  }
  training.augmentation.smooth_phase = basis == SpectralBasis::kDft && smooth_phase;
  if (intensity == PriorIntensity::kPercentile) {
    training.augmentation.max_log_gain = 0.2;
    training.augmentation.max_log_gamma = 0.3;
  }
  training.validate();
  return training;
}

TrainingRun training_run(const CommandOptions& options, const std::filesystem::path& output) {
  TrainingRun run;
  run.checkpoint = options.has("checkpoint") ? std::filesystem::path(options.get<std::string>("checkpoint")) : std::filesystem::path(output.string() + ".checkpoint");
  const double minutes = options.get<double>("checkpoint-minutes");
  if (!(minutes > 0) || !std::isfinite(minutes)) throw Error(ErrorKind::kUsage, "--checkpoint-minutes is " + std::to_string(minutes), "it must be positive");
  run.checkpoint_seconds = 60.0 * minutes;
  if (options.has("from")) run.start_from = options.get<std::string>("from");
  run.resume = options.has("resume");
  const bool overwrite = options.choice("on-existing", {"fail", "overwrite"}) == "overwrite";
  if (!run.resume && !overwrite && std::filesystem::exists(run.checkpoint))
    throw Error(ErrorKind::kCannotCreate, "--checkpoint '" + run.checkpoint.string() + "' exists", "go on from it with --resume, or give another name or --on-existing overwrite");
  return run;
}

std::string training_text(const TrainingOptions& options) {
  std::ostringstream text;
  text << "widths " << joined(options.network.widths) << ", blocks " << joined(options.network.blocks) << "; " << options.n_steps << " steps of "
       << options.pixels_per_step << " pixels, learning rate " << options.learning_rate << ", seed " << options.seed << unusual_text(options) << "; postrec " << program_version();
  return text.str();
}

}  // namespace postrec
