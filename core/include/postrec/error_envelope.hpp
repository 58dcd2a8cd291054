#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

namespace postrec {

/// How much is going on around each pixel of images [B, C, H, W], real or complex: [B, 1, H, W] float32. The root mean square over about 13x13 pixels (two box
/// means of 7x7) and over channels of what a box mean of 5x5 leaves, real and imaginary part together.
at::Tensor local_activity(const at::Tensor& images);

/// Where in an image a denoiser errs. Its error is small in an empty background and large where there are edges and texture; the denoised image shows which is
/// which. So the standard deviation of the error is a function of the denoised image's local activity, measured once a prior, at each noise level of its table.
class ErrorEnvelope {
 public:
  /// `activities` [K] at which the function is known, rising from above 0; `deviations` [n_sigmas, K] > 0: the root mean square error there over that of whole
  /// images. float32. Between them linear, beyond them constant. Throws Error(kBadData) on anything else.
  ErrorEnvelope(at::Tensor activities, at::Tensor deviations);

  const at::Tensor& activities() const { return activities_; }
  const at::Tensor& deviations() const { return deviations_; }

  /// w [B, 1, H, W] for denoised images [B, C, H, W] between the noise levels `below` and below + 1, `weight` of the latter; w^2 is 1 in the mean over the images
  /// that it was measured on. Every image has its own, to the bit, whatever the batch.
  at::Tensor around(const at::Tensor& denoised, std::int64_t below, double weight) const;

 private:
  class Cache;

  at::Tensor activities_;
  at::Tensor deviations_;
  std::shared_ptr<Cache> cache_;               ///< both on every device asked for; shared by copies
};

/// Measures one row of an ErrorEnvelope after the other.
class EnvelopeMeasurement {
 public:
  EnvelopeMeasurement();
  /// `error` of `denoised`, both [1, C, H, W], at the present noise level.
  void add(const at::Tensor& denoised, const at::Tensor& error);
  void finish_level();
  /// What all levels so far say. Throws Error(kUsage) without any.
  ErrorEnvelope envelope() const;

 private:
  at::Tensor activities_;
  at::Tensor energy_, count_;                  ///< double [K]
  std::vector<at::Tensor> levels_;
};

}  // namespace postrec
