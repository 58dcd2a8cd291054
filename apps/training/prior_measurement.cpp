#include "training/prior_measurement.hpp"

#include <ATen/ATen.h>

#include <string>
#include <utility>

#include "case/seeds.hpp"
#include "cli/progress.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/prior_file.hpp"
#include "training/denoising_check.hpp"
#include "training/network_training.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr std::int64_t kSlices = 32;           // 48 evaluations each
constexpr std::int64_t kTableSize = 32;

Prediction prediction_of(const CommandOptions& options) {
  const std::string name = options.choice("prediction", {"image", "noise", "velocity", "score"});
  return name == "image" ? Prediction::kImage : name == "noise" ? Prediction::kNoise : name == "velocity" ? Prediction::kVelocity : Prediction::kScore;
}

/// E |x - mean|^2 per real component; the mean is one number a channel for real images and 0 for complex ones, whose phase is arbitrary.
double variance_of(const std::vector<at::Tensor>& images) {
  const bool is_complex = images.front().is_complex();
  at::Tensor mean = at::zeros({images.front().size(0)}, at::kDouble);
  if (!is_complex)
    for (const at::Tensor& image : images) mean += image.to(at::kDouble).mean({1, 2}) / static_cast<double>(images.size());
  double sum = 0.0;
  for (const at::Tensor& image : images) {
    const at::Tensor centred = is_complex ? at::abs(image).to(at::kDouble) : image.to(at::kDouble) - mean.view({-1, 1, 1});
    sum += centred.square().mean().item<double>() * (is_complex ? 0.5 : 1.0);
  }
  return sum / static_cast<double>(images.size());
}

}  // namespace

void add_module_options(CommandOptions& options) {
  options.add()("remeasure", po::value<std::string>()->value_name("PRIOR"), "measure the error of this network prior anew, on scans that it was not trained on")  //
      ("measure", po::value<std::string>()->value_name("MODULE"), "make a prior of a TorchScript denoiser, forward(x, sigma), beside --output")  //
      ("prediction", po::value<std::string>()->default_value("image")->value_name("WHAT"), "that it gives: image, noise, velocity or score")          //
      ("input", po::value<std::string>()->default_value("ve")->value_name("SCALE"), "that it takes: ve, x + sigma n; vp, that over sqrt(1 + sigma^2)");
  add_code_option(options);
}

void require_measurable(const CommandOptions& options, const fs::path& output) {
  const fs::path module = options.get<std::string>("measure");
  if (code_policy(options) == CodePolicy::kRefuse)
    throw Error(ErrorKind::kUnavailable, "module " + quoted_path(module) + " is a program, which can do whatever you can", "give --allow-code if you trust where it comes from");
  if (options.get<std::string>("kind") != "gaussian") throw Error(ErrorKind::kUsage, "--measure with --kind " + options.get<std::string>("kind"), "a module is of no kind");
  if (options.get<std::string>("trained-on").empty())
    throw Error(ErrorKind::kUsage, "--trained-on is missing", "say what the module was trained on; the scans given here only measure it");
  require_beside(output, module);
}

TorchScriptModule module_to_measure(const CommandOptions& options, SpectralBasis basis, std::int64_t channels) {
  const bool is_scaled = options.choice("input", {"ve", "vp"}) == "vp";
  const ModuleConvention convention{prediction_of(options), is_scaled ? ModuleInput::kVariancePreserving : ModuleInput::kVarianceExploding, basis, channels};
  return TorchScriptModule(options.get<std::string>("measure"), convention);
}

TorchScriptPrior measured_prior(const TorchScriptModule& module, const std::vector<TrainingSlice>& slices, bool smooth_phase, std::uint64_t seed, PriorInfo info) {
  const SpectralBasis basis = module.convention().basis;
  const bool is_complex = basis == SpectralBasis::kDft;
  const auto images = spread_images(slices, kSlices, is_complex, is_complex && smooth_phase, seed);
  std::int64_t n_done = 0;
  Progress progress(static_cast<std::int64_t>(images.size() * ErrorTable::standard_sigmas().size()));
  const auto denoise = [&](const at::Tensor& x_t, double sigma) {
    if (progress.cancelled()) throw Error(ErrorKind::kInterrupted, "stopped while the module was measured", "nothing is written");
    const at::Tensor denoised = module.denoise(x_t, sigma);
    progress.finish_part(n_done++);
    return denoised;
  };
  std::vector<double> mean_squares;
  ErrorTable errors = measure_error_table(denoise, basis, images, kTableSize, derive_seed(seed, -1, SeedPurpose::kNoise), ErrorTable::standard_sigmas(), &mean_squares);
  const SigmaRange range = useful_range(errors.sigmas(), mean_squares, variance_of(images));
  info.training = "elsewhere; measured by postrec train --measure on " + std::to_string(images.size()) + " slices";
  return TorchScriptPrior(module, std::move(errors), range, std::move(info));
}

NetworkPrior remeasured_prior(const NetworkPrior& prior, const std::vector<TrainingSlice>& slices, bool smooth_phase, std::uint64_t seed) {
  ErrorTable errors = measured_errors(prior.network(), slices, smooth_phase, seed, at::kCPU, "nothing is written");
  PriorInfo info = prior.info();
  info.training += "; error measured anew on " + std::to_string(std::min(static_cast<std::int64_t>(slices.size()), kSlices)) + " slices";
  return NetworkPrior(prior.network(), std::move(errors), prior.range(), std::move(info));
}

}  // namespace postrec
