#include "operator_root.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <vector>

#include "../batched_vectors.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

/// Coefficients of (1 - v)^(1/2) = sum_k c_k T_k(2 v/bound - 1) on [0, bound], up to where the sum of the others is below the tolerance.
std::vector<double> coefficients(double bound, double tolerance) {
  constexpr int kNodes = 512, kTerms = 256;
  constexpr double kPi = 3.14159265358979323846;
  std::vector<double> c(kTerms, 0.0);
  for (int k = 0; k < kTerms; ++k) {
    for (int j = 0; j < kNodes; ++j) {
      const double angle = kPi * (j + 0.5) / kNodes;
      c[k] += 2.0 / kNodes * std::sqrt(1.0 - 0.5 * bound * (1.0 + std::cos(angle))) * std::cos(k * angle);
    }
  }
  c[0] *= 0.5;
  // They fall geometrically where the bound is below 1, and like k^-2 where it is not: then more is left out than is seen here.
  if (std::abs(c.back()) * kTerms > tolerance)
    throw Error(ErrorKind::kInternal, "the root of I - M has no short expansion for ||M|| = " + std::to_string(bound),
                "keep ||M|| below 1");
  double rest = 0.0;
  std::size_t n = c.size();
  while (n > 2 && rest + std::abs(c[n - 1]) <= tolerance) rest += std::abs(c[--n]);
  c.resize(n);
  return c;
}

}  // namespace

at::Tensor root_of_one_minus(const LinearMap& matrix, double bound, const at::Tensor& x, double tolerance) {
  const std::vector<double> c = coefficients(bound, tolerance);
  const auto shifted = [&](const at::Tensor& v) { return linear_combination(2.0 / bound, matrix(v), -1.0, v); };
  at::Tensor before = x, term = shifted(x);
  at::Tensor sum = linear_combination(c[0], before, c[1], term);
  for (std::size_t k = 2; k < c.size(); ++k) {
    const at::Tensor next = linear_combination(2.0, shifted(term), -1.0, before);
    before = term;
    term = next;
    sum = linear_combination(1.0, sum, c[k], term);
  }
  return sum;
}

}  // namespace postrec
