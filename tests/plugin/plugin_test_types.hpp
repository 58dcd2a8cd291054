#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "postrec/operator.hpp"

namespace postrec::test {

/// y = FFT(w x) or w x, w = gain * mask * weights: an operator with every kind of parameter, compiled into the tests and, the same source,
/// into a plugin.
class Diagonal : public Operator {
 public:
  explicit Diagonal(const Parameters& p)
      : transform_(p.text("transform") == "fft"), dtype_(p.boolean("complex") ? at::kComplexFloat : at::kFloat) {
    if (p.text("label") == "forbidden") throw Error(ErrorKind::kConfiguration, "label 'forbidden' is not allowed", "take another one");
    weights_ = at::full({p.integer("height"), p.integer("width")}, p.real("gain"), at::kFloat);
    if (p.has("mask")) weights_ = weights_ * p.tensor("mask");
    double scale = 1;
    for (const double weight : p.real_list("weights")) scale *= weight;
    weights_ = weights_ * scale;
  }

  TensorSpec domain() const override { return {{1, weights_.size(0), weights_.size(1)}, dtype_}; }
  TensorSpec codomain() const override { return {{1, weights_.size(0), weights_.size(1)}, transform_ ? at::kComplexFloat : dtype_}; }
  OperatorTraits traits() const override { return {true, true, PseudoInverseKind::kApproximate}; }

  at::Tensor forward(const at::Tensor& x) const override {
    const at::Tensor y = x * weights_;
    return transform_ ? at::fft_fft2(y, {}, {-2, -1}, "ortho") : y;
  }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor&) const override {
    const at::Tensor x = (transform_ ? at::fft_ifft2(v, {}, {-2, -1}, "ortho") : v) * weights_;
    return x.is_complex() && dtype_ == at::kFloat ? at::real(x) : x;
  }
  at::Tensor normal_solve(double lambda, const at::Tensor& b) const override { return b / (weights_ * weights_ + lambda); }
  at::Tensor pseudo_inverse(const at::Tensor& y) const override { return adjoint(y, {}); }
  double norm_bound() const override { return weights_.abs().max().item<double>(); }

 private:
  bool transform_;
  at::ScalarType dtype_;
  at::Tensor weights_;
};

inline OperatorType diagonal_type() {
  using enum ParameterType;
  return {"test-diagonal",
          "A diagonal operator",
          {{"height", kInteger, "", "", true, 1, 4096, {}, "Rows."},
           {"width", kInteger, "", "", true, 1, 4096, {}, "Columns."},
           {"complex", kBoolean, "", "false", false, {}, {}, {}, "Complex images."},
           {"gain", kReal, "1/mm", "1.5", false, -10, 10, {}, "Gain."},
           {"transform", kChoice, "", "none", false, {}, {}, {"none", "fft"}, "What follows."},
           {"weights", kRealList, "", "1,2", false, 0, 100, {}, "Factors."},
           {"label", kText, "", "plain", false, {}, {}, {}, "A name."},
           {"mask", kTensor, "", "", false, {}, {}, {}, "[height, width]."}},
          [](const Parameters& p) { return std::make_unique<Diagonal>(p); }};
}

/// Identity on [1, 3, 5] that goes wrong in forward as `how` says.
class Misbehaving : public Operator {
 public:
  explicit Misbehaving(std::string how) : how_(std::move(how)) {}

  TensorSpec domain() const override { return {{1, 3, 5}, at::kFloat}; }
  TensorSpec codomain() const override { return domain(); }
  OperatorTraits traits() const override { return {}; }
  at::Tensor forward(const at::Tensor& x) const override {
    if (how_ == "error") throw Error(ErrorKind::kNumerical, "it diverged at step 3", "take smaller steps");
    if (how_ == "std-exception") throw std::out_of_range("index 7");
    if (how_ == "bad-alloc") throw std::bad_alloc();
    if (how_ == "cufft") throw c10::Error({__func__, __FILE__, 0}, "cuFFT error: CUFFT_ALLOC_FAILED");
    if (how_ == "int") throw 7;
    if (how_ == "libtorch") return x.view({2, 2});
    if (how_ == "wrong-shape") return x.narrow(-1, 0, 4);
    if (how_ == "wrong-dtype") return x.to(at::kDouble);
    if (how_ == "undefined") return {};
    return x;
  }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor&) const override { return v; }
  double norm_bound() const override { return how_ == "nan-norm" ? std::numeric_limits<double>::quiet_NaN() : 1.0; }

 private:
  std::string how_;
};

inline OperatorType misbehaving_type() {
  return {"test-misbehaving",
          "Goes wrong",
          {{"how", ParameterType::kText, "", "well", false, {}, {}, {}, "How."}},
          [](const Parameters& p) -> std::unique_ptr<Operator> {
            if (p.text("how") == "make-nothing") return nullptr;
            if (p.text("how") == "make-throws") throw Error(ErrorKind::kNoInput, "no file 'a'", "give one");
            return std::make_unique<Misbehaving>(p.text("how"));
          }};
}

}  // namespace postrec::test
