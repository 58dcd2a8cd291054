#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "postrec/error.hpp"
#include "postrec/parameters.hpp"

namespace postrec {

/// Shape and type of one image or one measurement, without the leading batch axis.
struct TensorSpec {
  std::vector<std::int64_t> shape;             ///< image [C, (D,) H, W]; k-space [coil, (kz,) ky, kx]; sinogram [view, (row,) detector]
  at::ScalarType dtype = at::kFloat;           ///< at::kFloat or at::kComplexFloat

  bool operator==(const TensorSpec& other) const { return shape == other.shape && dtype == other.dtype; }
  bool operator!=(const TensorSpec& other) const { return !(*this == other); }
};

enum class PseudoInverseKind { kNone, kApproximate, kExact };

struct OperatorTraits {
  bool linear = true;
  bool has_normal_solve = false;               ///< normal_solve is implemented, in closed form
  PseudoInverseKind pseudo_inverse = PseudoInverseKind::kNone;
};

/// A measurement operator A: images [B, domain] to measurements [B, codomain].
///
/// Immutable after construction and safe to call from several threads. Inner products are plain Euclidean sums on tensors,
/// conjugated in the first argument: no hidden weights. All tensors of a call lie on one device, of those that OperatorType::devices names.
///
/// Law: adjoint.       <A x, v> = <x, A^H v> for every x, v (for a real domain and complex codomain adjoint returns the real part,
///                     and the inner products are the real parts).
/// Law: linear.        A(a x + b z) = a A x + b A z when traits().linear.
/// Law: normal.        normal(x) = A^H A x.
/// Law: normal_solve.  (A^H A + lambda I) normal_solve(lambda, b) = b.
/// Law: batch.         A applied to a batch equals A applied to each of its elements.
/// Law: norm_bound.    ||A x|| <= norm_bound() ||x||.
class Operator {
 public:
  virtual ~Operator() = default;

  virtual TensorSpec domain() const = 0;
  virtual TensorSpec codomain() const = 0;
  virtual OperatorTraits traits() const = 0;

  /// [B, domain] -> [B, codomain].
  virtual at::Tensor forward(const at::Tensor& x) const = 0;

  /// J(x)^H v, [B, codomain] -> [B, domain]. A linear operator ignores `x`, which may then be undefined.
  virtual at::Tensor adjoint(const at::Tensor& v, const at::Tensor& x) const = 0;
  at::Tensor adjoint(const at::Tensor& v) const { return adjoint(v, at::Tensor()); }

  /// A^H A x, [B, domain] -> [B, domain]. Override it when it is cheaper than its two halves.
  virtual at::Tensor normal(const at::Tensor& x) const { return adjoint(forward(x), x); }

  /// (A^H A + lambda I)^-1 b in closed form, lambda > 0; only when traits().has_normal_solve.
  virtual at::Tensor normal_solve(double /*lambda*/, const at::Tensor& /*b*/) const {
    throw Error(ErrorKind::kInternal, "this operator has no closed-form normal_solve", "ask traits().has_normal_solve first");
  }

  /// A direct reconstruction (filtered back-projection, zero-filled), [B, codomain] -> [B, domain]; traits() says whether it is exact.
  virtual at::Tensor pseudo_inverse(const at::Tensor& /*y*/) const {
    throw Error(ErrorKind::kInternal, "this operator has no pseudo_inverse", "ask traits().pseudo_inverse first");
  }

  /// An upper bound of the operator norm, not more than a few per cent above it where that is possible.
  virtual double norm_bound() const = 0;
};

/// Where the operators of a type work. Tensors of a session on another device are copied forth and back at each call.
struct DeviceSupport {
  bool cpu = true;
  bool cuda = false;                           ///< tensors on CUDA give results there, without a copy to the host, on the current stream of their device
};

/// A kind of operator as a plugin declares it: its name, its parameters, and how to make one.
struct OperatorType {
  std::string name;                            ///< lower-hyphen, unique: "mri-fourier"
  std::string summary;                         ///< one sentence
  std::vector<ParameterSpec> parameters;
  /// Makes an operator from checked parameters. Throws Error(kConfiguration or kBadData) on values that do not fit together.
  std::function<std::unique_ptr<Operator>(const Parameters&)> make;
  DeviceSupport devices = {};
};

}  // namespace postrec
