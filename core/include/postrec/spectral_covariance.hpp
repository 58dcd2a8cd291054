#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace postrec {

enum class SpectralBasis { kDft, kDct };

/// C = Q diag(c) Q^H over the last two axes, with Q orthonormal: the 2-D DFT (complex images, DC at n/2) or the 2-D DCT-II (real images, DC at 0).
/// For complex images c is the variance per real component.
///
/// Real images may use kDft too, when c(-k) = c(k): Q is then the real form of the DFT (Hartley), cos + sin in place of exp.
/// Law: orthonormal. from_basis(to_basis(x)) = x and ||to_basis(x)|| = ||x||.
/// Law: factor. apply_factor(apply_factor_adjoint(x)) = apply(x) = apply_sqrt(apply_sqrt(x)).
class SpectralCovariance {
 public:
  /// `eigenvalues` c >= 0: float32 [C, H, W] for every element of a batch, or [B, C, H, W] for each its own. Throws Error(kBadData) on another type or
  /// shape and on negative values.
  SpectralCovariance(SpectralBasis basis, at::Tensor eigenvalues);

  SpectralCovariance to(c10::Device device) const;     ///< itself where it is there

  SpectralBasis basis() const { return basis_; }
  const at::Tensor& eigenvalues() const { return eigenvalues_; }

  at::Tensor apply(const at::Tensor& x) const;         ///< C x, [B, C, H, W] -> [B, C, H, W]
  at::Tensor apply_sqrt(const at::Tensor& x) const;    ///< C^(1/2) x
  at::Tensor to_basis(const at::Tensor& x) const;      ///< Q^H x
  at::Tensor from_basis(const at::Tensor& x) const;    ///< Q x

  /// The factor F = Q diag(c)^(1/2) of C = F F^H, half the transforms of C^(1/2). Its coordinates are those of the basis, frequency 0 first
  /// for both bases; white noise in them is white.
  at::Tensor apply_factor(const at::Tensor& w) const;
  at::Tensor apply_factor_adjoint(const at::Tensor& x) const;
  /// c times `factor` >= 0 in the coordinates of the factor, [C, H, W] or [B, C, H, W].
  SpectralCovariance scaled(const at::Tensor& factor) const;
  /// W C W with W = diag(w) over pixels, `envelope` w > 0: float32 [B, 1, H, W], undefined for none. The factor is then W F; it has no apply_sqrt, and the
  /// eigenvalues and the basis remain those of C.
  SpectralCovariance with_envelope(const at::Tensor& envelope) const;
  bool has_envelope() const { return envelope_.defined(); }
  const at::Tensor& envelope() const { return envelope_; }
  /// Variance of a real component, mean over pixels and channels: double [1], or [B] for each element its own. With an envelope and kDct that of envelope and spectrum, each on average.
  at::Tensor mean_variance() const;
  /// c in the coordinates of the factor.
  const at::Tensor& factor_eigenvalues() const { return natural_; }

 private:
  struct Unchecked {};                                 ///< of eigenvalues known to be right, without asking the device
  SpectralCovariance(SpectralBasis basis, at::Tensor eigenvalues, Unchecked);

  at::Tensor enveloped(const at::Tensor& x) const;     ///< W x

  SpectralBasis basis_;
  at::Tensor eigenvalues_;
  at::Tensor natural_;
  at::Tensor natural_sqrt_;
  at::Tensor envelope_;
};

}  // namespace postrec
