#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "postrec/random.hpp"
#include "spectral_transform.hpp"

namespace postrec::test {
namespace {

// Law: reproducible, of both bases: an image's coefficients are the same bits whatever the batch, the channels and the threads.
TEST(SpectralTransform, reproducible) {
  const int n_threads = at::get_num_threads();
  for (const SpectralBasis basis : {SpectralBasis::kDct, SpectralBasis::kDft})
    for (std::int64_t rows = 1; rows <= 41; ++rows)
      for (const std::int64_t columns : {rows, std::int64_t{13}, std::int64_t{64}, std::int64_t{rows % 8 == 0 || rows == 41 ? 256 : 192}}) {  // the last: cosines by FFT
        at::set_num_threads(2);
        const at::Tensor x = RandomStreams(1, 0, 6).normal(0, {1, rows, columns}, at::kFloat);
        const at::Tensor all = to_natural_basis(basis, x), back = from_natural_basis(basis, all);
        EXPECT_TRUE(at::equal(to_natural_basis(basis, x.view({2, 3, rows, columns})).view(x.sizes()), all)) << rows << "x" << columns;
        for (const int threads : {1, 2}) {
          at::set_num_threads(threads);
          for (std::int64_t i = 0; i < x.size(0); ++i) {
            EXPECT_TRUE(at::equal(to_natural_basis(basis, x.narrow(0, i, 1)), all.narrow(0, i, 1))) << rows << "x" << columns << " image " << i;
            EXPECT_TRUE(at::equal(from_natural_basis(basis, all.narrow(0, i, 1)), back.narrow(0, i, 1))) << rows << "x" << columns << " image " << i;
          }
        }
      }
  at::set_num_threads(n_threads);
}

// Both are orthonormal; sums of up to 200 numbers in single precision, twice.
TEST(SpectralTransform, IsItsOwnInverse) {
  for (const SpectralBasis basis : {SpectralBasis::kDct, SpectralBasis::kDft})
    for (const int rows : {1, 7, 40, 200}) {
      const at::Tensor x = RandomStreams(1, 0, 2).normal(0, {3, rows, 9}, at::kFloat), k = to_natural_basis(basis, x);
      EXPECT_LT((from_natural_basis(basis, k) - x).abs().max().item<double>(), 1e-5);
      EXPECT_NEAR(k.square().sum().item<double>(), x.square().sum().item<double>(), 1e-4 * x.numel());
    }
}

// The FFT's way against the matrices, which a graph goes through: rounding of up to 201 sums in single precision, twice, of coefficients of about 1 (largest seen: 3e-6).
TEST(SpectralTransform, CosinesAreThoseOfTheMatrices) {
  for (const auto& [rows, columns] : std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 191}, {191, 1}, {192, 1}, {1, 192}, {2, 190}, {190, 3}, {7, 186}, {96, 96}, {201, 158}}) {
    const at::Tensor x = RandomStreams(1, 0, 2).normal(0, {1, rows, columns}, at::kFloat), with_graph = x.clone().requires_grad_();
    EXPECT_LT((to_natural_basis(SpectralBasis::kDct, x) - to_natural_basis(SpectralBasis::kDct, with_graph)).abs().max().item<double>(), 1e-5) << rows << "x" << columns;
    EXPECT_LT((from_natural_basis(SpectralBasis::kDct, x) - from_natural_basis(SpectralBasis::kDct, with_graph)).abs().max().item<double>(), 1e-5) << rows << "x" << columns;
  }
}

// A whole period of the cosine of row k, sampled between the pixels, is one coefficient. [Ahmed 1974]
TEST(SpectralTransform, ACosineIsOneCoefficient) {
  constexpr std::int64_t kRows = 96, kColumns = 105, kRow = 20, kColumn = 50;
  const auto cosine = [](std::int64_t k, std::int64_t n) { return (at::arange(n, at::kDouble).add(0.5) * (std::numbers::pi * k / static_cast<double>(n))).cos() * std::sqrt(2.0 / static_cast<double>(n)); };
  const at::Tensor image = at::outer(cosine(kRow, kRows), cosine(kColumn, kColumns)).to(at::kFloat).view({1, 1, kRows, kColumns});
  at::Tensor expected = at::zeros({1, 1, kRows, kColumns});
  expected[0][0][kRow][kColumn] = 1.0;
  EXPECT_LT((to_natural_basis(SpectralBasis::kDct, image) - expected).abs().max().item<double>(), 1e-6);  // of coefficients up to 1
  EXPECT_LT((from_natural_basis(SpectralBasis::kDct, expected) - image).abs().max().item<double>(), 1e-6);
}

}  // namespace
}  // namespace postrec::test
