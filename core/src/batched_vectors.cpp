#include "batched_vectors.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>

namespace postrec {
namespace {

constexpr std::int64_t kBlock = 4096;          // floats summed in one go; part of the result's definition
constexpr int kLanes = 8;

double dot_of_block(const float* a, const float* b, std::int64_t n) {
  std::array<double, kLanes> sums{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += double{a[i + lane]} * double{b[i + lane]};
  for (int lane = 0; i < n; ++i, ++lane) sums[lane] += double{a[i]} * double{b[i]};
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

// Contiguous floats [B, n].
at::Tensor as_rows(const at::Tensor& x) { return real_view(x).contiguous().view({x.size(0), -1}); }

// Calls body(b, first, length) on every block of every row.
template <class Body>
void for_blocks(std::int64_t n_rows, std::int64_t n, const Body& body) {
  const std::int64_t n_blocks = (n + kBlock - 1) / kBlock;
  at::parallel_for(0, n_rows * n_blocks, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t first = item % n_blocks * kBlock;
      body(item / n_blocks, first, std::min(kBlock, n - first));
    }
  });
}

// The real view of a result as the type that x has.
at::Tensor as_type_of(const at::Tensor& x, const at::Tensor& real) { return x.is_complex() ? at::view_as_complex(real) : real; }

// double [B] as float32 [B, 1, 1, ...], for devices that have no loop here.
at::Tensor column(const at::Tensor& scale, const at::Tensor& x) {
  std::vector<std::int64_t> sizes(x.dim(), 1);
  sizes[0] = x.size(0);
  return scale.to(at::kFloat).view(sizes);
}

at::Tensor scale_on(const at::Tensor& x, const std::vector<double>& scale) { return at::tensor(scale, at::kDouble).to(x.device()); }

// x_b += sign scale_b p_b.
void add_times(at::Tensor& x, float sign, const at::Tensor& scale, const at::Tensor& p) {
  at::Tensor target = real_view(x);
  const at::Tensor source = real_view(p).contiguous();
  if (!x.is_cpu()) {
    target.addcmul_(source, column(scale, source), sign);
    return;
  }
  const std::int64_t n = target.numel() / target.size(0);
  float* x_data = target.data_ptr<float>();
  const float* p_data = source.const_data_ptr<float>();
  const double* factors = scale.const_data_ptr<double>();
  for_blocks(target.size(0), n, [&](std::int64_t row, std::int64_t first, std::int64_t length) {
    const float factor = sign * static_cast<float>(factors[row]);
    float* out = x_data + row * n + first;
    const float* in = p_data + row * n + first;
    for (std::int64_t i = 0; i < length; ++i) out[i] += factor * in[i];
  });
}

}  // namespace

at::Tensor real_view(const at::Tensor& x) { return x.is_complex() ? at::view_as_real(x.resolve_conj()) : x; }

at::Tensor times_table(const at::Tensor& x, const at::Tensor& table) {
  const bool needs_graph = x.requires_grad() && at::GradMode::is_enabled();  // the loop below leaves none
  const bool own = x.sizes() == table.sizes();  // a table for each element
  if (needs_graph || !x.is_cpu() || (!own && x.sizes().slice(1) != table.sizes())) {
    const at::Tensor factor = table.to(x.device());
    return x.is_complex() ? at::view_as_complex(real_view(x) * factor.unsqueeze(-1)) : x * factor;
  }
  const std::int64_t parts = x.is_complex() ? 2 : 1, n = x.numel() / std::max<std::int64_t>(x.size(0), 1) * parts;
  const at::Tensor source = real_view(x).contiguous(), factors = table.contiguous();
  at::Tensor result = at::empty_like(source);
  const float *in = source.const_data_ptr<float>(), *factor = factors.const_data_ptr<float>();
  float* out = result.data_ptr<float>();
  for_blocks(x.size(0), n, [&](std::int64_t row, std::int64_t first, std::int64_t length) {
    const float *in_block = in + row * n + first, *factor_block = factor + (own ? row * n + first : first) / parts;
    float* out_block = out + row * n + first;
    if (parts == 1) {
      for (std::int64_t i = 0; i < length; ++i) out_block[i] = in_block[i] * factor_block[i];
    } else {
      for (std::int64_t i = 0; i < length / 2; ++i) {
        out_block[2 * i] = in_block[2 * i] * factor_block[i];
        out_block[2 * i + 1] = in_block[2 * i + 1] * factor_block[i];
      }
    }
  });
  return as_type_of(x, result);
}

at::Tensor linear_combination(double a, const at::Tensor& x, double b, const at::Tensor& y) {
  if (!x.is_cpu() && a == 1.0) return as_type_of(x, at::add(real_view(x), real_view(y), b));
  if (!x.is_cpu() || x.sizes() != y.sizes()) return as_type_of(x, real_view(x).mul(a).add_(real_view(y).mul(b)));
  const at::Tensor x_real = real_view(x).contiguous(), y_real = real_view(y).contiguous();
  at::Tensor result = at::empty_like(x_real);
  const float *x_data = x_real.const_data_ptr<float>(), *y_data = y_real.const_data_ptr<float>();
  const float x_factor = static_cast<float>(a), y_factor = static_cast<float>(b);
  float* out = result.data_ptr<float>();
  for_blocks(1, result.numel(), [&](std::int64_t, std::int64_t first, std::int64_t length) {
    for (std::int64_t i = first; i < first + length; ++i) out[i] = x_factor * x_data[i] + y_factor * y_data[i];
  });
  return as_type_of(x, result);
}

at::Tensor batched_dot(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor a_rows = as_rows(a), b_rows = as_rows(b);
  if (!a.is_cpu()) return (a_rows * b_rows).sum({1}, /*keepdim=*/false, at::kDouble);
  const std::int64_t n_rows = a_rows.size(0), n = a_rows.size(1), n_blocks = (n + kBlock - 1) / kBlock;
  std::vector<double> partial(n_rows * n_blocks);
  const float *a_data = a_rows.const_data_ptr<float>(), *b_data = b_rows.const_data_ptr<float>();
  for_blocks(n_rows, n, [&](std::int64_t row, std::int64_t first, std::int64_t length) {
    partial[row * n_blocks + first / kBlock] = dot_of_block(a_data + row * n + first, b_data + row * n + first, length);
  });
  at::Tensor result = at::zeros({n_rows}, at::kDouble);
  double* sums = result.mutable_data_ptr<double>();
  for (std::int64_t row = 0; row < n_rows; ++row)
    for (std::int64_t block = 0; block < n_blocks; ++block) sums[row] += partial[row * n_blocks + block];
  return result;
}

std::vector<double> dots(const at::Tensor& a, const at::Tensor& b) { return on_host(batched_dot(a, b)); }

std::vector<double> on_host(const at::Tensor& numbers) {
  const at::Tensor host = numbers.cpu().contiguous();
  return {host.const_data_ptr<double>(), host.const_data_ptr<double>() + host.numel()};
}

void add_scaled(at::Tensor& x, const at::Tensor& scale, const at::Tensor& p) { add_times(x, 1.0F, scale, p); }

void subtract_scaled(at::Tensor& x, const at::Tensor& scale, const at::Tensor& p) { add_times(x, -1.0F, scale, p); }

void add_scaled(at::Tensor& x, const std::vector<double>& scale, const at::Tensor& p) { add_scaled(x, scale_on(x, scale), p); }

void scale_and_add(at::Tensor& p, const at::Tensor& scale, const at::Tensor& z) {
  at::Tensor target = real_view(p);
  const at::Tensor source = real_view(z).contiguous();
  if (!p.is_cpu()) {
    at::addcmul_out(target, source, target, column(scale, target));
    return;
  }
  const std::int64_t n = target.numel() / target.size(0);
  float* p_data = target.data_ptr<float>();
  const float* z_data = source.const_data_ptr<float>();
  const double* factors = scale.const_data_ptr<double>();
  for_blocks(target.size(0), n, [&](std::int64_t row, std::int64_t first, std::int64_t length) {
    const float factor = static_cast<float>(factors[row]);
    float* out = p_data + row * n + first;
    const float* in = z_data + row * n + first;
    for (std::int64_t i = 0; i < length; ++i) out[i] = in[i] + factor * out[i];
  });
}

void scale_and_add(at::Tensor& p, const std::vector<double>& scale, const at::Tensor& z) { scale_and_add(p, scale_on(p, scale), z); }

std::int64_t real_components(const at::Tensor& x) { return x.numel() / x.size(0) * (x.is_complex() ? 2 : 1); }

}  // namespace postrec
