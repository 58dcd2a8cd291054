#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace postrec {

// Arithmetic on batches [B, ...] in which element b sees element b alone: the bits of a sample never depend on its neighbours,
// on the number of threads or on the vector width. ATen's reductions, its `alpha` arguments and its complex products do not promise that.
// This holds on the CPU; on other devices they are ATen's own, and equal to a few float32 roundings.

/// x itself when real, its view [..., 2] when complex.
at::Tensor real_view(const at::Tensor& x);

/// x times a real table that broadcasts from the right, e.g. [B, C, H, W] times [C, H, W], or has one for each element of the batch. Differentiable in x.
at::Tensor times_table(const at::Tensor& x, const at::Tensor& table);

/// a x + b y for real numbers a and b.
at::Tensor linear_combination(double a, const at::Tensor& x, double b, const at::Tensor& y);

/// Re <a_b, b_b> for each b, double [B] where a and b are, summed on the CPU in double in fixed blocks. The host waits for nothing.
at::Tensor batched_dot(const at::Tensor& a, const at::Tensor& b);
/// The same for the host, which waits for it.
std::vector<double> dots(const at::Tensor& a, const at::Tensor& b);
/// Doubles of any device, in the order of their memory.
std::vector<double> on_host(const at::Tensor& numbers);

/// x_b += scale_b p_b, in place; `scale` double [B] where x is, or on the host.
void add_scaled(at::Tensor& x, const at::Tensor& scale, const at::Tensor& p);
void add_scaled(at::Tensor& x, const std::vector<double>& scale, const at::Tensor& p);
void subtract_scaled(at::Tensor& x, const at::Tensor& scale, const at::Tensor& p);

/// p_b = z_b + scale_b p_b, in place.
void scale_and_add(at::Tensor& p, const at::Tensor& scale, const at::Tensor& z);
void scale_and_add(at::Tensor& p, const std::vector<double>& scale, const at::Tensor& z);

/// Components of one element of the batch, a complex number counting as two.
std::int64_t real_components(const at::Tensor& x);

}  // namespace postrec
