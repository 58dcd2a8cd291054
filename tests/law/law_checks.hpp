#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "postrec/operator.hpp"
#include "threads.hpp"

// The laws of operator.hpp as GoogleTest checks on one linear operator. Sums are taken in double, so what they see is the operator's own
// rounding: float32 products, sums over a few coils or channels, and a DFT, whose error grows like eps log2(n) [Higham 2002, ch. 24].
namespace postrec::law {

using test::Threads;

/// Some ten roundings of 2^-24 = 6e-8, as a DFT forth and back and the products around it make; norms of the error, not its worst element.
constexpr double kRounding = 1e-6;

inline at::Tensor random_batch(const TensorSpec& spec, std::int64_t n, std::uint64_t seed) {
  std::vector<std::int64_t> shape = spec.shape;
  shape.insert(shape.begin(), n);
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed), at::TensorOptions(spec.dtype));
}

inline at::Tensor in_double(const at::Tensor& t) { return t.to(at::kComplexDouble).flatten(); }
inline double l2_norm(const at::Tensor& t) { return std::sqrt(at::vdot(in_double(t), in_double(t)).item<c10::complex<double>>().real()); }
inline c10::complex<double> inner_product(const at::Tensor& a, const at::Tensor& b) {
  return at::vdot(in_double(a), in_double(b)).item<c10::complex<double>>();
}
inline double relative_error(const at::Tensor& a, const at::Tensor& b, double scale) {
  return l2_norm(in_double(a) - in_double(b)) / scale;
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.resolve_conj().contiguous(), y = b.resolve_conj().contiguous();
  return x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() &&
         std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

/// Everything that the operator computes, for one image batch and one measurement batch.
inline std::vector<at::Tensor> all_results(const Operator& op, const at::Tensor& x, const at::Tensor& v) {
  std::vector<at::Tensor> results = {op.forward(x), op.adjoint(v), op.normal(x)};
  if (op.traits().has_normal_solve) results.push_back(op.normal_solve(0.37, x));
  if (op.traits().pseudo_inverse != PseudoInverseKind::kNone) results.push_back(op.pseudo_inverse(v));
  return results;
}

inline void expect_adjoint(const Operator& op, std::uint64_t seed) {
  const at::Tensor x = random_batch(op.domain(), 2, seed), v = random_batch(op.codomain(), 2, seed + 1000);
  const at::Tensor ax = op.forward(x);
  const double error = std::abs(inner_product(ax, v) - inner_product(x, op.adjoint(v)));
  EXPECT_LE(error, 1e-6 * l2_norm(ax) * l2_norm(v)) << "adjoint, seed " << seed;
}

inline void expect_linear(const Operator& op, std::uint64_t seed) {
  const at::Tensor x = random_batch(op.domain(), 1, seed), z = random_batch(op.domain(), 1, seed + 1000);
  const double a = 0.7, b = -1.9;
  const double scale = op.norm_bound() * (a * l2_norm(x) - b * l2_norm(z));
  EXPECT_LE(relative_error(op.forward(a * x + b * z), a * op.forward(x) + b * op.forward(z), scale), kRounding) << "linear, seed " << seed;
}

inline void expect_normal(const Operator& op, std::uint64_t seed) {
  const at::Tensor x = random_batch(op.domain(), 2, seed);
  const double scale = op.norm_bound() * op.norm_bound() * l2_norm(x);
  EXPECT_LE(relative_error(op.normal(x), op.adjoint(op.forward(x)), scale), kRounding) << "normal, seed " << seed;
}

/// Backward error: a solution rounded to float32 cannot leave less than eps (|A|^2 + lambda) |solution|.
inline void expect_normal_solve(const Operator& op, std::uint64_t seed) {
  if (!op.traits().has_normal_solve) return;
  const at::Tensor b = random_batch(op.domain(), 2, seed);
  for (const double lambda : {1e-3, 0.1, 1.0, 50.0}) {
    const at::Tensor solution = op.normal_solve(lambda, b);
    const double scale = (op.norm_bound() * op.norm_bound() + lambda) * l2_norm(solution);
    EXPECT_LE(relative_error(op.normal(solution) + lambda * solution, b, scale), kRounding)
        << "normal_solve, lambda " << lambda << ", seed " << seed;
  }
}

inline void expect_norm_bound(const Operator& op, std::uint64_t seed) {
  at::Tensor x = random_batch(op.domain(), 1, seed);
  for (int i = 0; i < 10; ++i) {  // power iteration, so that the bound is tried where it is tight
    EXPECT_LE(l2_norm(op.forward(x)), op.norm_bound() * l2_norm(x) * (1.0 + kRounding)) << "norm_bound, seed " << seed;
    x = op.normal(x);
    x = x / l2_norm(x);
  }
}

inline void expect_same_results(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << what << ", result " << i;
}

/// Bit for bit: a batch and its elements, one thread and two, packed and strided input.
inline void expect_reproducible(const Operator& op, std::uint64_t seed) {
  constexpr std::int64_t kBatch = 4;
  const at::Tensor x = random_batch(op.domain(), kBatch, seed), v = random_batch(op.codomain(), kBatch, seed + 1000);
  std::vector<at::Tensor> batch;
  {
    const Threads one(1);
    batch = all_results(op, x, v);
  }
  const Threads two(2);
  expect_same_results(all_results(op, x, v), batch, "threads");
  for (std::int64_t b = 0; b < kBatch; ++b) {
    const auto single = all_results(op, x.narrow(0, b, 1), v.narrow(0, b, 1));
    for (std::size_t i = 0; i < single.size(); ++i) EXPECT_TRUE(same_bits(single[i], batch[i].narrow(0, b, 1))) << "batch, result " << i;
  }
  const auto strided = [](const at::Tensor& t) {
    return at::stack({t.transpose(-1, -2), t.transpose(-1, -2)}, -1).select(-1, 1).transpose(-1, -2);
  };
  ASSERT_FALSE(strided(x).is_contiguous());
  expect_same_results(all_results(op, strided(x), strided(v)), batch, "strided");
}

inline void expect_refuses_wrong_shapes(const Operator& op) {
  const at::Tensor x = random_batch(op.domain(), 1, 1), v = random_batch(op.codomain(), 1, 2);
  const auto wrong = [](const at::Tensor& t) { return at::cat({t, t}, -1); };
  EXPECT_THROW(op.forward(wrong(x)), Error);
  EXPECT_THROW(op.adjoint(wrong(v)), Error);
  EXPECT_THROW(op.normal(x.select(0, 0)), Error);
  EXPECT_THROW(op.forward(x.to(x.is_complex() ? at::kComplexDouble : at::kDouble)), Error);
  EXPECT_THROW(op.forward(at::Tensor()), Error);
}

inline void expect_laws(const Operator& op) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    expect_adjoint(op, seed);
    expect_linear(op, seed);
    expect_normal(op, seed);
    expect_normal_solve(op, seed);
    expect_norm_bound(op, seed);
  }
  expect_reproducible(op, 77);
  expect_refuses_wrong_shapes(op);
}

/// Calls make and expects an Error of this kind that mentions every word.
inline void expect_refused(const OperatorType& type, const Parameters& parameters, ErrorKind kind, const std::vector<std::string>& words) {
  try {
    type.make(parameters);
    ADD_FAILURE() << "no error; expected one about " << words.front();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), static_cast<int>(kind)) << error.what();
    for (const auto& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << "'" << word << "' in: " << error.what();
  }
}

}  // namespace postrec::law
