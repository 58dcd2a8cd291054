#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "common/per_device.hpp"

namespace postrec {

/// mri-fourier in few, large LibTorch expressions over [B, coil, H, W], for devices other than the CPU, where each call costs a launch.
///
/// Works on contiguous complex64 tensors of any device, which the caller has checked. The first call from a device copies constants there; after it nothing is copied between
/// host and device, and the host waits for nothing. At most two tensors of [B, coil, H, W] live beside the input.
///
/// Beside its two transforms, each of four passes over such a tensor (cuFFT, two axes), `normal` reads or writes one six times: 1.75 times of the transforms alone.
class DeviceFourier {
 public:
  /// maps: complex64 [coil, H, W], or undefined for one coil of sensitivity 1; mask: boolean [H, W]. Both on the CPU.
  DeviceFourier(const at::Tensor& maps, const at::Tensor& mask);

  at::Tensor forward(const at::Tensor& images) const;                       ///< [B, 1, H, W] -> [B, coil, H, W]
  at::Tensor adjoint(const at::Tensor& kspace) const;                       ///< [B, coil, H, W] -> [B, 1, H, W]
  at::Tensor normal(const at::Tensor& images) const;                        ///< [B, 1, H, W] -> the same
  at::Tensor normal_solve(double lambda, const at::Tensor& images) const;   ///< [B, 1, H, W] -> the same; only without maps

 private:
  /// On one device. The ramps are folded into the maps and the mask, and so are the factors that make the transforms orthonormal.
  struct Constants {
    at::Tensor image_weights, conj_image_weights;    ///< complex64 [coil, H, W]: maps times image ramp
    at::Tensor kspace_weights, conj_kspace_weights;  ///< complex64 [H, W]: mask times k-space ramp over (HW)^1/2
    // For `normal`, in the working layout of SpectralFilter.
    at::Tensor maps, conj_maps;                      ///< complex64 [coil, rows, columns], undefined without maps
    at::Tensor mask;                                 ///< boolean [rows, columns]
    at::Tensor projection;                           ///< complex64 [rows, columns]: mask over n_frequencies
    std::vector<std::int64_t> axes;                  ///< of [B, coil, rows, columns], to transform
    double n_frequencies;
    bool is_transposed;
  };

  static Constants make_constants(const at::Tensor& maps, const at::Tensor& mask, at::Device device);
  static at::Tensor filtered(at::Tensor images, const at::Tensor& weights, const Constants& constants);

  bool has_maps_;
  PerDevice<Constants> constants_;
};

}  // namespace postrec
