#include "postrec/error_envelope.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "batched_vectors.hpp"
#include "device_cache.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kDetail = 2, kAround = 3;   // half widths of the boxes; around: 2 and 3 do alike on the quickstart's scans, 5 .1 to .2 dB worse
constexpr int kKnots = 25;
constexpr double kFirst = 1e-4, kLast = 1.0;   // model units, in which images are about 1
// A bin with fewer pixels says nothing: neighbouring pixels err alike, so these are a few independent ones.
constexpr double kFewest = 500.0;
// Nowhere is the error taken to be less than a tenth of the average: the data must be able to show what a prior did not expect there.
constexpr float kLeast = 0.1f;

/// Mean over the 2 half + 1 pixels around each one, along one axis, that are inside the image. Whole shifted images are added up: an eighth of the time of a pooling layer of
/// LibTorch, to the same bit. The order of the sum is fixed, so that the batch does not matter.
at::Tensor mean_along(const at::Tensor& x, std::int64_t half, std::int64_t axis) {
  const std::int64_t n = x.size(axis);
  std::vector<std::int64_t> rest = x.sizes().vec(), one(x.dim(), 1);
  rest[axis] = half;
  one[axis] = n;
  const at::Tensor zeros = at::zeros(rest, x.options()), padded = at::cat({zeros, x, zeros}, axis), index = at::arange(n, x.options());
  const at::Tensor count = index.clamp_max(half) + index.flip(0).clamp_max(half) + 1.0;
  at::Tensor sum = padded.narrow(axis, 0, n).clone();
  for (std::int64_t shift = 1; shift <= 2 * half; ++shift) sum.add_(padded.narrow(axis, shift, n));
  return sum.div_(count.view(one));
}

/// Mean over a square of 2 half + 1 pixels, inside the image, of [B, 1, H, W].
at::Tensor box_mean(const at::Tensor& x, std::int64_t half) { return mean_along(mean_along(x, half, 2), half, 3); }

/// The real images [B, 1, H, W] of which these consist.
std::vector<at::Tensor> parts_of(const at::Tensor& images) {
  std::vector<at::Tensor> parts;
  const at::Tensor real = real_view(images);
  for (std::int64_t c = 0; c < images.size(1); ++c)
    for (std::int64_t part = 0; part < (images.is_complex() ? 2 : 1); ++part)
      parts.push_back((images.is_complex() ? real.select(-1, part) : real).narrow(1, c, 1).contiguous());
  return parts;
}

at::Tensor energy_of(const at::Tensor& images) {
  at::Tensor sum;
  for (const at::Tensor& part : parts_of(images)) sum = sum.defined() ? sum + part.square() : part.square();
  return sum;
}

/// The value at `x` of the function with `values` [K] at `knots` [K]. Arithmetic and square roots alone, whose bits do not depend on where in a vector they are.
at::Tensor interpolated(const at::Tensor& x, const at::Tensor& knots, const at::Tensor& values) {
  const at::Tensor inside = at::minimum(at::maximum(x, knots[0]), knots[-1]);
  const at::Tensor above = at::bucketize(inside, knots).clamp(1, knots.size(0) - 1), below = above - 1;
  const at::Tensor share = (inside - knots.take(below)) / (knots.take(above) - knots.take(below));
  return values.take(below) + share * (values.take(above) - values.take(below));
}

bool rises(const at::Tensor& values) {
  return values.numel() > 1 && values[0].item<double>() > 0.0 && values.diff().gt(0.0).all().item<bool>() && at::isfinite(values).all().item<bool>();
}

/// Bins with too few pixels take the value of the nearest with enough, the lower of two.
void fill(std::vector<double>& values, const std::vector<bool>& known) {
  const auto n = static_cast<int>(values.size());
  const std::vector<double> measured = values;
  for (int i = 0; i < n; ++i)
    for (int distance = 0; distance < n; ++distance) {
      const int lower = i - distance, upper = i + distance, found = lower >= 0 && known[lower] ? lower : upper < n && known[upper] ? upper : -1;
      if (found < 0) continue;
      values[i] = measured[found];
      break;
    }
}

}  // namespace

at::Tensor local_activity(const at::Tensor& images) {
  at::Tensor energy;
  for (const at::Tensor& part : parts_of(images)) {
    const at::Tensor detail = (part - box_mean(part, kDetail)).square();
    energy = energy.defined() ? energy + detail : detail;
  }
  const auto components = static_cast<double>(images.size(1) * (images.is_complex() ? 2 : 1));
  return (box_mean(box_mean(energy, kAround), kAround) / components).sqrt();
}

class ErrorEnvelope::Cache : public DeviceCache<std::pair<at::Tensor, at::Tensor>> {};

ErrorEnvelope::ErrorEnvelope(at::Tensor activities, at::Tensor deviations)
    : activities_(std::move(activities)), deviations_(std::move(deviations)), cache_(std::make_shared<Cache>()) {
  const bool fits = activities_.scalar_type() == at::kFloat && activities_.dim() == 1 && deviations_.scalar_type() == at::kFloat && deviations_.dim() == 2 &&
                    deviations_.size(0) > 0 && deviations_.size(1) == activities_.size(0);
  if (!fits || !rises(activities_))
    throw Error(ErrorKind::kBadData, "an error envelope is not float32 [activities] that rise from above 0 and [levels, activities]", "measure it again");
  if (!deviations_.gt(0.0).all().item<bool>() || !at::isfinite(deviations_).all().item<bool>())
    throw Error(ErrorKind::kBadData, "an error envelope holds a deviation that is not positive or not finite", "measure it again");
}

at::Tensor ErrorEnvelope::around(const at::Tensor& denoised, std::int64_t below, double weight) const {
  const std::int64_t above = std::min(below + 1, deviations_.size(0) - 1);
  const at::Device device = denoised.device();
  const auto [activities, deviations] = cache_->get(device, [&] { return std::pair(activities_.to(device), deviations_.to(device)); });
  return interpolated(local_activity(denoised), activities, deviations[below] * (1.0 - weight) + deviations[above] * weight);
}

EnvelopeMeasurement::EnvelopeMeasurement()
    : activities_(at::logspace(std::log10(kFirst), std::log10(kLast), kKnots, 10.0, at::kDouble).to(at::kFloat)),
      energy_(at::zeros({kKnots}, at::kDouble)),
      count_(at::zeros({kKnots}, at::kDouble)) {}

void EnvelopeMeasurement::add(const at::Tensor& denoised, const at::Tensor& error) {
  const at::Tensor edges = (activities_.narrow(0, 0, kKnots - 1) * activities_.narrow(0, 1, kKnots - 1)).sqrt();
  const at::Tensor bin = at::bucketize(local_activity(denoised).cpu(), edges).flatten(), energy = energy_of(error).cpu().to(at::kDouble).flatten();
  energy_.index_add_(0, bin, energy);
  count_.index_add_(0, bin, at::ones_like(energy));
}

void EnvelopeMeasurement::finish_level() {
  const double whole = energy_.sum().item<double>() / count_.sum().item<double>();
  std::vector<double> deviations(kKnots, 1.0);
  std::vector<bool> known(kKnots);
  for (int k = 0; k < kKnots; ++k) {
    const double count = count_[k].item<double>();
    known[k] = count >= kFewest && whole > 0.0;
    if (known[k]) deviations[k] = std::sqrt(energy_[k].item<double>() / count / whole);
  }
  fill(deviations, known);
  levels_.push_back(at::tensor(deviations, at::kDouble).to(at::kFloat).clamp_min(kLeast));
  energy_.zero_();
  count_.zero_();
}

ErrorEnvelope EnvelopeMeasurement::envelope() const {
  if (levels_.empty()) throw Error(ErrorKind::kUsage, "an error envelope of no noise level", "measure one");
  return ErrorEnvelope(activities_, at::stack(levels_));
}

}  // namespace postrec
