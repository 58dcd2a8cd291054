#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "case/seeds.hpp"
#include "case/simulation.hpp"
#include "cli/console.hpp"
#include "cli/interrupt.hpp"
#include "cli/progress.hpp"
#include "commands/commands.hpp"
#include "options/options.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/prior_file.hpp"
#include "postrec/prior_likelihood.hpp"
#include "postrec/random.hpp"
#include "postrec/sha256.hpp"
#include "postrec/typicality.hpp"
#include "result/result_folder.hpp"
#include "training/training_scans.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct LikelihoodRequest {
  fs::path prior;
  CodePolicy code = CodePolicy::kRefuse;
  std::optional<std::int64_t> slice;
  std::string unit;                            ///< auto, hu, arbitrary, attenuation
  bool smooth_phase = false;
  std::optional<double> threshold;             ///< bits per dimension
  std::optional<double> bin_width;             ///< of a stored number
  std::uint64_t seed = 0;
  std::int64_t reduce = 1;
  bool density = true;
  std::optional<fs::path> typical;             ///< images of the prior's kind; else those beside it, if any
  std::optional<fs::path> write_typical;
  std::int64_t per_scan = 4;
  PriorLikelihoodOptions how;
};

CommandOptions declared_options() {
  CommandOptions options("likelihood", "SCAN...", 1, 100000,
                         "How likely a prior finds each slice, in bits per dimension (low: likely), by its probability flow, and whether it is of the prior's "
                         "kind at all: how far the denoiser's errors on it are from those on known images. Smooth images of anything have few bits; go by the "
                         "verdict. SCAN: files, DICOM folders, or folders of files. Noise of level --sigma is added for the density: it is that of noisy images.",
                         "postrec likelihood head.nii.gz --slice 90 --prior brain-mr --threshold -2");
  options.add()("prior", po::value<std::string>()->value_name("PRIOR"), "file, or one that ships (required)")                                     //
      ("slice", po::value<std::int64_t>()->value_name("K"), "only this slice, counted from 0")                                                   //
      ("unit", po::value<std::string>()->default_value("auto")->value_name("UNIT"), "of the numbers: auto, hu, arbitrary (plain numbers), or attenuation (HU, as 1 + HU/1000)")  //
      ("phase", po::value<std::string>()->default_value("zero")->value_name("KIND"), "for priors of complex images: zero or smooth")              //
      ("sigma", po::value<double>()->default_value(0.0, "0")->value_name("X"), "noise level in model units; 0: the prior's lowest")               //
      ("probes", po::value<std::int64_t>()->default_value(4)->value_name("N"), "random vectors of the trace estimate")                           //
      ("probe-basis", po::value<std::string>()->default_value("spectral")->value_name("KIND"), "where they are signs: spectral or pixels")        //
      ("exact-trace", po::bool_switch(), "no probes: for images of at most 4096 numbers")                                                        //
      ("rtol", po::value<double>()->default_value(1e-3, "1e-3")->value_name("X"), "tolerated error of a step, over the noise level")              //
      ("atol", po::value<double>()->default_value(1e-4, "1e-4")->value_name("X"), "the same in bits per dimension")                               //
      ("bin-width", po::value<double>()->value_name("X"), "also say it for noisy images rounded to this step")                                       //
      ("threshold", po::value<double>()->value_name("X"), "mark slices above so many bits per dimension")                                         //
      ("no-density", po::bool_switch(), "the verdict alone: 6 evaluations of the prior a slice")                                                  //
      ("typical", po::value<std::string>()->value_name("FILE"), "known images to compare with; else PRIOR.typical.json beside the prior, if there is one")  //
      ("write-typical", po::value<std::string>()->value_name("FILE"), "make such a file of SCANs that are known to be of the prior's kind")       //
      ("per-scan", po::value<std::int64_t>()->default_value(4)->value_name("N"), "for it: slices of a scan, evenly spaced; almost empty ones are left out")  //
      ("reduce", po::value<std::int64_t>()->default_value(1)->value_name("N"), "means of NxN pixels first, as the prior was trained");
  add_on_existing_option(options, "the file of --write-typical");
  add_code_option(options);
  add_run_options(options);
  add_common_options(options);
  return options;
}

LikelihoodRequest request_of(const CommandOptions& options) {
  LikelihoodRequest result;
  if (!options.has("prior")) throw Error(ErrorKind::kUsage, "--prior is missing", "give a .safetensors file or the name of one that ships");
  result.prior = find_prior(options.get<std::string>("prior"));
  result.code = code_policy(options);
  if (options.has("slice")) result.slice = options.get<std::int64_t>("slice");
  result.unit = options.choice("unit", {"auto", "hu", "arbitrary", "attenuation"});
  result.smooth_phase = options.choice("phase", {"zero", "smooth"}) == "smooth";
  if (options.has("threshold")) result.threshold = options.get<double>("threshold");
  if (result.threshold && !std::isfinite(*result.threshold)) throw Error(ErrorKind::kUsage, "--threshold is " + std::to_string(*result.threshold), "it must be a finite number");
  if (options.has("bin-width")) result.bin_width = options.get<double>("bin-width");
  if (result.bin_width && !(*result.bin_width > 0 && std::isfinite(*result.bin_width)))
    throw Error(ErrorKind::kUsage, "--bin-width is " + std::to_string(*result.bin_width), "it must be a positive number");
  if (result.bin_width && result.unit == "attenuation") *result.bin_width /= 1000.0;  // of the stored HU, as the numbers are
  result.seed = options.get<std::uint64_t>("seed");
  result.density = !options.get<bool>("no-density");
  if (options.has("typical")) result.typical = options.get<std::string>("typical");
  if (options.has("write-typical")) result.write_typical = options.get<std::string>("write-typical");
  if (result.write_typical && (result.unit == "attenuation" || result.smooth_phase || result.slice))
    throw Error(ErrorKind::kUsage, "--write-typical with --slice, --phase smooth or --unit attenuation", "known images are whole scans as they are");
  for (const auto& [name, target] : {std::pair{"per-scan", &result.per_scan}, {"reduce", &result.reduce}}) {
    *target = options.get<std::int64_t>(name);
    if (*target < 1) throw Error(ErrorKind::kUsage, std::string("--") + name + " is " + std::to_string(*target), "it must be at least 1");
  }
  result.how.sigma = options.get<double>("sigma");
  result.how.n_probes = options.get<std::int64_t>("probes");
  result.how.probe_basis = options.choice("probe-basis", {"spectral", "pixels"}) == "spectral" ? ProbeBasis::kSpectral : ProbeBasis::kPixels;
  result.how.exact_trace = options.get<bool>("exact-trace");
  result.how.flow.rtol = options.get<double>("rtol");
  result.how.flow.atol = options.get<double>("atol");
  result.how.validate();
  return result;
}

Image read_image(const fs::path& path, const LikelihoodRequest& request) {
  ScanOptions options;
  options.slice = request.slice;
  Scan scan = read_scan(path, options);
  for (const auto& warning : scan.warnings) console().information(warning);
  Image image = scan.image;
  if (request.unit == "attenuation") image.pixels = image.pixels / 1000.0 + 1.0;
  if (request.unit != "auto") image.unit = request.unit == "hu" ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;
  if (request.reduce > 1) {
    if (image.pixels.size(2) < request.reduce || image.pixels.size(3) < request.reduce)
      throw Error(ErrorKind::kBadData, "'" + path.filename().string() + "' is smaller than --reduce", "give a smaller one");
    image.pixels = at::avg_pool2d(image.pixels, {request.reduce, request.reduce});
  }
  return image;
}

void require_fit(const Image& image, const Prior& prior, const fs::path& path) {
  const std::string name = "'" + path.filename().string() + "'", who = "prior '" + prior.info().name + "'";
  if (image.unit == IntensityUnit::kHounsfield && prior.info().intensity != PriorIntensity::kRelativeWater)
    throw Error(ErrorKind::kConfiguration, name + " is CT in Hounsfield units and " + who + " is not for CT",
                "to ask all the same give --unit attenuation (air 0, water 1) or --unit arbitrary (plain numbers)");
  if (image.pixels.size(1) != prior.domain().shape.front())
    throw Error(ErrorKind::kConfiguration, name + " has " + std::to_string(image.pixels.size(1)) + " channels, " + who + " is for " + std::to_string(prior.domain().shape.front()),
                "give images of the prior's kind");
}

/// The density of one slice x [1, domain] in model units. Null when interrupted.
ordered_json density(const at::Tensor& x, const IntensityScale& scale, const Prior& prior, std::int64_t number, const LikelihoodRequest& request, Observer& observer) {
  const double sigma = request.how.sigma > 0 ? request.how.sigma : prior.range().minimum;
  const at::Tensor noise = RandomStreams(derive_seed(request.seed, number, SeedPurpose::kNoise), 0, 1).normal(0, x.sizes().slice(1).vec(), x.scalar_type());
  PriorLikelihoodOptions how = request.how;
  how.seed = derive_seed(request.seed, number, SeedPurpose::kSampling);

  const PriorLikelihood found = prior_likelihood(prior, x + sigma * noise, how, observer);
  if (found.interrupted) return {};
  ordered_json line = {{"bits_per_dimension", found.bits_per_dimension},
                       {"standard_error", std::isfinite(found.standard_error) ? ordered_json(found.standard_error) : ordered_json(nullptr)},
                       {"sigma", found.sigma},
                       {"dimensions", found.dimensions},
                       {"scale", scale.scale},
                       {"nfe", found.nfe},
                       {"vector_jacobian_products", found.n_products}};
  if (request.bin_width)
    line["quantised_bits_per_dimension"] = found.bits_per_dimension - std::log2(*request.bin_width / (scale.scale * scale.stored_per_physical));
  if (request.threshold) line["unlikely"] = found.bits_per_dimension > *request.threshold;
  return line;
}

/// What is said of one slice. Null when interrupted.
ordered_json judge(const at::Tensor& stored, IntensityUnit unit, const Prior& prior, const TypicalImages* typical, std::int64_t number, const LikelihoodRequest& request,
                   Observer& observer) {
  const IntensityScale scale = IntensityScale::make(unit, prior.info().intensity, stored);
  const at::Tensor model = scale.physical_to_model(scale.stored_to_physical(stored));
  const at::Tensor phase = request.smooth_phase ? smooth_phase_rad(derive_seed(request.seed, number, SeedPurpose::kPhase), model.size(1), model.size(2)) : at::Tensor();
  const at::Tensor x = with_phase(model, phase, prior.domain().dtype).unsqueeze(0);
  ordered_json line = {{"slice", number}};
  if (request.density) {
    const ordered_json found = density(x, scale, prior, number, request, observer);
    if (found.is_null()) return {};
    line.update(found);
  }
  if (typical != nullptr) {
    const double distance = typical->distance(band_misfits(prior, x, derive_seed(request.seed, number, SeedPurpose::kNoise)));
    // Written so that NaN does not fit.
    line["typicality"] = {{"distance", distance}, {"limit", typical->limit()}, {"verdict", distance <= typical->limit() ? "fits" : "unlikely"}};
  }
  return line;
}

void print_line(const ordered_json& line) {
  char text[64];
  const auto number = [&](const ordered_json& value, const char* format) {
    std::snprintf(text, sizeof text, format, value.get<double>());
    return std::string(text);
  };
  std::cout << line["file"].get<std::string>() << " slice " << line["slice"] << ": ";
  if (line.contains("bits_per_dimension")) {
    std::cout << number(line["bits_per_dimension"], "%.4f") << " bits/dimension";
    if (line["standard_error"].is_number()) std::cout << " +- " << number(line["standard_error"], "%.2g");
    if (line.contains("quantised_bits_per_dimension")) std::cout << ", quantised " << number(line["quantised_bits_per_dimension"], "%.4f");
    std::cout << ", sigma " << number(line["sigma"], "%.3g") << ", " << line["nfe"] << " evaluations" << (line.value("unlikely", false) ? ", UNLIKELY" : "");
  }
  if (line.contains("typicality")) {
    const ordered_json& found = line["typicality"];
    std::cout << (line.contains("bits_per_dimension") ? "; " : "") << "distance " << number(found["distance"], "%.2f") << " of at most " << number(found["limit"], "%.2f") << ": "
              << found["verdict"].get<std::string>();
  }
  std::cout << std::endl;
}

/// Constant, or so little of it above 0 that its 99.5th percentile, by which images are scaled, may be 0: an edge of a skull-stripped brain.
bool is_empty(const at::Tensor& slice) {
  constexpr double kLeastShare = 0.006;
  const bool constant = slice.eq(slice.flatten()[0]).all().item<bool>();
  return constant || slice.ne(0).sum().item<double>() < kLeastShare * static_cast<double>(slice.numel());
}

/// The known images that go with the prior: the user's, or those beside its file; none when there are none.
std::optional<TypicalImages> typical_images(const LikelihoodRequest& request) {
  const fs::path path = request.typical.value_or(TypicalImages::beside(request.prior));
  std::error_code unreadable;
  std::optional<TypicalImages> typical;
  if (request.typical || fs::exists(path, unreadable)) typical = TypicalImages::load(path);
  if (typical && typical->prior_sha256() != sha256_file(request.prior))
    throw Error(ErrorKind::kConfiguration, quoted_path(path) + " is of another prior than " + quoted_path(request.prior), "write the typical images again (--write-typical), or remove them");
  if (!typical && !request.density)
    throw Error(ErrorKind::kUsage, "--no-density, and no typical images beside " + quoted_path(request.prior), "give --typical FILE, or make one with --write-typical");
  return typical;
}

/// Nothing that is read here may be replaced.
void require_writable(const CommandOptions& options, const LikelihoodRequest& request) {
  require_new_file(options, "write-typical");
  std::error_code failure;
  std::vector<std::string> inputs = options.operands();
  inputs.push_back(request.prior.string());
  for (const auto& input : inputs)
    if (fs::equivalent(input, *request.write_typical, failure)) throw Error(ErrorKind::kUsage, "--write-typical " + quoted_path(*request.write_typical) + " is an input", "give another name");
}

/// Up to --per-scan slices of each scan, evenly spaced, their misfits written to a file. Nothing is written when the user interrupts.
void write_typical(const std::vector<fs::path>& paths, const LikelihoodRequest& request) {
  std::vector<TypicalImage> images;
  const ScanSubjects persons(paths);
  const PriorIntensity intensity = load_prior(request.prior, 0.0, request.code)->info().intensity;
  std::map<std::string, std::int64_t> subjects;
  std::string prior_sha256;
  Progress progress(static_cast<std::int64_t>(paths.size()));
  for (std::size_t p = 0; p < paths.size(); ++p) {
    progress.begin_part(static_cast<std::int64_t>(p));
    SliceOptions how{intensity, std::nullopt, request.reduce};
    if (request.unit != "auto") how.unit = request.unit == "hu" ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;
    const auto slices = read_training_slices(paths[p], how, persons);
    const auto count = std::min<std::int64_t>(request.per_scan, static_cast<std::int64_t>(slices.size()));
    for (std::int64_t k = 0; k < count; ++k) {
      const TrainingSlice& slice = slices[static_cast<std::size_t>((2 * k + 1) * static_cast<std::int64_t>(slices.size()) / (2 * count))];
      const auto prior = load_prior(request.prior, slice.pixel_mm, request.code);
      if (slice.image.size(0) != prior->domain().shape.front())
        throw Error(ErrorKind::kConfiguration, quoted_path(paths[p].filename()) + " has another number of channels than the prior", "give images of the prior's kind");
      prior_sha256 = prior->info().sha256;
      const at::Tensor x = with_phase(slice.image, at::Tensor(), prior->domain().dtype).unsqueeze(0);
      const auto subject = subjects.try_emplace(slice.subject, static_cast<std::int64_t>(subjects.size())).first->second;
      images.push_back({subject, band_misfits(*prior, x, derive_seed(request.seed, static_cast<std::int64_t>(images.size()), SeedPurpose::kNoise))});
      if (interrupting_signal() != 0) return;
    }
  }
  const TypicalImages typical(prior_sha256, std::move(images));
  typical.save(*request.write_typical);
  if (console().json()) {
    std::cout << ordered_json({{"output", request.write_typical->string()}, {"slices", typical.images().size()}, {"subjects", subjects.size()}, {"limit", typical.limit()}}).dump() << std::endl;
    return;
  }
  char text[160];
  std::snprintf(text, sizeof text, "%zu slices of %zu subjects; limit %.3f", typical.images().size(), subjects.size(), typical.limit());
  std::cout << text << std::endl;
}

/// All slices of all scans, printed as they come. Ends early when the user interrupts.
ordered_json judge_all(const std::vector<fs::path>& paths, const LikelihoodRequest& request, PriorInfo& info) {
  ordered_json lines = ordered_json::array();
  const std::optional<TypicalImages> typical = typical_images(request);
  // What a reduced pixel is depends on it; a whole one is as large as the file says.
  const PriorIntensity intensity = request.reduce > 1 ? load_prior(request.prior, 0.0, request.code)->info().intensity : PriorIntensity::kUnit;
  for (const fs::path& path : paths) {
    const Image image = read_image(path, request);
    const auto prior = load_prior(request.prior, reduced_pixel_mm(image.geometry.spacing_mm[0], request.reduce, intensity), request.code);
    info = prior->info();
    require_fit(image, *prior, path);
    Progress progress(image.pixels.size(0));
    for (std::int64_t index = 0; index < image.pixels.size(0); ++index) {
      progress.begin_part(index);
      const std::int64_t number = request.slice.value_or(index);
      if (is_empty(image.pixels[index])) {
        progress.on_message("'" + path.filename().string() + "' slice " + std::to_string(number) + " is left out: all its pixels are the same, or almost all 0");
        continue;
      }
      ordered_json line = judge(image.pixels[index], image.unit, *prior, typical ? &*typical : nullptr, number, request, progress);
      if (line.is_null() || interrupting_signal() != 0) return lines;
      ordered_json named = {{"file", path.filename().string()}};
      named.update(line);
      lines.push_back(std::move(named));
      if (!console().json()) print_line(lines.back());
    }
  }
  return lines;
}

}  // namespace

int run_likelihood(const std::vector<std::string>& arguments) {
  CommandOptions options = declared_options();
  if (!options.parse(arguments)) return 0;
  apply_threads(options);
  const LikelihoodRequest request = request_of(options);
  catch_interrupts();
  if (request.write_typical) {
    require_writable(options, request);
    write_typical(training_paths(options.operands()), request);
    return interrupting_signal() == 0 ? 0 : 128 + interrupting_signal();
  }
  PriorInfo prior;
  const ordered_json lines = judge_all(training_paths(options.operands()), request, prior);
  if (!lines.empty() && !lines.back().contains("typicality"))
    console().information("no verdict on the kind of image: there are no typical images beside the prior (--write-typical makes them)");
  if (console().json()) {
    ordered_json result = run_header(typed_command());
    result["prior"] = prior_json(prior);
    result["seed"] = request.seed;
    result["interrupted"] = interrupting_signal() != 0;
    result["images"] = lines;
    std::cout << result.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << "\n";
  }
  if (interrupting_signal() == 0) return 0;
  console().warning("interrupted: " + std::to_string(lines.size()) + " slice(s) were finished");
  return 128 + interrupting_signal();
}

}  // namespace postrec
