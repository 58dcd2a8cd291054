// Denoises a small fixed set of validation images by priors: the numbers of the model cards.
//
//   postrec_denoising KIND FOLDER SCANS [PRIOR...]
//
// KIND is brain-mr, ct or blood-smear; SCANS is a text file with one scan a line. The images are made as `postrec` scales and simulates them, and
// always the same: noise and phase are functions of the image's number. Into FOLDER go the clean and noisy images as .npy, float32 [C, H, W] in
// model units (a complex image is two channels), for denoising_peers.py, and denoising.json with the PSNR of each prior:
//   mse = mean of (D(x_t, sigma) - x)^2 over pixels, channels, real and imaginary parts;  PSNR = -10 log10 mse, so a model unit of 1 is the peak.
#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "case/seeds.hpp"
#include "case/simulation.hpp"
#include "cli/run_main.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/error.hpp"
#include "postrec/prior_file.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr std::array kSigmas = {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0};
constexpr std::uint64_t kSeed = 0;
constexpr double kAlmostEmpty = 0.1;  // of the mean magnitude of the scan's fullest slice, as in training

/// What the images of a prior are.
struct Kind {
  std::string name;
  std::int64_t n_images;
  PriorIntensity intensity;
  IntensityUnit unit;
  at::ScalarType dtype;
  bool photograph;  ///< without a pixel size; halved, which hides the blocks of JPEG
};

const std::array<Kind, 3> kKinds = {{
    {"brain-mr", 12, PriorIntensity::kPercentile, IntensityUnit::kArbitrary, at::kComplexFloat, false},
    {"ct", 10, PriorIntensity::kRelativeWater, IntensityUnit::kHounsfield, at::kFloat, false},
    {"blood-smear", 8, PriorIntensity::kByte, IntensityUnit::kArbitrary, at::kFloat, true},
}};

struct ValidationImage {
  std::string file;
  std::int64_t slice;
  double pixel_mm;   ///< 0: not known
  at::Tensor clean;  ///< [C, H, W] in model units
};

const Kind& kind_of(const std::string& name) {
  for (const Kind& kind : kKinds)
    if (kind.name == name) return kind;
  throw Error(ErrorKind::kUsage, "kind '" + name + "' is unknown", "give brain-mr, ct or blood-smear");
}

std::vector<fs::path> read_list(const fs::path& path) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorKind::kNoInput, "cannot open " + quoted_path(path), "give a text file with one scan a line");
  std::vector<fs::path> scans;
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) scans.emplace_back(line);
  if (scans.empty()) throw Error(ErrorKind::kBadData, quoted_path(path) + " lists no scan", "give one scan a line");
  return scans;
}

/// A scan in physical units, [slice, C, H, W].
at::Tensor physical_pixels(const Kind& kind, const at::Tensor& stored) {
  const at::Tensor physical = IntensityScale::make(kind.unit, kind.intensity, stored).stored_to_physical(stored);
  return kind.photograph ? at::avg_pool2d(physical, {2, 2}) : physical;
}

/// Slices that are not almost empty.
std::vector<std::int64_t> full_slices(const at::Tensor& physical) {
  const at::Tensor fullness = physical.abs().mean(at::IntArrayRef({1, 2, 3}));
  const double enough = kAlmostEmpty * fullness.max().item<double>();
  std::vector<std::int64_t> slices;
  for (std::int64_t s = 0; s < fullness.size(0); ++s)
    if (fullness[s].item<double>() > enough) slices.push_back(s);
  return slices;
}

/// As many slices of each scan as of any other, evenly spaced in it. Where they begin goes through the golden ratio's fractions, so that
/// scans that give one slice each give them at different heights.
std::vector<ValidationImage> validation_images(const Kind& kind, const std::vector<fs::path>& scans) {
  constexpr double kGoldenRatio = 1.618033988749895;
  const auto n_scans = static_cast<std::int64_t>(scans.size());
  std::vector<ValidationImage> images;
  for (std::int64_t k = 0; k < n_scans; ++k) {
    const std::int64_t count = (k + 1) * kind.n_images / n_scans - k * kind.n_images / n_scans;
    if (count == 0) continue;
    const Image image = read_scan(scans[k]).image;
    const at::Tensor physical = physical_pixels(kind, image.pixels);
    const auto slices = full_slices(physical);
    const double begin = std::fmod(static_cast<double>(k + 1) * kGoldenRatio, 1.0);
    for (std::int64_t i = 0; i < count; ++i) {
      const double position = (static_cast<double>(i) + begin) / static_cast<double>(count);
      const std::int64_t slice = slices[static_cast<std::size_t>(position * static_cast<double>(slices.size()))];
      const at::Tensor x = IntensityScale::make(kind.unit, kind.intensity, physical[slice]).physical_to_model(physical[slice]);
      const auto number = static_cast<std::int64_t>(images.size());
      const at::Tensor phase_rad = smooth_phase_rad(derive_seed(kSeed, number, SeedPurpose::kPhase), x.size(1), x.size(2));
      const double pixel_mm = kind.photograph ? 0.0 : image.geometry.spacing_mm[0];
      images.push_back({scans[k].filename().string(), slice, pixel_mm, with_phase(x, phase_rad, kind.dtype)});
    }
  }
  return images;
}

at::Tensor noisy(const at::Tensor& clean, std::int64_t number, std::size_t level) {
  const RandomStreams streams(derive_seed(kSeed, number, SeedPurpose::kNoise), 0, 1);
  return clean + kSigmas[level] * streams.normal(level, clean.sizes().vec(), clean.scalar_type()).squeeze(0);
}

/// Real and imaginary parts as channels: [C, H, W] complex -> [2 C, H, W] real.
at::Tensor real_channels(const at::Tensor& x) {
  if (!x.is_complex()) return x.contiguous();
  return at::cat({at::real(x), at::imag(x)}).contiguous();
}

double psnr_db(const at::Tensor& estimate, const at::Tensor& clean) {
  return -10.0 * std::log10((real_channels(estimate) - real_channels(clean)).to(at::kDouble).square().mean().item<double>());
}

/// NumPy's .npy, version 1.0, float32 in C order.
void write_npy(const fs::path& path, const at::Tensor& channels) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (const std::int64_t size : channels.sizes()) header += std::to_string(size) + ",";
  header += "), }";
  constexpr std::size_t kPreamble = 10, kAlignment = 64;
  header.append(kAlignment - 1 - (kPreamble + header.size()) % kAlignment, ' ') += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(static_cast<const char*>(channels.data_ptr()), channels.nbytes());
  write_atomically(path, [&](const fs::path& temporary) { write_bytes(temporary, bytes.data(), bytes.size()); });
}

nlohmann::ordered_json write_images(const fs::path& folder, const std::vector<ValidationImage>& images) {
  nlohmann::ordered_json entries = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < images.size(); ++i) {
    const std::string stem = "image_" + std::to_string(i);
    write_npy(folder / (stem + ".npy"), real_channels(images[i].clean));
    auto noisy_files = nlohmann::ordered_json::array();
    for (std::size_t level = 0; level < kSigmas.size(); ++level) {
      std::ostringstream name;
      name << stem << "_sigma_" << kSigmas[level] << ".npy";
      write_npy(folder / name.str(), real_channels(noisy(images[i].clean, static_cast<std::int64_t>(i), level)));
      noisy_files.push_back(name.str());
    }
    entries.push_back({{"scan", images[i].file},
                       {"slice", images[i].slice},
                       {"pixel_mm", images[i].pixel_mm},
                       {"clean", stem + ".npy"},
                       {"noisy", noisy_files}});
  }
  return entries;
}

/// PSNR in dB, [image][sigma].
nlohmann::ordered_json denoise_all(const fs::path& file, const std::vector<ValidationImage>& images) {
  auto psnr = nlohmann::ordered_json::array();
  std::string name;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto prior = load_prior(file, images[i].pixel_mm);
    name = prior->info().name;
    auto row = nlohmann::ordered_json::array();
    for (std::size_t level = 0; level < kSigmas.size(); ++level) {
      const at::Tensor x_t = noisy(images[i].clean, static_cast<std::int64_t>(i), level).unsqueeze(0);
      row.push_back(psnr_db(prior->denoise(x_t, kSigmas[level]).squeeze(0), images[i].clean));
    }
    psnr.push_back(row);
    std::cerr << file.filename().string() << ": image " << i + 1 << " of " << images.size() << "\n";
  }
  return {{"file", file.filename().string()}, {"name", name}, {"psnr_db", psnr}};
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 3) throw Error(ErrorKind::kUsage, "too few arguments", "postrec_denoising KIND FOLDER SCANS [PRIOR...]");
  const Kind& kind = kind_of(arguments[0]);
  const fs::path folder = arguments[1];
  const auto images = validation_images(kind, read_list(arguments[2]));
  fs::create_directories(folder);
  nlohmann::ordered_json result = {{"kind", kind.name}, {"sigmas", kSigmas}, {"images", write_images(folder, images)}};
  result["priors"] = nlohmann::ordered_json::array();
  for (std::size_t i = 3; i < arguments.size(); ++i) result["priors"].push_back(denoise_all(arguments[i], images));
  write_text_atomically(folder / "denoising.json", result.dump(2) + "\n");
  return 0;
}

}  // namespace
}  // namespace postrec

int main(int argc, char** argv) { return postrec::run_main(argc, argv, postrec::run); }
