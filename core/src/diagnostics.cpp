#include "postrec/diagnostics.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <string>

#include "batched_vectors.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

constexpr std::int64_t kWindow = 11;

void check_pair(const at::Tensor& image, const at::Tensor& truth) {
  if (image.is_complex() || truth.is_complex()) throw Error(ErrorKind::kInternal, "image quality of complex images", "compare their magnitudes");
  if (image.sizes() != truth.sizes() || image.numel() == 0)
    throw Error(ErrorKind::kBadData, "the image and the truth differ in size or are empty", "they must have the same shape");
}

void check_peak(double peak) {
  if (!(peak > 0.0)) throw Error(ErrorKind::kBadData, "the peak is " + std::to_string(peak), "the reference value must be positive");
}

double squared_norm(const at::Tensor& x) {
  const at::Tensor row = x.to(at::kFloat).unsqueeze(0);
  return dots(row, row).front();
}

at::Tensor gaussian_window() {
  constexpr double kSigma = 1.5;
  const at::Tensor offset = at::arange(kWindow, at::kDouble) - (kWindow - 1) / 2.0;
  const at::Tensor weights = (-offset.square() / (2.0 * kSigma * kSigma)).exp();
  return weights / weights.sum();
}

// Weighted mean over every window that lies inside, [N, 1, H, W] -> [N, 1, H - 10, W - 10].
at::Tensor local_mean(const at::Tensor& x, const at::Tensor& window) {
  return at::conv2d(at::conv2d(x, window.view({1, 1, kWindow, 1})), window.view({1, 1, 1, kWindow}));
}

}  // namespace

double psnr_db(const at::Tensor& image, const at::Tensor& truth, double peak) {
  check_pair(image, truth);
  check_peak(peak);
  const double mean_square = squared_norm(image - truth) / static_cast<double>(truth.numel());
  return mean_square == 0.0 ? std::numeric_limits<double>::infinity() : 10.0 * std::log10(peak * peak / mean_square);
}

double nrmse(const at::Tensor& image, const at::Tensor& truth) {
  check_pair(image, truth);
  const double reference = squared_norm(truth);
  if (reference == 0.0) throw Error(ErrorKind::kBadData, "the truth is zero everywhere", "a relative error needs a truth that is not");
  return std::sqrt(squared_norm(image - truth) / reference);
}

double ssim(const at::Tensor& image, const at::Tensor& truth, double peak) {
  check_pair(image, truth);
  check_peak(peak);
  const std::int64_t rows = truth.size(-2), columns = truth.size(-1);
  if (rows < kWindow || columns < kWindow)
    throw Error(ErrorKind::kBadData, "SSIM of an image of " + std::to_string(rows) + "x" + std::to_string(columns), "it needs at least 11x11");
  const double c1 = (0.01 * peak) * (0.01 * peak), c2 = (0.03 * peak) * (0.03 * peak);
  const at::Tensor x = image.to(at::kDouble).reshape({-1, 1, rows, columns}), y = truth.to(at::kDouble).reshape({-1, 1, rows, columns});
  const at::Tensor window = gaussian_window().to(x.device());
  const at::Tensor mean_x = local_mean(x, window), mean_y = local_mean(y, window);
  const at::Tensor variance_x = local_mean(x * x, window) - mean_x * mean_x;
  const at::Tensor variance_y = local_mean(y * y, window) - mean_y * mean_y;
  const at::Tensor covariance = local_mean(x * y, window) - mean_x * mean_y;
  const at::Tensor similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) /
                                ((mean_x.square() + mean_y.square() + c1) * (variance_x + variance_y + c2));
  return similarity.mean().item<double>();
}

double interval_coverage(const at::Tensor& lower, const at::Tensor& upper, const at::Tensor& truth) {
  check_pair(lower, truth);
  check_pair(upper, truth);
  return truth.ge(lower).logical_and(truth.le(upper)).to(at::kDouble).mean().item<double>();
}

}  // namespace postrec
