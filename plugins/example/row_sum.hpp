#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <memory>

#include "postrec/operator.hpp"

namespace example {

/// Measures the sum of each image row, as one view of a parallel-beam scanner: [B, 1, height, width] -> [B, height], float32.
class RowSum : public postrec::Operator {
 public:
  RowSum(std::int64_t height, std::int64_t width) : height_(height), width_(width) {}

  postrec::TensorSpec domain() const override { return {{1, height_, width_}, at::kFloat}; }
  postrec::TensorSpec codomain() const override { return {{height_}, at::kFloat}; }
  postrec::OperatorTraits traits() const override { return {}; }

  at::Tensor forward(const at::Tensor& x) const override { return x.select(1, 0).sum(-1); }
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor&) const override {
    return v.view({-1, 1, height_, 1}).expand({-1, 1, -1, width_});
  }
  double norm_bound() const override { return std::sqrt(static_cast<double>(width_)); }

 private:
  std::int64_t height_;
  std::int64_t width_;
};

inline postrec::OperatorType row_sum_type() {
  using postrec::ParameterType;
  return {"row-sum",
          "The sum of each image row",
          {{"height", ParameterType::kInteger, "", "", true, 1, 100000, {}, "Rows of the image"},
           {"width", ParameterType::kInteger, "", "", true, 1, 100000, {}, "Columns of the image"}},
          [](const postrec::Parameters& p) { return std::make_unique<RowSum>(p.integer("height"), p.integer("width")); }};
}

}  // namespace example
