#include "grayscale/grayscale.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "common/check_batch.hpp"
#include "common/per_device.hpp"

namespace postrec {
namespace {

/// Products and sums are separate LibTorch calls: each rounds once, so the last bit does not depend on how its loops are cut.
class Grayscale final : public Operator {
 public:
  Grayscale(std::int64_t height, std::int64_t width, const std::vector<double>& weights)
      : height_(height), width_(width), weights_(weights), column_([weights](at::Device device) { return at::tensor(weights, at::kDouble).view({3, 1, 1}).to(device); }), squared_norm_(0.0) {
    for (const double w : weights_) squared_norm_ += w * w;
  }

  TensorSpec domain() const override { return {{3, height_, width_}, at::kFloat}; }
  TensorSpec codomain() const override { return {{1, height_, width_}, at::kFloat}; }
  OperatorTraits traits() const override { return {true, true, PseudoInverseKind::kApproximate}; }
  double norm_bound() const override { return std::sqrt(squared_norm_); }

  at::Tensor forward(const at::Tensor& x) const override { return luminance(checked_batch(x, domain(), "the image batch")); }

  at::Tensor adjoint(const at::Tensor& v, const at::Tensor& /*x*/) const override {
    return spread(checked_batch(v, codomain(), "the measurement batch"), 1.0);
  }

  /// Sherman-Morrison on w w^T + lambda I: (b - w (w^T b) / (lambda + |w|^2)) / lambda.
  at::Tensor normal_solve(double lambda, const at::Tensor& b) const override {
    const at::Tensor images = checked_batch(b, domain(), "the right-hand side");
    return images.sub(spread(luminance(images), 1.0 / (lambda + squared_norm_))).mul_(1.0 / lambda);
  }

  /// A^T (A A^T)^-1 y = w y / |w|^2: the gray picture of least energy that has this luminance.
  at::Tensor pseudo_inverse(const at::Tensor& y) const override {
    return spread(checked_batch(y, codomain(), "the measurement batch"), 1.0 / squared_norm_);
  }

 private:
  /// w^T image, [B, 3, H, W] -> [B, 1, H, W].
  at::Tensor luminance(const at::Tensor& image) const {
    at::Tensor sum = image.narrow(1, 0, 1) * weights_[0];
    for (std::int64_t c = 1; c < 3; ++c) sum.add_(image.narrow(1, c, 1) * weights_[c]);
    return sum;
  }

  /// scale w gray, [B, 1, H, W] -> [B, 3, H, W].
  at::Tensor spread(const at::Tensor& gray, double scale) const {
    return gray * (column_.on(gray.device()) * scale).to(at::kFloat);
  }

  std::int64_t height_, width_;
  std::vector<double> weights_;
  PerDevice<at::Tensor> column_;  ///< the weights, float64 [3, 1, 1]
  double squared_norm_;
};

std::unique_ptr<Operator> make(const Parameters& parameters) {
  const std::int64_t height = parameters.integer("height"), width = parameters.integer("width");
  if (height < 1 || width < 1) {
    throw Error(ErrorKind::kConfiguration, "height=" + std::to_string(height) + ", width=" + std::to_string(width),
                "both must be at least 1");
  }
  const std::vector<double>& weights = parameters.real_list("weights");
  if (weights.size() != 3) {
    throw Error(ErrorKind::kConfiguration, "weights holds " + std::to_string(weights.size()) + " numbers",
                "it must hold 3: red, green, blue");
  }
  const bool finite = std::all_of(weights.begin(), weights.end(), [](double w) { return std::isfinite(w); });
  if (!finite || std::all_of(weights.begin(), weights.end(), [](double w) { return w == 0.0; })) {
    throw Error(ErrorKind::kConfiguration, finite ? "weights are all 0" : "weights holds a value that is not finite",
                "0.2126,0.7152,0.0722 is Rec. 709 luminance");
  }
  return std::make_unique<Grayscale>(height, width, weights);
}

}  // namespace

const OperatorType& grayscale_type() {
  using enum ParameterType;
  static const OperatorType type = {
      "grayscale",
      "Colour to luminance: a weighted sum of red, green and blue",
      {{"height", kInteger, "", "", true, 1, {}, {}, "Image rows."},
       {"width", kInteger, "", "", true, 1, {}, {}, "Image columns."},
       {"weights", kRealList, "", "0.2126,0.7152,0.0722", false, {}, {}, {}, "Of red, green and blue; the default is Rec. 709 luminance."}},
      make,
      {.cpu = true, .cuda = true}};
  return type;
}

}  // namespace postrec
