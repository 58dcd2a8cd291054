#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "postrec/random.hpp"
#include "spectral_transform.hpp"

namespace postrec::test {
namespace {

// Law: reproducible, of both bases: an image's coefficients are the same bits whatever the batch, the channels and the threads.
TEST(SpectralTransform, reproducible) {
  const int n_threads = at::get_num_threads();
  for (const SpectralBasis basis : {SpectralBasis::kDct, SpectralBasis::kDft})
    for (std::int64_t rows = 1; rows <= 41; ++rows)
      for (const std::int64_t columns : {rows, std::int64_t{13}, std::int64_t{rows == 41 ? 256 : 64}}) {
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

// Both are orthonormal; sums of up to 40 numbers in single precision, twice.
TEST(SpectralTransform, IsItsOwnInverse) {
  for (const SpectralBasis basis : {SpectralBasis::kDct, SpectralBasis::kDft})
    for (const int rows : {1, 7, 40}) {
      const at::Tensor x = RandomStreams(1, 0, 2).normal(0, {3, rows, 9}, at::kFloat), k = to_natural_basis(basis, x);
      EXPECT_LT((from_natural_basis(basis, k) - x).abs().max().item<double>(), 1e-5);
      EXPECT_NEAR(k.square().sum().item<double>(), x.square().sum().item<double>(), 1e-4 * x.numel());
    }
}

}  // namespace
}  // namespace postrec::test
