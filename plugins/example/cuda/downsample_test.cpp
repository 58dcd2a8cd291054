// The work of every GPU thread, run on the host over the same indices: blocks by hand, the adjoint law, the inverse and the closed-form solve.
#include <cmath>
#include <cstdio>
#include <vector>

#include "downsample.hpp"

namespace {

using Numbers = std::vector<float>;

constexpr std::int64_t kImages = 2;

bool all_well = true;

void expect(bool holds, const char* what, const example::Blocks& blocks) {
  if (holds) return;
  all_well = false;
  std::printf("%s, at %d x %d pixels and factor %d\n", what, int(blocks.height), int(blocks.width), int(blocks.factor));
}

/// What the kernel does: work(0) ... work(n - 1).
template <class Work>
void for_each_index(const Work& work, const Numbers& out) {
  for (std::size_t i = 0; i < out.size(); ++i) work(static_cast<std::int64_t>(i));
}

struct OnHost {
  example::Blocks blocks;

  std::size_t n_pixels() const { return kImages * blocks.height * blocks.width; }
  std::size_t n_means() const { return kImages * blocks.rows() * blocks.columns(); }

  Numbers forward(const Numbers& x) const {
    Numbers out(n_means());
    for_each_index(example::MeanOfEachBlock{blocks, x.data(), out.data()}, out);
    return out;
  }
  Numbers adjoint(const Numbers& v) const {
    Numbers out(n_pixels());
    for_each_index(example::AdjointOfMeans{blocks, v.data(), out.data()}, out);
    return out;
  }
  Numbers pseudo_inverse(const Numbers& y) const {
    Numbers out(n_pixels());
    for_each_index(example::RepeatMeans{blocks, y.data(), out.data()}, out);
    return out;
  }
  Numbers normal_solve(float lambda, const Numbers& b) const {
    Numbers out(n_pixels());
    for_each_index(example::SolveEachBlock{blocks, lambda, b.data(), out.data()}, out);
    return out;
  }
};

Numbers noise(std::size_t n, unsigned seed) {
  Numbers values(n);
  for (float& value : values) {
    seed = 1664525u * seed + 1013904223u;
    value = static_cast<float>(seed >> 8) / (1 << 23) - 1.f;
  }
  return values;
}

double inner(const Numbers& a, const Numbers& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

double norm(const Numbers& a) { return std::sqrt(inner(a, a)); }

double distance(Numbers a, const Numbers& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return norm(a);
}

void by_hand() {
  const OnHost op{{3, 5, 2}};  // two images of 3 x 5: blocks of 4, 4, 2 pixels above and 2, 2, 1 below
  Numbers x(op.n_pixels());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  expect(op.forward(x) == Numbers{3, 5, 6.5, 10.5, 12.5, 14, 18, 20, 21.5, 25.5, 27.5, 29}, "forward: these are not the means", op.blocks);
}

void laws(const example::Blocks& blocks) {
  const OnHost op{blocks};
  const Numbers x = noise(op.n_pixels(), 1), v = noise(op.n_means(), 2), ax = op.forward(x);
  // 1e-6 is what PostRec asks of an adjoint in float32.
  expect(std::abs(inner(ax, v) - inner(x, op.adjoint(v))) <= 1e-6 * norm(ax) * norm(v), "adjoint: <Ax, v> and <x, A^T v> differ", blocks);
  // A mean of up to 49 equal numbers: a few roundings each.
  expect(distance(op.forward(op.pseudo_inverse(v)), v) <= 1e-6 * norm(v), "pseudo_inverse: A A^+ v is not v", blocks);
  for (const float lambda : {0.01f, 1.f, 100.f}) {
    const Numbers s = op.normal_solve(lambda, x);
    Numbers back = op.adjoint(op.forward(s));
    for (std::size_t i = 0; i < s.size(); ++i) back[i] += lambda * s[i];
    expect(distance(back, x) <= 1e-5 * ((1 + lambda) * norm(s) + norm(x)), "normal_solve: (A^T A + lambda) s is not b", blocks);
  }
}

}  // namespace

int main() {
  by_hand();
  for (const example::Blocks blocks : {example::Blocks{4, 6, 2}, {7, 11, 3}, {13, 8, 7}, {5, 5, 1}, {3, 2, 9}, {1, 1, 2}}) laws(blocks);
  return all_well ? 0 : 1;
}
