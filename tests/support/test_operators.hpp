#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "postrec/operator.hpp"

namespace postrec::test {

/// Keeps the pixels where mask [H, W] is 1, as a list: [B, C, H, W] -> [B, C, kept].
class MaskOperator : public Operator {
 public:
  MaskOperator(at::Tensor mask, std::int64_t channels, at::ScalarType dtype)
      : mask_(std::move(mask)), index_(mask_.flatten().nonzero().flatten()), channels_(channels), dtype_(dtype) {}

  TensorSpec domain() const override { return {{channels_, mask_.size(0), mask_.size(1)}, dtype_}; }
  TensorSpec codomain() const override { return {{channels_, index_.size(0)}, dtype_}; }
  OperatorTraits traits() const override { return {.linear = true, .has_normal_solve = true}; }
  at::Tensor forward(const at::Tensor& x) const override { return x.flatten(2).index_select(2, index_); }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor&) const override {
    at::Tensor x = at::zeros({v.size(0), channels_, mask_.numel()}, v.options());
    x.index_copy_(2, index_, v);
    return x.view({v.size(0), channels_, mask_.size(0), mask_.size(1)});
  }
  at::Tensor normal_solve(double lambda, const at::Tensor& b) const override {
    const at::Tensor inverse = (mask_.to(at::kFloat) + lambda).reciprocal();
    return b.is_complex() ? at::view_as_complex(at::view_as_real(b) * inverse.unsqueeze(-1)) : b * inverse;
  }
  double norm_bound() const override { return 1.0; }

 private:
  at::Tensor mask_;
  at::Tensor index_;
  std::int64_t channels_;
  at::ScalarType dtype_;
};

/// The rows ky of the orthonormal DFT of a real image, real and imaginary parts stacked: [B, 1, H, W] -> [B, 2, rows, W].
class RealFourierRows : public Operator {
 public:
  RealFourierRows(std::int64_t height, std::int64_t width, std::vector<std::int64_t> rows)
      : height_(height), width_(width), rows_(at::tensor(rows, at::kLong)) {}

  TensorSpec domain() const override { return {{1, height_, width_}, at::kFloat}; }
  TensorSpec codomain() const override { return {{2, rows_.size(0), width_}, at::kFloat}; }
  OperatorTraits traits() const override { return {}; }
  at::Tensor forward(const at::Tensor& x) const override {
    const at::Tensor k = at::fft_fft2(x.squeeze(1), {}, {-2, -1}, "ortho").index_select(1, rows_);
    return at::stack({at::real(k), at::imag(k)}, 1);
  }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor&) const override {
    at::Tensor k = at::zeros({v.size(0), height_, width_}, at::kComplexFloat);
    k.index_copy_(1, rows_, at::complex(v.select(1, 0).contiguous(), v.select(1, 1).contiguous()));
    return at::real(at::fft_ifft2(k, {}, {-2, -1}, "ortho")).unsqueeze(1).contiguous();
  }
  double norm_bound() const override { return 1.0; }

 private:
  std::int64_t height_;
  std::int64_t width_;
  at::Tensor rows_;
};

/// Cartesian MRI of complex images with coil maps [coil, H, W] and a mask [H, W], frequency 0 first: [B, 1, H, W] -> [B, coil, H, W].
class CoilOperator : public Operator {
 public:
  CoilOperator(at::Tensor maps, at::Tensor mask) : maps_(std::move(maps)), mask_(std::move(mask)) {}

  TensorSpec domain() const override { return {{1, mask_.size(0), mask_.size(1)}, at::kComplexFloat}; }
  TensorSpec codomain() const override { return {{maps_.size(0), mask_.size(0), mask_.size(1)}, at::kComplexFloat}; }
  OperatorTraits traits() const override { return {}; }
  at::Tensor forward(const at::Tensor& x) const override {
    return masked(at::fft_fft2(times(x, maps_), {}, {-2, -1}, "ortho"));
  }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor&) const override {
    return times(at::fft_ifft2(masked(v), {}, {-2, -1}, "ortho"), at::conj(maps_).resolve_conj()).sum(1, true);
  }
  double norm_bound() const override { return std::sqrt(at::abs(maps_).square().sum(0).max().item<double>()); }

 private:
  at::Tensor masked(const at::Tensor& k) const { return at::view_as_complex(at::view_as_real(k) * mask_.unsqueeze(-1)); }
  // Complex products by real operations: ATen's vectorised ones differ in the last bit between a row's body and its tail.
  static at::Tensor times(const at::Tensor& a, const at::Tensor& b) {
    const at::Tensor ar = at::real(a), ai = at::imag(a), br = at::real(b), bi = at::imag(b);
    return at::complex(ar * br - ai * bi, ar * bi + ai * br);
  }

  at::Tensor maps_;
  at::Tensor mask_;
};

/// Smooth, overlapping coil maps [n_coils, H, W] whose squares sum to 1, on a ring around the image.
inline at::Tensor ring_of_coils(std::int64_t n_coils, std::int64_t height, std::int64_t width) {
  constexpr double kPi = 3.14159265358979323846;
  const at::Tensor rows = at::linspace(-1.0, 1.0, height, at::kDouble).unsqueeze(1), columns = at::linspace(-1.0, 1.0, width, at::kDouble).unsqueeze(0);
  std::vector<at::Tensor> maps;
  for (std::int64_t coil = 0; coil < n_coils; ++coil) {
    const double angle = 2.0 * kPi * coil / n_coils;
    const at::Tensor distance = (rows - 1.3 * std::sin(angle)).square() + (columns - 1.3 * std::cos(angle)).square();
    const at::Tensor magnitude = (distance + 0.2).reciprocal(), phase = rows * std::cos(angle) + columns * std::sin(angle) + angle;
    maps.push_back(at::complex((magnitude * phase.cos()).contiguous(), (magnitude * phase.sin()).contiguous()));
  }
  const at::Tensor all = at::stack(maps);
  return (all / at::abs(all).square().sum(0).sqrt()).to(at::kComplexFloat);
}

}  // namespace postrec::test
