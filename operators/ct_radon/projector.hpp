#pragma once

#include <ATen/core/Tensor.h>

#include "ct_radon/geometry.hpp"
#include "ct_radon/kernels.hpp"
#include "ct_radon/ray_set.hpp"

namespace postrec::ct {

/// Joseph's projector and its exact transpose, on float32 CPU tensors, with at::parallel_for.
///
/// Batches run in groups of eight images that share every ray's index and weight. Each image's result depends neither on the batch it is in nor
/// on the number of threads: a thread owns whole rays or whole image rows, and every sum has one order.
/// Source: P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192.
class Projector {
 public:
  Projector(const Geometry& geometry, const Kernels& kernels);

  at::Tensor forward(const at::Tensor& images) const;      ///< contiguous [B, 1, H, W] -> [B, view, detector], image unit times mm
  at::Tensor adjoint(const at::Tensor& sinograms) const;   ///< contiguous [B, view, detector] -> [B, 1, H, W]
  std::int64_t n_adjoint_terms() const;                    ///< of the sum that makes a pixel of the adjoint, at most

 private:
  template <class Visit>
  void for_each_ray(Visit visit) const;
  template <int lanes>
  void forward_group(const float* images, std::int64_t n, float* sinograms) const;
  template <int lanes>
  void adjoint_group(const float* sinograms, std::int64_t n, float* images) const;
  template <int lanes>
  at::Tensor weighted_values(const float* sinograms, std::int64_t n) const;
  template <int lanes>
  void project_back(const float* values, bool transposed, std::int64_t band_begin, std::int64_t band_end, float* image) const;

  std::int64_t height_, width_, n_views_, n_detectors_;
  RaySet rays_;
  const Kernels& kernels_;
};

}  // namespace postrec::ct
