#include "grayscale/grayscale.hpp"

#include <limits>

#include "law_checks.hpp"

namespace postrec {
namespace {

Parameters parameters(const std::vector<double>& weights, std::int64_t height = 13, std::int64_t width = 17) {
  Parameters p;
  p.set("height", height);
  p.set("width", width);
  p.set("weights", weights);
  return p;
}

TEST(Grayscale, Laws) {
  law::expect_laws(*grayscale_type().make(parameters({0.2126, 0.7152, 0.0722})));
  law::expect_laws(*grayscale_type().make(parameters({1.0, -2.0, 0.0}, 101, 211)));
}

TEST(Grayscale, IsTheWeightedSum) {
  const auto op = grayscale_type().make(parameters({0.5, 0.25, 2.0}, 1, 2));
  const at::Tensor x = at::tensor({1.f, 2.f, 4.f, 8.f, 16.f, 32.f}).view({1, 3, 1, 2});
  EXPECT_TRUE(law::same_bits(op->forward(x), at::tensor({33.5f, 67.f}).view({1, 1, 1, 2})));  // sums of powers of two are exact
}

TEST(Grayscale, NormIsReached) {
  const auto op = grayscale_type().make(parameters({3.0, 4.0, 12.0}, 2, 2));
  EXPECT_DOUBLE_EQ(op->norm_bound(), 13.0);
  const at::Tensor x = op->adjoint(at::ones({1, 1, 2, 2}));
  EXPECT_NEAR(law::l2_norm(op->forward(x)) / law::l2_norm(x), 13.0, 13.0 * law::kRounding);
}

TEST(Grayscale, PseudoInverseIsMoorePenrose) {
  const auto op = grayscale_type().make(parameters({0.2126, 0.7152, 0.0722}));
  const at::Tensor y = law::random_batch(op->codomain(), 2, 5);
  const at::Tensor x = op->pseudo_inverse(y);
  EXPECT_LE(law::relative_error(op->forward(x), y, law::l2_norm(y)), law::kRounding);
  // Least energy: what A cannot see of x is nothing, so that the parts of w-orthogonal images vanish.
  const at::Tensor z = law::random_batch(op->domain(), 2, 6);
  const at::Tensor unseen = z - op->pseudo_inverse(op->forward(z));
  EXPECT_LE(std::abs(law::inner_product(x, unseen)), law::kRounding * law::l2_norm(x) * law::l2_norm(z));
}

TEST(Grayscale, RefusesBadWeights) {
  const auto kConfiguration = ErrorKind::kConfiguration;
  law::expect_refused(grayscale_type(), parameters({0.3, 0.6}), kConfiguration, {"weights", "2", "3"});
  law::expect_refused(grayscale_type(), parameters({0.0, 0.0, 0.0}), kConfiguration, {"weights", "0"});
  law::expect_refused(grayscale_type(), parameters({0.3, std::numeric_limits<double>::quiet_NaN(), 0.1}), kConfiguration,
                      {"weights", "finite"});
  law::expect_refused(grayscale_type(), parameters({0.3, 0.6, 0.1}, 0), kConfiguration, {"height=0"});
}

}  // namespace
}  // namespace postrec
