#pragma once

#include "common/per_device.hpp"
#include "ct_radon/device_projector.hpp"
#include "ct_radon/filtered_back_projection.hpp"
#include "ct_radon/geometry.hpp"
#include "ct_radon/projector.hpp"
#include "postrec/operator.hpp"

namespace postrec {

/// The 2-D X-ray transform: images [1, H, W] to line integrals [view, detector], float32, in the image's unit times mm.
///
/// Joseph's projector for parallel and fan beams, with its exact transpose; README.md has geometry and formulas. pseudo_inverse is filtered
/// back-projection. A result depends neither on the batch it is in, nor on the threads, nor on the instruction set. Tensors lie on the
/// CPU, or on a CUDA device where this build has CUDA: the scan's tables are put there at the first call.
class CtRadon final : public Operator {
 public:
  /// `geometry` must have passed ct::check_geometry. `kernels` is for tests: the instruction set to use.
  CtRadon(const ct::Geometry& geometry, ct::FbpFilter filter, const ct::Kernels& kernels = ct::best_kernels());

  TensorSpec domain() const override;
  TensorSpec codomain() const override;
  OperatorTraits traits() const override { return {true, false, PseudoInverseKind::kApproximate}; }
  at::Tensor forward(const at::Tensor& x) const override;
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor& x) const override;
  using Operator::adjoint;
  at::Tensor pseudo_inverse(const at::Tensor& y) const override;
  double norm_bound() const override { return norm_bound_; }

  const ct::Geometry& geometry() const { return geometry_; }
  const ct::Kernels& kernels() const { return kernels_; }

 private:
  double compute_norm_bound() const;
  /// For a device other than the CPU. Throws Error(kUnavailable) when this build has no code for it.
  ct::DeviceProjector projector_for(const at::Device& device) const;

  ct::Geometry geometry_;
  const ct::Kernels& kernels_;
  ct::Projector projector_;
  ct::FilteredBackProjection fbp_;
  double norm_bound_;
  PerDevice<ct::DeviceProjector> on_devices_;
};

/// "ct-radon". Its make() throws Error(kConfiguration) on parameters that do not fit together.
const OperatorType& ct_radon_type();

}  // namespace postrec
