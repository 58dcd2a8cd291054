#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "exact_posterior.hpp"
#include "expect_error.hpp"
#include "postrec/linear_solve.hpp"
#include "postrec/random.hpp"
#include "pretend_device.hpp"

namespace postrec::test {
namespace {

// A Hermitian positive definite matrix [n, n] with a condition number of about 100.
at::Tensor hermitian(std::int64_t n) {
  const at::Tensor g = RandomStreams(1, 0, n).normal(0, {n}, at::kComplexFloat).to(at::kComplexDouble);
  return (g.matmul(g.conj().t()) / static_cast<double>(n) + 0.05 * at::eye(n, at::kComplexDouble)).to(at::kComplexFloat);
}

// Row by row, so that a row's bits do not depend on the batch.
LinearMap rowwise(const at::Tensor& h) {
  return [h](const at::Tensor& x) {
    std::vector<at::Tensor> rows;
    for (std::int64_t b = 0; b < x.size(0); ++b) rows.push_back(h.mv(x[b]));
    return at::stack(rows);
  };
}

TEST(ConjugateGradients, AgreesWithDenseSolve) {
  constexpr std::int64_t kN = 60;
  const at::Tensor h = hermitian(kN), b = RandomStreams(2, 0, 4).normal(0, {kN}, at::kComplexFloat);
  const at::Tensor exact = at::linalg_solve(h.to(at::kComplexDouble), b.to(at::kComplexDouble).t()).t();
  const at::Tensor diagonal = at::real(h.diagonal()).reciprocal().contiguous();
  const LinearMap jacobi = [&](const at::Tensor& r) { return at::view_as_complex(at::view_as_real(r) * diagonal.unsqueeze(-1)); };
  for (const LinearMap& precondition : {LinearMap(), jacobi}) {
    at::Tensor x = at::zeros_like(b);
    const SolveReport report = conjugate_gradients(rowwise(h), precondition, b, x, {1e-5, 200});
    EXPECT_LE(report.worst_residual, 1e-5);
    EXPECT_GT(report.iterations, 5);
    // Residual 1e-5 times a condition number of about 100.
    EXPECT_LT((at::abs(x.to(at::kComplexDouble) - exact).norm() / at::abs(exact).norm()).item<double>(), 1e-3);
  }
}

TEST(ConjugateGradients, StartsWhereItIsTold) {
  const at::Tensor h = hermitian(30), b = RandomStreams(2, 0, 2).normal(0, {30}, at::kComplexFloat);
  at::Tensor x = at::zeros_like(b);
  const int cold = conjugate_gradients(rowwise(h), {}, b, x, {1e-4, 200}).iterations;
  const at::Tensor solution = x;
  const int warm = conjugate_gradients(rowwise(h), {}, b, x, {1e-3, 200}).iterations;
  EXPECT_GT(cold, 0);
  EXPECT_EQ(warm, 0);
  EXPECT_TRUE(at::equal(x, solution));
}

// Law: batch. Samples that need few iterations and many sit in the same batch.
TEST(ConjugateGradients, batch) {
  const at::Tensor h = hermitian(30);
  at::Tensor b = RandomStreams(2, 0, 8).normal(0, {30}, at::kComplexFloat);
  b[3].zero_();
  b[5] = h.mv(at::ones({30}, at::kComplexFloat));
  at::Tensor all = at::zeros_like(b);
  all[5].fill_(1.0);
  const at::Tensor start = all.clone();
  at::set_num_threads(2);
  conjugate_gradients(rowwise(h), {}, b, all, {1e-4, 200});
  EXPECT_EQ(at::abs(all[3]).max().item<double>(), 0.0);
  for (const int threads : {1, 2})
    for (const std::int64_t size : {1, 3, 8})
      for (std::int64_t first = 0; first + size <= 8; first += size) {
        at::set_num_threads(threads);
        at::Tensor some = start.narrow(0, first, size);
        conjugate_gradients(rowwise(h), {}, b.narrow(0, first, size), some, {1e-4, 200});
        EXPECT_TRUE(at::equal(some, all.narrow(0, first, size)));
      }
}

TEST(ConjugateGradients, SaysWhenItDoesNotConverge) {
  const at::Tensor h = hermitian(60), b = RandomStreams(2, 0, 1).normal(0, {60}, at::kComplexFloat);
  at::Tensor x = at::zeros_like(b);
  const SolveReport report = conjugate_gradients(rowwise(h), {}, b, x, {1e-6, 3});
  EXPECT_EQ(report.iterations, 3);
  EXPECT_GT(report.worst_residual, 1e-6);
}

TEST(ConjugateGradients, RefusesWhatItCannotSolve) {
  const at::Tensor b = at::ones({2, 5});
  at::Tensor x = at::zeros_like(b);
  expect_error(ErrorKind::kNumerical, "broke down", [&] { conjugate_gradients([](const at::Tensor& v) { return -v; }, {}, b, x, {}); });
  expect_error(ErrorKind::kNumerical, "not finite", [&] { conjugate_gradients([](const at::Tensor& v) { return v * NAN; }, {}, b, x, {}); });
  const at::Tensor nan = at::full({2, 5}, NAN);
  expect_error(ErrorKind::kNumerical, "not finite", [&] { conjugate_gradients([](const at::Tensor& v) { return v; }, {}, nan, x, {}); });
  expect_error(ErrorKind::kNumerical, "r^H M r is negative",
               [&] { conjugate_gradients([](const at::Tensor& v) { return v; }, [](const at::Tensor& r) { return -r; }, b, x, {1e-3, 200}, 1.0); });
}

// There the host looks late, and must still see what happened in between.
TEST(ConjugateGradients, RefusesOnADeviceWhatItCannotSolve) {
  const at::Tensor b = at::ones({2, 5}, pretend::device());
  at::Tensor x = at::zeros_like(b);
  expect_error(ErrorKind::kNumerical, "broke down", [&] { conjugate_gradients([](const at::Tensor& v) { return -v; }, {}, b, x, {}); });
  expect_error(ErrorKind::kNumerical, "not finite", [&] { conjugate_gradients([](const at::Tensor& v) { return v * NAN; }, {}, b, x, {}); });
}

TEST(ConjugateGradients, OnADeviceLooksEveryFourthIteration) {
  const at::Tensor h = hermitian(60), b = RandomStreams(2, 0, 3).normal(0, {60}, at::kComplexFloat), h_there = h.t().contiguous().to(pretend::device());
  at::Tensor here = at::zeros_like(b), there = here.to(pretend::device());
  const SolveReport expected = conjugate_gradients(rowwise(h), {}, b, here, {1e-4, 200});
  pretend::reset_traffic();
  const SolveReport report = conjugate_gradients([&](const at::Tensor& v) { return v.matmul(h_there); }, {}, b.to(pretend::device()), there, {1e-4, 200});
  const int looks = (report.iterations + 3) / 4;
  EXPECT_EQ(report.iterations, expected.iterations);
  EXPECT_EQ(pretend::traffic().to_host, looks);
  EXPECT_EQ(pretend::traffic().waits, 0);
  // Each starts a kernel on a GPU, and one for three numbers is as dear there as one for three images: an iteration's 22, a look's 11, 20 at the start.
  EXPECT_LE(pretend::traffic().queued, 22 * report.iterations + 11 * looks + 20);
  EXPECT_LT((at::abs(there.cpu() - here).norm() / at::abs(here).norm()).item<double>(), 1e-3);  // the tolerance, times a condition number of 100, times float32
}

}  // namespace
}  // namespace postrec::test
