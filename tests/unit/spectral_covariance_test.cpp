#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "exact_posterior.hpp"
#include "expect_error.hpp"
#include "postrec/random.hpp"
#include "postrec/spectral_covariance.hpp"

namespace postrec::test {
namespace {

constexpr double kPi = 3.14159265358979323846;

struct Kind {
  SpectralBasis basis;
  at::ScalarType dtype;
};
constexpr Kind kKinds[] = {{SpectralBasis::kDft, at::kComplexFloat}, {SpectralBasis::kDct, at::kFloat}, {SpectralBasis::kDft, at::kFloat}};

// Positive and symmetric, c(-k) = c(k), in the order of the basis.
at::Tensor table(SpectralBasis basis, std::int64_t channels, std::int64_t rows, std::int64_t columns) {
  const auto axis = [&](std::int64_t n) { return at::arange(n, at::kFloat) - (basis == SpectralBasis::kDft ? n / 2 : 0); };
  const at::Tensor c = (1.0 + axis(rows).square().unsqueeze(1) + 2.0 * axis(columns).square().unsqueeze(0)).reciprocal();
  return c.unsqueeze(0) * (1.0 + at::arange(channels, at::kFloat).view({-1, 1, 1}));
}

at::Tensor images(const Kind& kind, std::int64_t batch, std::int64_t channels, std::int64_t rows, std::int64_t columns) {
  return RandomStreams(8, 0, batch).normal(0, {channels, rows, columns}, kind.dtype);
}

double relative(const at::Tensor& a, const at::Tensor& b) { return ((as_real_rows(a) - as_real_rows(b)).norm() / as_real_rows(b).norm()).item<double>(); }

// Single precision: a transform of n points errs by about eps log2(n), 1e-6.
constexpr double kRounding = 2e-6;

TEST(SpectralCovariance, orthonormal) {
  for (const Kind& kind : kKinds)
    for (const auto& [rows, columns] : {std::pair{16, 16}, {13, 17}, {1, 8}, {150, 131}}) {
      const SpectralCovariance c(kind.basis, table(kind.basis, 2, rows, columns));
      const at::Tensor x = images(kind, 3, 2, rows, columns), k = c.to_basis(x);
      EXPECT_LT(relative(c.from_basis(k), x), kRounding);
      EXPECT_NEAR((as_real_rows(k).norm() / as_real_rows(x).norm()).item<double>(), 1.0, kRounding);
    }
}

TEST(SpectralCovariance, MeanVarianceIsTheTraceOverThePixels) {
  const at::Tensor factor = 0.5 + RandomStreams(4, 0, 2).uniform(0, {2, 5, 6}), envelope = 0.5 + RandomStreams(5, 0, 2).uniform(0, {1, 5, 6});
  for (const Kind& kind : kKinds) {
    const auto trace_of = [&](const SpectralCovariance& c) {
      const at::Tensor dense = dense_matrix([&](const at::Tensor& x) { return c.apply(x); }, {{2, 5, 6}, kind.dtype});
      return dense.trace().item<double>() / static_cast<double>(dense.size(0));
    };
    const SpectralCovariance alike(kind.basis, table(kind.basis, 2, 5, 6));
    ASSERT_EQ(alike.mean_variance().numel(), 1);
    EXPECT_NEAR(alike.mean_variance()[0].item<double>(), trace_of(alike), kRounding);
    const at::Tensor plain = alike.scaled(factor).mean_variance(), enveloped = alike.scaled(factor).with_envelope(envelope).mean_variance();
    for (std::int64_t i = 0; i < 2; ++i) {
      const SpectralCovariance one = alike.scaled(factor[i]);
      EXPECT_NEAR(plain[i].item<double>(), trace_of(one), kRounding);
      // Real images with the DFT need c(-k) = c(k), which this factor has not.
      if (kind.dtype == at::kComplexFloat) EXPECT_NEAR(enveloped[i].item<double>(), trace_of(one.with_envelope(envelope.narrow(0, i, 1))), kRounding);
    }
  }
}

// A table for each element of the batch does what each table does alone, to the bit.
TEST(SpectralCovariance, OneTableForEach) {
  for (const Kind& kind : kKinds) {
    const SpectralCovariance c(kind.basis, table(kind.basis, 2, 13, 18));
    const at::Tensor x = images(kind, 3, 2, 13, 18), factor = 0.5 + RandomStreams(4, 0, 3).uniform(0, {2, 13, 18});
    const SpectralCovariance each = c.scaled(factor);
    for (std::int64_t i = 0; i < 3; ++i) {
      const SpectralCovariance one = c.scaled(factor[i]);
      EXPECT_TRUE(at::equal(each.apply(x)[i], one.apply(x)[i]));
      EXPECT_TRUE(at::equal(each.apply_factor(x)[i], one.apply_factor(x)[i]));
    }
    EXPECT_LT(relative(c.scaled(at::full({2, 13, 18}, 4.0)).apply_sqrt(x), 2.0 * c.apply_sqrt(x)), kRounding);
  }
}

TEST(SpectralCovariance, factor) {
  for (const Kind& kind : kKinds) {
    const SpectralCovariance c(kind.basis, table(kind.basis, 2, 13, 18));
    const at::Tensor x = images(kind, 3, 2, 13, 18);
    EXPECT_LT(relative(c.apply_factor(c.apply_factor_adjoint(x)), c.apply(x)), kRounding);
    EXPECT_LT(relative(c.apply_sqrt(c.apply_sqrt(x)), c.apply(x)), kRounding);
    // F^H is the adjoint of F: <F w, x> = <w, F^H x>.
    const at::Tensor w = RandomStreams(9, 0, 3).normal(0, {2, 13, 18}, kind.dtype);
    const double left = (as_real_rows(c.apply_factor(w)) * as_real_rows(x)).sum().item<double>();
    const double right = (as_real_rows(w) * as_real_rows(c.apply_factor_adjoint(x))).sum().item<double>();
    EXPECT_NEAR(left, right, kRounding * (as_real_rows(c.apply_factor(w)).norm() * as_real_rows(x).norm()).item<double>());
  }
}

// The DCT-II by its definition, X(k) = s_k sum x(i) cos(pi (2 i + 1) k / 2 n), s_0 = sqrt(1/n), else sqrt(2/n), over both axes.
TEST(SpectralCovariance, DctAgreesWithDirectSums) {
  constexpr int kRows = 7, kColumns = 10;
  const at::Tensor x = images({SpectralBasis::kDct, at::kFloat}, 1, 1, kRows, kColumns);
  const at::Tensor k = SpectralCovariance(SpectralBasis::kDct, table(SpectralBasis::kDct, 1, kRows, kColumns)).to_basis(x);
  const auto value = x.accessor<float, 4>(), found = k.accessor<float, 4>();
  const auto entry = [](int frequency, int i, int n) { return std::sqrt((frequency ? 2.0 : 1.0) / n) * std::cos(kPi * (2 * i + 1) * frequency / (2.0 * n)); };
  for (int p = 0; p < kRows; ++p)
    for (int q = 0; q < kColumns; ++q) {
      double sum = 0.0;
      for (int r = 0; r < kRows; ++r)
        for (int c = 0; c < kColumns; ++c) sum += entry(p, r, kRows) * entry(q, c, kColumns) * value[0][0][r][c];
      EXPECT_NEAR(found[0][0][p][q], sum, 1e-5);
    }
}

TEST(SpectralCovariance, DftHasDcInTheMiddle) {
  for (const int n : {8, 9}) {
    const SpectralCovariance c(SpectralBasis::kDft, table(SpectralBasis::kDft, 1, n, n));
    const at::Tensor k = c.to_basis(at::ones({1, 1, n, n}, at::kComplexFloat));
    EXPECT_NEAR(at::abs(k[0][0][n / 2][n / 2]).item<double>(), n, 1e-4);
    EXPECT_NEAR(at::abs(k).square().sum().item<double>(), n * n, 1e-3);
  }
}

// A dense check that C is what it says: eigenvectors of the real form are sampled cosines and sines.
TEST(SpectralCovariance, RealImagesMayUseTheDft) {
  constexpr int kN = 12;
  const at::Tensor c = table(SpectralBasis::kDft, 1, kN, kN);
  const at::Tensor i = at::arange(kN, at::kFloat);
  const at::Tensor wave = (2.0 * kPi / kN * (2.0 * i.unsqueeze(1) - 3.0 * i.unsqueeze(0)) + 0.4).cos().view({1, 1, kN, kN});
  const double eigenvalue = c[0][kN / 2 + 2][kN / 2 - 3].item<double>();
  EXPECT_LT(relative(SpectralCovariance(SpectralBasis::kDft, c).apply(wave), wave * eigenvalue), 1e-5);
}

// The samples' reproducibility rests on this: ATen's FFT and matrix product give the same bits in every batch and with every thread count.
TEST(SpectralCovariance, BitsDoNotDependOnBatchOrThreads) {
  for (const Kind& kind : kKinds)
    for (const auto& [rows, columns] : {std::pair{16, 16}, {37, 53}, {96, 96}, {211, 160}}) {
      const SpectralCovariance c(kind.basis, table(kind.basis, 1, rows, columns));
      const at::Tensor x = images(kind, 8, 1, rows, columns);
      at::set_num_threads(2);
      const at::Tensor all = c.apply(x);
      for (const int threads : {1, 2}) {
        at::set_num_threads(threads);
        for (const std::int64_t batch : {1, 3, 5})
          for (std::int64_t first = 0; first + batch <= 8; first += batch)
            EXPECT_TRUE(at::equal(c.apply(x.narrow(0, first, batch)), all.narrow(0, first, batch))) << rows << "x" << columns << " threads " << threads;
      }
    }
}

TEST(SpectralCovariance, RefusesWhatIsNoVariance) {
  expect_error(ErrorKind::kBadData, "negative", [] { SpectralCovariance(SpectralBasis::kDct, at::full({1, 2, 2}, -1.0f)); });
  expect_error(ErrorKind::kBadData, "NaN", [] { SpectralCovariance(SpectralBasis::kDct, at::full({1, 2, 2}, NAN)); });
  expect_error(ErrorKind::kBadData, "float32", [] { SpectralCovariance(SpectralBasis::kDct, at::ones({1, 2, 2}, at::kDouble)); });
  expect_error(ErrorKind::kBadData, "[C, H, W]", [] { SpectralCovariance(SpectralBasis::kDct, at::ones({2, 2})); });
}

}  // namespace
}  // namespace postrec::test
