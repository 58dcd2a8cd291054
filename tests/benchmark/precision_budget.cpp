// What a precision of the network adds to the error of a prior's denoiser: the table of core/README.md.
//
//   postrec_precision PRIOR SCAN...
//
// Takes eight slices, evenly spread over the scans, scaled as `postrec train` scales them (photographs halved), and at twelve noise levels of the prior's range compares the
// denoiser D_p in precision p, emulated on the CPU, with D in float32: E |D_p - D|^2 / E |D - x0|^2, over all frequencies and in the octave of frequency where it is largest.
// Prints a row for each level and, last, the largest of all levels. A precision is worth using up to 1 %: the spread of samples then changes by less than .5 %.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "case/seeds.hpp"
#include "cli/run_main.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/prior_file.hpp"
#include "postrec/random.hpp"
#include "training/denoising_check.hpp"
#include "training/training_scans.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kImages = 8;
constexpr int kLevels = 12;
constexpr std::uint64_t kSeed = 0;
constexpr double kHighest = 0.7071;            // cycles per pixel, in the corner of a spectrum
constexpr std::size_t kOctaves = 5;            // the last one reaches down to frequency 0
constexpr std::array kPrecisions = {NetworkPrecision::kTf32, NetworkPrecision::kBfloat16};

/// Energy by octave of frequency, the highest first.
using Spectrum = std::array<double, kOctaves>;

/// Which octave each frequency of an image lies in, int64 [H, W], in the order of the basis.
at::Tensor octaves(SpectralBasis basis, std::int64_t height, std::int64_t width) {
  const auto axis = [&](std::int64_t n) {
    const at::Tensor k = at::arange(n, at::kDouble);
    return basis == SpectralBasis::kDft ? (k - static_cast<double>(n / 2)) / static_cast<double>(n) : k / (2.0 * static_cast<double>(n));
  };
  const at::Tensor f = (axis(height).square().unsqueeze(1) + axis(width).square().unsqueeze(0)).sqrt();
  return (kHighest / f.clamp_min(1e-9)).log2().floor().clamp(0, static_cast<double>(kOctaves) - 1).to(at::kLong);
}

void add_energy(Spectrum& sum, SpectralBasis basis, const at::Tensor& error) {
  const SpectralCovariance transform(basis, at::ones(error.sizes().slice(1), at::kFloat));
  const at::Tensor power = at::abs(transform.to_basis(error)).to(at::kDouble).square().sum(at::IntArrayRef{0, 1}), octave = octaves(basis, error.size(2), error.size(3));
  for (std::size_t i = 0; i < kOctaves; ++i) sum[i] += power.masked_select(octave.eq(static_cast<std::int64_t>(i))).sum().item<double>();
}

/// Shares in percent.
struct Share {
  double whole = 0.0, worst_octave = 0.0;
};

Share share_of(const Spectrum& added, const Spectrum& error) {
  double sum_added = 0.0, sum_error = 0.0;
  Share share;
  for (std::size_t i = 0; i < kOctaves; ++i) {
    sum_added += added[i];
    sum_error += error[i];
    share.worst_octave = std::max(share.worst_octave, 100.0 * added[i] / error[i]);
  }
  share.whole = 100.0 * sum_added / sum_error;
  return share;
}

using Row = std::array<Share, kPrecisions.size()>;

/// `others`: the prior in each of kPrecisions.
Row row_at(double sigma, int level, const NetworkPrior& prior, const std::vector<NetworkPrior>& others, const std::vector<at::Tensor>& images) {
  const SpectralBasis basis = prior.network().gaussian().basis();
  Spectrum error{};
  std::array<Spectrum, kPrecisions.size()> added{};
  for (std::size_t i = 0; i < images.size(); ++i) {
    const at::Tensor x0 = images[i].unsqueeze(0);
    const RandomStreams streams(derive_seed(kSeed, static_cast<std::int64_t>(i), SeedPurpose::kNoise), 0, 1);
    const at::Tensor x_t = x0 + sigma * streams.normal(static_cast<std::uint64_t>(level), images[i].sizes().vec(), x0.scalar_type()), exact = prior.denoise(x_t, sigma);
    add_energy(error, basis, exact - x0);
    for (std::size_t p = 0; p < kPrecisions.size(); ++p) add_energy(added[p], basis, others[p].denoise(x_t, sigma) - exact);
  }
  Row row;
  for (std::size_t p = 0; p < kPrecisions.size(); ++p) row[p] = share_of(added[p], error);
  return row;
}

void print(const std::string& what, const Row& row) {
  std::printf("| %s |", what.c_str());
  for (const Share& share : row) std::printf(" %.2g, %.2g |", share.whole, share.worst_octave);
  std::printf("\n");
  std::fflush(stdout);
}

std::vector<at::Tensor> images_for(const NetworkPrior& prior, const std::vector<std::string>& scans) {
  const PriorIntensity intensity = prior.info().intensity;
  SliceOptions how;
  how.intensity = intensity;
  how.unit = intensity == PriorIntensity::kRelativeWater ? IntensityUnit::kHounsfield : IntensityUnit::kArbitrary;
  how.reduce = intensity == PriorIntensity::kByte ? 2 : 1;
  std::vector<TrainingSlice> slices;
  for (const fs::path& path : training_paths(scans))
    for (TrainingSlice& slice : read_training_slices(path, how)) slices.push_back(std::move(slice));
  const bool is_complex = prior.network().gaussian().basis() == SpectralBasis::kDft;
  return spread_images(slices, kImages, is_complex, /*smooth_phase=*/is_complex, kSeed);
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) throw Error(ErrorKind::kUsage, "too few arguments", "postrec_precision PRIOR SCAN...");
  const auto loaded = load_prior(arguments.front());
  const auto* prior = dynamic_cast<const NetworkPrior*>(loaded.get());
  if (prior == nullptr) throw Error(ErrorKind::kUsage, "prior " + quoted_path(arguments.front()) + " has no network", "give one that has");
  const std::vector<at::Tensor> images = images_for(*prior, {arguments.begin() + 1, arguments.end()});
  const at::NoGradGuard no_grad;
  std::printf("%s, %zu slices: share of the error's variance in percent, in all and in its worst octave of frequency\n\n| sigma | tf32 | bfloat16 |\n|---|---|---|\n", prior->info().name.c_str(),
              images.size());
  std::vector<NetworkPrior> others;
  for (const NetworkPrecision precision : kPrecisions) others.push_back(prior->in_precision(precision));
  const SigmaRange range = prior->range();
  Row largest{};
  for (int level = 0; level < kLevels; ++level) {
    const double sigma = range.minimum * std::pow(range.maximum / range.minimum, static_cast<double>(level) / (kLevels - 1));
    const Row row = row_at(sigma, level, *prior, others, images);
    for (std::size_t p = 0; p < row.size(); ++p) largest[p] = {std::max(largest[p].whole, row[p].whole), std::max(largest[p].worst_octave, row[p].worst_octave)};
    char text[32];
    std::snprintf(text, sizeof text, "%.3g", sigma);
    print(text, row);
  }
  print("largest", largest);
  return 0;
}

}  // namespace
}  // namespace postrec

int main(int argc, char** argv) { return postrec::run_main(argc, argv, postrec::run); }
