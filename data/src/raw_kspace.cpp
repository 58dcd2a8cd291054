#include "postrec/data/raw_kspace.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>

#include "input_file.hpp"
#include "mrd_kspace.hpp"
#include "postrec/data/scratch_tensor.hpp"
#include "postrec/error.hpp"
#include "postrec/whitened_operator.hpp"
#include "prewhitening.hpp"

namespace postrec {

namespace {

/// [ky, kx]: what was acquired of any slice.
at::Tensor acquired_of_any(const at::Tensor& counts) {
  at::Tensor of_any = counts[0].gt(0);
  for (std::int64_t slice = 1; slice < counts.size(0); ++slice) of_any.logical_or_(counts[slice].gt(0));
  return of_any;
}

/// The slices of which anything was acquired, in order. The others are beyond the object.
std::vector<std::int64_t> acquired_slices(const at::Tensor& counts) {
  std::vector<std::int64_t> slices;
  for (std::int64_t slice = 0; slice < counts.size(0); ++slice)
    if (counts[slice].gt(0).any().item<bool>()) slices.push_back(slice);
  return slices;
}

/// The mask of all slices [ky, kx], or of each one [slice, 1, ky, kx] where they differ. A slice of which nothing was acquired is beyond the object, and sampled as the others.
at::Tensor mask_of(const at::Tensor& counts, const std::filesystem::path& scratch) {
  const at::Tensor of_any = acquired_of_any(counts);
  const auto acquired = [&](std::int64_t slice) {
    const at::Tensor own = counts[slice].gt(0);
    return (own.any().item<bool>() ? own : of_any).to(at::kFloat);
  };
  const at::Tensor first = acquired(0);
  bool same = true;
  for (std::int64_t slice = 1; same && slice < counts.size(0); ++slice) same = acquired(slice).equal(first);
  if (same) return first;
  const at::Tensor masks = scratch_tensor(scratch, counts.sizes(), at::kFloat);
  for (std::int64_t slice = 0; slice < counts.size(0); ++slice) masks[slice].copy_(acquired(slice));
  return masks.unsqueeze(1);
}

// A noise scan is not believed when the rim of k-space is quieter than this, or louder and yet alike in all combinations of coils.
constexpr double kQuietest = 0.5, kLoudest = 2.0;
// K-space further inside is so much louder where the edge holds signal.
constexpr double kSignalFalls = 1.15;

/// A k-space whose samples all have the noise of one measurement, and where every slice was measured.
struct EvenNoise {
  at::Tensor kspace, mask;
};

/// What whitens by the noise scan, if there is one that the k-space does not contradict.
std::optional<CoilWhitening> whitening_by_scan(const at::Tensor& noise, const EvenNoise& even, std::vector<std::string>& notes) {
  if (!noise.defined()) return std::nullopt;
  const auto covariance = noise_covariance(noise);
  if (!covariance) {
    notes.push_back("the noise scan is not used: it has too few samples or linearly dependent coils");
    return std::nullopt;
  }
  const CoilWhitening whitening(*covariance);
  const auto edge = edge_noise(whitening.whiten(even.kspace), even.mask);
  if (edge && (edge->sigma < kQuietest || (edge->sigma > kLoudest && edge->alike))) {
    char factor[32];
    std::snprintf(factor, sizeof factor, "%.2g", edge->sigma);
    notes.push_back(std::string("the noise scan is not used: the noise at the edge of k-space is ") + factor + " times as large as it says");
    return std::nullopt;
  }
  return whitening;
}

std::optional<CoilWhitening> whitening_by_edge(const EvenNoise& even, std::vector<std::string>& notes) {
  const auto covariance = edge_noise_covariance(even.kspace, even.mask);
  if (!covariance) return std::nullopt;
  const CoilWhitening whitening(*covariance);
  const auto edge = edge_noise(whitening.whiten(even.kspace), even.mask);
  if (edge && edge->fall > kSignalFalls)
    notes.push_back("the edge of k-space still holds signal: the noise is smaller than it seems there; give --sigma-y or --noise-covariance if you know it");
  return whitening;
}

/// Some slices, evenly spaced: noise that they share is seen in them as well as in all.
EvenNoise even_noise(const GatheredKspace& gathered, const std::vector<std::int64_t>& acquired) {
  constexpr std::int64_t kEnough = 8;
  const auto n_slices = static_cast<std::int64_t>(acquired.size()), n = std::min(n_slices, kEnough);
  at::Tensor mask = gathered.counts[acquired.front()].gt(0);
  for (const std::int64_t slice : acquired) mask = mask.logical_and(gathered.counts[slice].gt(0));
  std::vector<at::Tensor> slices;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t slice = acquired[static_cast<std::size_t>((2 * i + 1) * n_slices / (2 * n))];
    slices.push_back(gathered.kspace[slice] * gathered.counts[slice].sqrt());
  }
  return {at::stack(slices), mask};
}

/// Makes the noise of `raw` white with variance 1 for one measurement of a sample.
void prewhiten(RawKspace& raw, const GatheredKspace& gathered, const std::vector<std::int64_t>& acquired) {
  const at::Tensor& y = raw.measurement.y;
  const EvenNoise even = even_noise(gathered, acquired);
  auto whitening = whitening_by_scan(gathered.noise, even, raw.notes);
  raw.sigma_y_source = "1 after pre-whitening by the noise scan";
  if (!whitening) {
    whitening = whitening_by_edge(even, raw.notes);
    raw.sigma_y_source = "1 after pre-whitening by the outermost 5 % of the acquired k-space";
  }
  if (!whitening) {
    raw.sigma_y_source.clear();
    raw.notes.push_back("the noise was not made white: there is no noise scan to use, and at the edge of k-space too few samples or no noise");
    return;
  }
  for (std::int64_t slice = 0; slice < y.size(0); ++slice) y.narrow(0, slice, 1).copy_(whitening->whiten(y.narrow(0, slice, 1)));
  raw.measurement.sigma_y = 1.0;
  raw.whitening = std::make_shared<CoilWhitening>(*whitening);
}

/// One number of measurements for all samples makes the noise smaller, where that is known by now; else they are weights, those of a slice without any as if each of its
/// samples had been measured once.
void account_for_averages(RawKspace& raw, const at::Tensor& counts, const std::vector<std::int64_t>& acquired, bool knows_noise) {
  double least = std::numeric_limits<double>::infinity(), most = 0;
  for (const std::int64_t slice : acquired) {
    const at::Tensor measured = counts[slice].masked_select(counts[slice].gt(0));
    least = std::min(least, measured.min().item<double>());
    most = std::max(most, measured.max().item<double>());
  }
  if (most == 1) return;
  const std::string means = least == most ? "every sample is the mean of " + std::to_string(std::lround(most))
                                          : "samples are means of " + std::to_string(std::lround(least)) + " to " + std::to_string(std::lround(most));
  raw.notes.push_back(means + " measurements" + (knows_noise ? "" : "; --sigma-y and --noise-covariance are of one"));
  if (knows_noise && least == most) {
    raw.measurement.sigma_y /= std::sqrt(most);
    return;
  }
  const at::Tensor of_any = acquired_of_any(counts);
  for (std::int64_t slice = 0; slice < counts.size(0); ++slice)
    if (!std::binary_search(acquired.begin(), acquired.end(), slice)) counts[slice].copy_(of_any);
  raw.weights = counts.unsqueeze(1).expand(raw.measurement.y.sizes());
}

/// Takes out the coils that hold nothing but zeros: they say nothing, and noise that is not there cannot be made white.
void leave_out_dead_coils(GatheredKspace& gathered, RawKspace& raw, const std::filesystem::path& scratch) {
  const at::Tensor& kspace = gathered.kspace;
  at::Tensor alive = at::zeros({kspace.size(1)}, at::kBool);
  for (std::int64_t slice = 0; slice < kspace.size(0); ++slice) alive.logical_or_(kspace[slice].flatten(1).ne(0).any(1));
  if (alive.all().item<bool>()) return;
  raw.coils = at::nonzero(alive).squeeze(1);
  const at::Tensor rest = scratch_tensor(scratch, {kspace.size(0), raw.coils.size(0), kspace.size(2), kspace.size(3)}, kspace.scalar_type());
  for (std::int64_t slice = 0; slice < kspace.size(0); ++slice) rest[slice].copy_(kspace[slice].index_select(0, raw.coils));
  gathered.kspace = rest;
  if (gathered.noise.defined()) gathered.noise = gathered.noise.index_select(0, raw.coils);
  std::string names;
  for (std::int64_t coil = 0; coil < alive.size(0); ++coil)
    if (!alive[coil].item<bool>()) names += (names.empty() ? "" : ", ") + std::to_string(coil);
  raw.notes.push_back("of the coils, counted from 0, number " + names + " hold(s) nothing but zeros and is left out");
}

}  // namespace

bool is_raw_kspace(const std::filesystem::path& path) { return ends_with(path, ".h5") || ends_with(path, ".hdf5") || ends_with(path, ".mrd"); }

RawKspace read_raw_kspace(const std::filesystem::path& path, const RawKspaceOptions& options) {
  const std::string name = quoted_path(path);
  const MrdFile file(path, options.scratch);
  const bool fast_mri = file.kind() == MrdFile::Kind::kFastMri;
  GatheredKspace gathered = fast_mri ? gather_fast_mri(file, name, options.scratch) : gather_ismrmrd(file, name, options.scratch);
  const auto acquired = acquired_slices(gathered.counts);
  if (acquired.empty()) throw Error(ErrorKind::kBadData, name + ": its k-space is 0 everywhere", "give a file with data");

  RawKspace raw;
  raw.notes = gathered.notes;
  leave_out_dead_coils(gathered, raw, options.scratch);
  Measurement& measurement = raw.measurement;
  measurement.y = gathered.kspace;
  measurement.geometry = gathered.geometry;
  measurement.operator_name = "mri-fourier";
  measurement.parameters.set("coils", measurement.y.size(1));
  measurement.parameters.set("height", measurement.y.size(2));
  measurement.parameters.set("width", measurement.y.size(3));
  if (fast_mri) measurement.parameters.set("undersample-axis", "x");  // its rows are readouts' samples
  measurement.parameters.set("mask", mask_of(gathered.counts, options.scratch));
  if (options.prewhiten) prewhiten(raw, gathered, acquired);
  account_for_averages(raw, gathered.counts, acquired, options.prewhiten);
  return raw;
}

}  // namespace postrec
