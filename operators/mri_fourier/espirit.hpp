#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace postrec {

/// A rectangle of k-space in which every sample was acquired.
struct CalibrationRegion {
  std::int64_t first_row = 0;
  std::int64_t first_column = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
};

/// The rectangle around DC at n/2 that grows by rows and columns in turn, up to `largest` of each, while everything in it is acquired.
/// `mask`: boolean [ky, kx]. Empty when DC itself was not acquired.
CalibrationRegion find_calibration_region(const at::Tensor& mask, std::int64_t largest = 24);

/// What `bart ecalib` takes unless it is told otherwise.
struct EspiritOptions {
  std::int64_t kernel = 6;   ///< side of the k-space patches
  double threshold = 0.001;  ///< patches span the directions with more than this share of the largest eigenvalue of their Gram matrix
  double crop = 0.8;         ///< a pixel of a smaller eigenvalue sees nothing: its maps are 0
};

/// Coil sensitivities of a k-space [coil, ky, kx] (complex64, DC at n/2) from its calibration region: complex64 [coil, H, W], the sum of
/// their squares 1, or 0 outside of the object.
///
/// Every patch of k-space is a sum of S_c(r) exp(-2 pi i d r / n) over pixels r, so that these lie in the space that the patches of the
/// calibration region span. The projector onto that space, as a matrix over the coils in each pixel, has S(r) as eigenvector of the
/// eigenvalue 1. [Uecker 2014] The phase, which no projector knows, is that of which the first virtual coil (the combination of coils
/// with most energy in the calibration region) has none, as in `bart ecalib`. The same bits whatever the number of threads.
///
/// Throws Error(kBadData) when the region is smaller than 2 patches in a direction or holds no signal.
at::Tensor espirit_maps(const at::Tensor& kspace, const CalibrationRegion& region, const EspiritOptions& options = {});

}  // namespace postrec
