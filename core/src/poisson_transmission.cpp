#include "postrec/poisson_transmission.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <utility>

#include "postrec/whitened_operator.hpp"

namespace postrec {
namespace {

constexpr double kFewestCounts = 0.5;          // what stands for N - r in a logarithm

void require_counts(const at::Tensor& values, at::IntArrayRef shape, const std::string& name) {
  if (values.scalar_type() != at::kFloat || values.sizes() != shape || values.numel() == 0)
    throw Error(ErrorKind::kBadData, name + " and counts have different shapes or types", "float32, one number for each ray");
  if (!at::isfinite(values).all().item<bool>())
    throw Error(ErrorKind::kBadData, name + " holds NaN or infinity", "every number of it must be finite");
  const double least = values.min().item<double>();
  if (least < 0.0) throw Error(ErrorKind::kBadData, name + " holds " + std::to_string(least), "numbers of photons are not negative");
}

}  // namespace

PoissonTransmission::PoissonTransmission(at::Tensor counts, at::Tensor blank_scan, at::Tensor background)
    : counts_(std::move(counts)), blank_scan_(std::move(blank_scan)), background_(std::move(background)) {
  require_counts(counts_, counts_.sizes(), "the measurement");
  require_counts(blank_scan_, counts_.sizes(), "the blank scan");
  require_counts(background_, counts_.sizes(), "the background");
  const double largest = blank_scan_.max().item<double>();
  if (largest == 0.0)
    throw Error(ErrorKind::kBadData, "the blank scan is 0 everywhere", "the photons that a detector counts without an object");
  sigma_y_ = 1.0 / std::sqrt(largest);
}

at::Tensor PoissonTransmission::line_integrals() const {
  const at::Tensor transmitted = (counts_ - background_).clamp_min(kFewestCounts);
  return at::where(blank_scan_.gt(0), (blank_scan_ / transmitted).log(), at::zeros_like(counts_));
}

RayParabola PoissonTransmission::expand(const at::Tensor& line_integrals) const {
  const at::Tensor l = line_integrals.to(at::kDouble), background = background_.to(at::kDouble);
  const at::Tensor q = blank_scan_.to(at::kDouble) * (-l).exp(), expected = q + background;
  const at::Tensor curvature = (q.square() / expected).nan_to_num(0.0).mean(0);          // 0/0: a dead detector without background
  const at::Tensor slope = (q * (counts_.to(at::kDouble) / expected - 1.0)).nan_to_num(0.0).mean(0);
  const at::Tensor seen = curvature.gt(0);
  const at::Tensor step = at::where(seen, slope / curvature, at::zeros_like(slope));
  return {at::where(seen, l.mean(0) - step, at::zeros_like(slope)).to(at::kFloat), curvature.to(at::kFloat)};
}

GaussianLikelihood PoissonTransmission::likelihood(std::shared_ptr<const Operator> op, const RayParabola& rays, double unit) const {
  // Weights relative to those of a ray that nothing absorbs: about 0 to 1, so that the norm of W^(1/2) A is near that of A.
  const auto weights = std::make_shared<EntryWeights>((rays.weight.to(at::kDouble) * (sigma_y_ * sigma_y_)).to(at::kFloat));
  return whitened_likelihood(std::move(op), rays.target / unit, weights, sigma_y_ / unit);
}

}  // namespace postrec
