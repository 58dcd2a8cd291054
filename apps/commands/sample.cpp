#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "case/image_size.hpp"
#include "cli/console.hpp"
#include "cli/interrupt.hpp"
#include "cli/progress.hpp"
#include "commands/commands.hpp"
#include "options/options.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/prior_file.hpp"
#include "postrec/summary.hpp"
#include "report/preview.hpp"
#include "result/result_folder.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
using nlohmann::ordered_json;

constexpr const char* kLabel = "SYNTHETIC: drawn from a prior, no patient was measured";

CommandOptions declared_options() {
  CommandOptions options("sample", "", 0, 0, "Draws images from a prior, without a measurement: what it has learned, or not.",
                         "postrec sample --prior brain-mr --size 192x224 --samples 8 --output drawn");
  add_output_options(options);
  options.add()("prior", po::value<std::string>()->value_name("PRIOR"), "file, or one that ships (required)")                             //
      ("size", po::value<std::string>()->value_name("HxW"), "rows and columns of the images (required)")                                 //
      ("pixel-mm", po::value<double>()->default_value(0.0, "0")->value_name("X"), "pixel size, for priors that adapt; 0: the prior's own")  //
      ("samples", po::value<std::int64_t>()->default_value(8)->value_name("N"), "how many")                                              //
      ("steps", po::value<int>()->default_value(50)->value_name("N"), "noise levels, one use of the prior each")                         //
      ("method", po::value<std::string>()->default_value("sde")->value_name("KIND"), "sde: the bridge sampler; ode: the probability flow")  //
      ("batch-size", po::value<std::int64_t>()->default_value(8)->value_name("N"), "samples computed together; 0: all");
  add_device_option(options.add());
  add_precision_option(options.add());
  add_code_option(options);
  add_run_options(options);
  add_common_options(options);
  return options;
}

double pixel_mm_of(const CommandOptions& options) {
  const double pixel_mm = options.get<double>("pixel-mm");
  if (!(pixel_mm >= 0.0 && pixel_mm < 1e6)) throw Error(ErrorKind::kUsage, "--pixel-mm is " + std::to_string(pixel_mm), "it must be positive, or 0 for the prior's own");
  return pixel_mm;
}

/// Of the images: what was asked for, else the prior's own; 0 where nobody says.
double pixel_mm_of_images(const Prior& prior, double wanted) {
  const auto* gaussian = dynamic_cast<const GaussianPrior*>(&prior);
  return wanted > 0.0 || !gaussian ? wanted : gaussian->pixel_mm();
}

SamplerOptions sampler_options(const CommandOptions& options) {
  SamplerOptions result;
  result.method = options.choice("method", {"sde", "ode"}) == "sde" ? "bridge" : "prior";
  result.n_samples = options.get<std::int64_t>("samples");
  result.batch_size = options.get<std::int64_t>("batch-size");
  result.n_steps = options.get<int>("steps");
  result.seed = options.get<std::uint64_t>("seed");
  result.device = compute_device(wanted_device(options));
  result.validate();
  return result;
}

/// The samples of model units as a scan would hold them: HU for a CT prior, 0..255 for pictures, else with an intensity scale of 1. Complex: magnitudes.
Image as_stored(const at::Tensor& x, PriorIntensity intensity, double pixel_mm) {
  Image image;
  image.unit = intensity == PriorIntensity::kRelativeWater ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;
  image.pixels = IntensityScale::make(image.unit, intensity, at::ones({1}, at::kFloat)).model_to_stored(displayed(x));
  if (pixel_mm > 0.0) image.geometry.spacing_mm = {pixel_mm, pixel_mm, pixel_mm};
  return image;
}

/// The samples [n, C, H, W] side by side, as square as it gets: [C, rows H, columns W].
at::Tensor sheet_of(const at::Tensor& samples) {
  const std::int64_t n = samples.size(0), columns = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(n)))), rows = (n + columns - 1) / columns;
  const std::int64_t height = samples.size(2), width = samples.size(3);
  at::Tensor sheet = at::full({samples.size(1), rows * height, columns * width}, samples.min().item<double>(), at::kFloat);
  for (std::int64_t k = 0; k < n; ++k) sheet.narrow(1, k / columns * height, height).narrow(2, k % columns * width, width).copy_(samples[k]);
  return sheet;
}

ordered_json run_json(const PriorInfo& prior, NetworkPrecision precision, const SamplerOptions& options, const Samples& samples, const Image& image) {
  ordered_json run = run_header(typed_command());
  run["origin"] = "prior";
  run["label"] = kLabel;
  run["prior"] = prior_json(prior);
  run["sampler"] = {{"method", options.method}, {"samples", options.n_samples}, {"steps", options.n_steps}, {"batch_size", options.batch_size}, {"seed", options.seed},
                    {"sigmas", samples.report.sigmas}};
  run["device"] = options.device.str();
  run["precision"] = precision_name(precision);
  run["threads"] = at::get_num_threads();
  run["unit"] = image.unit == IntensityUnit::kHounsfield ? "hu" : "arbitrary";
  run["size"] = image.pixels.sizes().slice(1).vec();
  run["interrupted"] = samples.report.interrupted;
  run["samples_kept"] = image.pixels.size(0);
  run["nfe"] = samples.report.nfe;
  run["seconds"] = samples.report.seconds;
  return run;
}

void say_result(const OutputFolder& output, const ordered_json& run) {
  if (console().json()) {
    const ordered_json line = {{"output", output.final_path().string()}, {"origin", "prior"}, {"interrupted", run["interrupted"]}, {"samples_kept", run["samples_kept"]}};
    std::cout << line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << "\n";
  } else if (!console().quiet) {
    std::cout << kLabel << "\n" << run["samples_kept"] << " sample(s) of prior " << run["prior"]["name"].get<std::string>() << ", " << run["nfe"]
              << " evaluations each, written to " << output.final_path().string() << "\n";
  }
}

}  // namespace

int run_sample(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  apply_threads(options);
  const SamplerOptions how = sampler_options(options);
  if (!options.has("size")) throw Error(ErrorKind::kUsage, "--size is missing", "give rows and columns, e.g. 192x224");
  const auto [height, width] = image_size(options.get<std::string>("size"));
  const double pixel_mm = pixel_mm_of(options);
  if (!options.has("prior")) throw Error(ErrorKind::kUsage, "--prior is missing", "give a .safetensors file or the name of one that ships");
  const std::filesystem::path file = find_prior(options.get<std::string>("prior"));
  OutputFolder output = required_output(options, {file}, {"run.json"});
  const auto prior = in_precision(load_prior(file, pixel_mm, code_policy(options)), wanted_precision(options), how.device);
  catch_interrupts();

  Samples samples;
  {
    Progress progress(1);
    samples = sample(*prior, nullptr, {prior->domain().shape.front(), height, width}, how, progress);
  }
  if (samples.x.size(0) == 0) throw Error(ErrorKind::kInterrupted, "interrupted before the first sample was finished", "nothing is written");
  const Image image = as_stored(samples.x.cpu(), prior->info().intensity, pixel_mm_of_images(*prior, pixel_mm));
  write_samples(output.folder(), image.pixels.unsqueeze(1), image.geometry, image.unit);
  const at::Tensor sheet = sheet_of(image.pixels);
  write_preview(output.folder() / "samples.png", sheet, image.geometry, grey_window(sheet, image.unit));
  const ordered_json run = run_json(prior->info(), precision_of(*prior), how, samples, image);
  write_text_atomically(output.folder() / "run.json", run.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  output.commit();
  say_result(output, run);
  return samples.report.interrupted ? 128 + interrupting_signal() : 0;
}

}  // namespace postrec
