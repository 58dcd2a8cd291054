#include "postrec/denoiser_correction.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"
#include "shape_cache.hpp"
#include "spectral_transform.hpp"

namespace postrec {
namespace {

/// 0, and half octaves from 1/256 cycles per pixel to the corner of the square of frequencies.
at::Tensor standard_frequencies() {
  constexpr int kHalfOctaves = 16;
  std::vector<double> frequencies{0.0};
  for (int i = 0; i < kHalfOctaves; ++i) frequencies.push_back(std::exp2(-8.0 + 0.5 * i));
  return at::tensor(frequencies, at::kDouble).to(at::kFloat);
}

/// Each coefficient of an image, in natural order and flattened, lies between frequency `below` of a list and the next, `weight` of the latter.
struct Place {
  at::Tensor below;                            ///< int64 [H W]
  at::Tensor weight;                           ///< double [H W]
};

Place places(SpectralBasis basis, const at::Tensor& frequencies, std::int64_t rows, std::int64_t columns) {
  const at::Tensor radius = frequency_radius(basis, rows, columns).flatten(), first = frequencies[1].to(at::kDouble);
  const at::Tensor positive = frequencies.narrow(0, 1, frequencies.size(0) - 1).to(at::kDouble), last = positive[-1];
  const at::Tensor inside = at::minimum(at::maximum(radius, first), last);
  const at::Tensor above = at::bucketize(inside, positive, /*out_int32=*/false, /*right=*/true).clamp_max(positive.size(0) - 1), below = above - 1;
  const at::Tensor low = positive.take(below).log(), weight = (inside.log() - low) / (positive.take(above).log() - low);
  // In the whole list, whose first entry is the mean's.
  const at::Tensor is_mean = radius.eq(0.0);
  return {at::where(is_mean, at::zeros_like(below), below + 1), at::where(is_mean, at::zeros_like(weight), weight)};
}

/// Sums of a table [C, H, W] over frequencies, each coefficient shared between the two beside it: double [C, K].
at::Tensor shared_out(const at::Tensor& table, const Place& place, std::int64_t n) {
  const at::Tensor flat = table.to(at::kDouble).flatten(1);
  at::Tensor sums = at::zeros({table.size(0), n}, at::kDouble);
  sums.index_add_(1, place.below, flat * (1.0 - place.weight));
  return sums.index_add_(1, (place.below + 1).clamp_max(n - 1), flat * place.weight);
}

/// Re <a, b> of each coefficient.
at::Tensor products(const at::Tensor& a, const at::Tensor& b) { return a.is_complex() ? (real_view(a) * real_view(b)).sum(-1) : a * b; }

/// Where no image has a coefficient, the share of the nearest frequency with one, of the higher of two.
void fill(at::Tensor& shares, const at::Tensor& removed) {
  const std::int64_t n = shares.size(1);
  const at::Tensor measured = shares.clone();
  const auto known = [&](std::int64_t k) { return k >= 1 && k < n && removed[0][k].item<double>() > 0.0; };
  for (std::int64_t k = 1; k < n; ++k)
    for (std::int64_t distance = 0; distance < n; ++distance) {
      const std::int64_t found = known(k + distance) ? k + distance : known(k - distance) ? k - distance : -1;
      if (found < 0) continue;
      shares.select(1, k).copy_(measured.select(1, found));
      break;
    }
}

}  // namespace

/// How to read shares at an image's frequencies, on its device.
struct CorrectionReading {
  at::Tensor shares;
  at::Tensor below, above;                     ///< int64 [H W]
  at::Tensor weight;                           ///< float32 [H W]
};

class DenoiserCorrection::Cache : public ShapeCache<CorrectionReading> {};

DenoiserCorrection::DenoiserCorrection(SpectralBasis basis, at::Tensor frequencies, at::Tensor shares)
    : basis_(basis), frequencies_(std::move(frequencies)), shares_(std::move(shares)), cache_(std::make_shared<Cache>()) {
  const bool fits = frequencies_.scalar_type() == at::kFloat && frequencies_.dim() == 1 && frequencies_.size(0) > 2 && shares_.scalar_type() == at::kFloat &&
                    shares_.dim() == 3 && shares_.numel() > 0 && shares_.size(2) == frequencies_.size(0);
  if (!fits || frequencies_[0].item<float>() != 0.0f || !frequencies_.diff().gt(0.0).all().item<bool>() || !at::isfinite(frequencies_).all().item<bool>())
    throw Error(ErrorKind::kBadData, "a denoiser's correction is not float32 [frequencies] that rise from 0 and [levels, channels, frequencies]", "measure it again");
  if (!shares_.ge(0.0).logical_and(shares_.le(1.0)).all().item<bool>())
    throw Error(ErrorKind::kBadData, "a denoiser's correction holds a share that is not between 0 and 1", "measure it again");
}

at::Tensor DenoiserCorrection::apply(const at::Tensor& x_t, const at::Tensor& denoised, std::int64_t below, double weight) const {
  const std::int64_t above = std::min(below + 1, shares_.size(0) - 1), rows = x_t.size(-2), columns = x_t.size(-1);
  const CorrectionReading reading = cache_->get(shape_on({rows, columns}, x_t.device()), [&] {
    const Place place = places(basis_, frequencies_, rows, columns);
    const at::Device device = x_t.device();
    return CorrectionReading{shares_.to(device), place.below.to(device), (place.below + 1).clamp_max(frequencies_.size(0) - 1).to(device), place.weight.to(at::kFloat).to(device)};
  });
  const at::Tensor shares = reading.shares[below] * (1.0 - weight) + reading.shares[above] * weight;
  const at::Tensor lower = shares.index_select(1, reading.below), upper = shares.index_select(1, reading.above);
  const at::Tensor share = (lower + reading.weight * (upper - lower)).view({-1, rows, columns});
  return denoised + from_natural_basis(basis_, times_table(to_natural_basis(basis_, x_t - denoised), share));
}

CorrectionMeasurement::CorrectionMeasurement(SpectralBasis basis) : basis_(basis) {}

void CorrectionMeasurement::add(const at::Tensor& error, const at::Tensor& noise) {
  const at::Tensor frequencies = standard_frequencies(), e = to_natural_basis(basis_, error)[0], removed = to_natural_basis(basis_, noise - error)[0];
  const Place place = places(basis_, frequencies, error.size(2), error.size(3));
  const std::int64_t n = frequencies.size(0);
  const at::Tensor in_error = -shared_out(products(e, removed), place, n), power = shared_out(products(removed, removed), place, n);
  in_error_ = in_error_.defined() ? in_error_ + in_error : in_error;
  removed_ = removed_.defined() ? removed_ + power : power;
}

void CorrectionMeasurement::finish_level() {
  // A denoiser that removes nothing needs no correction.
  at::Tensor shares = at::where(removed_.gt(0.0), in_error_ / removed_, at::zeros_like(removed_)).clamp(0.0, 1.0);
  fill(shares, removed_);
  levels_.push_back(shares.to(at::kFloat));
  in_error_ = removed_ = at::Tensor();
}

DenoiserCorrection CorrectionMeasurement::correction() const {
  if (levels_.empty()) throw Error(ErrorKind::kUsage, "a denoiser's correction of no noise level", "measure one");
  return DenoiserCorrection(basis_, standard_frequencies(), at::stack(levels_));
}

}  // namespace postrec
