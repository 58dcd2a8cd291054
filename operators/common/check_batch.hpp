#pragma once

#include <ATen/ATen.h>

#include <string>

#include "postrec/operator.hpp"
#include "postrec/shape_text.hpp"

namespace postrec {

/// The batch as plain contiguous memory (strides, lazy conjugation and negation resolved).
/// Throws Error(kBadData) that calls it `name` when it is not [B, spec.shape] of spec.dtype.
inline at::Tensor checked_batch(const at::Tensor& batch, const TensorSpec& spec, const std::string& name) {
  const std::string expected = "it must be [B, " + shape_text(spec.shape).substr(1) + " of " + c10::toString(spec.dtype);
  if (!batch.defined()) throw Error(ErrorKind::kBadData, name + " is an undefined tensor", expected);
  if (batch.dim() == 0 || batch.sizes().slice(1) != at::IntArrayRef(spec.shape) || batch.scalar_type() != spec.dtype) {
    throw Error(ErrorKind::kBadData, name + " is " + shape_text(batch.sizes()) + " of " + c10::toString(batch.scalar_type()), expected);
  }
  return batch.resolve_conj().resolve_neg().contiguous();
}

}  // namespace postrec
