#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace postrec {

// Elementwise products of complex64 tensors of one size, contiguous, on the CPU, by loops of our own: LibTorch's round differently in the tail of a chunk than inside it,
// so that the last bit would depend on the number of threads.

/// out = a * b.
void multiply(at::Tensor& out, const at::Tensor& a, const at::Tensor& b);

/// out = conj(a) * b; out may be b.
void conj_multiply(at::Tensor& out, const at::Tensor& a, const at::Tensor& b);

/// out = sum over c of conj(maps[c]) * images[c], in the order of c; maps [n, size of out], n images.
void conj_combine(at::Tensor& out, const at::Tensor& maps, const std::vector<at::Tensor>& images);

/// out *= weights, weights real.
void scale(at::Tensor& out, const at::Tensor& weights);

}  // namespace postrec
