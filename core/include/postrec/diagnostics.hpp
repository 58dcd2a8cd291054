#pragma once

#include <ATen/core/Tensor.h>

namespace postrec {

/// Image quality against a known truth, both real [C, H, W] or [H, W]. `peak` is the reference value of PSNR and SSIM.
/// Throw Error: kBadData (sizes differ or are 0; a peak not above 0; a truth of zeros for nrmse; below 11x11 for ssim), kInternal (complex).
double psnr_db(const at::Tensor& image, const at::Tensor& truth, double peak);
double nrmse(const at::Tensor& image, const at::Tensor& truth);       ///< ||image - truth|| / ||truth||
/// Mean structural similarity, Gaussian window 11x11, sigma 1.5, K1 = .01, K2 = .03, valid region only. [Wang 2004]
double ssim(const at::Tensor& image, const at::Tensor& truth, double peak);

/// Fraction of pixels of `truth` inside [lower, upper].
double interval_coverage(const at::Tensor& lower, const at::Tensor& upper, const at::Tensor& truth);

}  // namespace postrec
