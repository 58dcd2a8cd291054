// The sums of a small image that one can add by hand, and the adjoint law on it.
#include <cstdio>

#include "row_sum.hpp"

int main() {
  const example::RowSum row_sum(2, 3);
  const postrec::Operator& op = row_sum;
  const at::Tensor x = at::tensor({1.f, 2.f, 3.f, 4.f, 5.f, 6.f}).view({1, 1, 2, 3});
  const at::Tensor v = at::tensor({10.f, -1.f}).view({1, 2});
  const bool sums = op.forward(x).equal(at::tensor({6.f, 15.f}).view({1, 2}));
  const bool matched = op.forward(x).mul(v).sum().item<float>() == op.adjoint(v).mul(x).sum().item<float>();
  if (!sums) std::puts("forward: expected the row sums 6 and 15");
  if (!matched) std::puts("adjoint: <Ax, v> and <x, A^T v> differ");
  return sums && matched ? 0 : 1;
}
