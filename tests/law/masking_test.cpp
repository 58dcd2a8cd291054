#include "masking/masking.hpp"

#include <limits>

#include "law_checks.hpp"

namespace postrec {
namespace {

Parameters base(std::int64_t height, std::int64_t width, bool complex = false, std::int64_t channels = 2) {
  Parameters p;
  p.set("channels", channels);
  p.set("height", height);
  p.set("width", width);
  p.set("complex", complex);
  p.set("pattern", std::string("full"));
  return p;
}

Parameters random_pattern(Parameters p, double keep_fraction, std::int64_t seed) {
  p.set("pattern", std::string("random"));
  p.set("keep-fraction", keep_fraction);
  p.set("mask-seed", seed);
  return p;
}

Parameters box(Parameters p, std::int64_t top, std::int64_t left, std::int64_t height, std::int64_t width) {
  p.set("pattern", std::string("box"));
  p.set("top", top);
  p.set("left", left);
  p.set("box-height", height);
  p.set("box-width", width);
  return p;
}

Parameters with_mask(Parameters p, const at::Tensor& mask) {
  p.set("mask", mask);
  return p;
}

/// The mask that an operator applies, [H, W].
at::Tensor seen(const Operator& op) {
  std::vector<std::int64_t> shape = op.domain().shape;
  shape.insert(shape.begin(), 1);
  return at::real(op.forward(at::ones(shape, op.domain().dtype)))[0][0];
}

TEST(Masking, Laws) {
  law::expect_laws(*masking_type().make(random_pattern(base(31, 37), 0.4, 3)));
  law::expect_laws(*masking_type().make(random_pattern(base(31, 37, true, 1), 0.4, 3)));
  law::expect_laws(*masking_type().make(box(base(101, 211, false, 3), 5, 7, 40, 100)));
}

TEST(Masking, BoxHidesTheBoxOnly) {
  const auto op = masking_type().make(box(base(7, 11), 1, 3, 2, 5));
  at::Tensor expected = at::ones({7, 11});
  expected.slice(0, 1, 3).slice(1, 3, 8).zero_();
  EXPECT_TRUE(at::equal(seen(*op), expected));
}

TEST(Masking, RandomKeepsTheFractionAndFollowsTheSeed) {
  const auto mask = [](double fraction, std::int64_t seed) {
    return seen(*masking_type().make(random_pattern(base(31, 37), fraction, seed)));
  };
  EXPECT_EQ(mask(0.3, 1).sum().item<float>(), std::round(0.3 * 31 * 37));
  EXPECT_TRUE(at::equal(mask(0.3, 1), mask(0.3, 1)));
  EXPECT_FALSE(at::equal(mask(0.3, 1), mask(0.3, 2)));
  // Spread evenly: the upper half of the rows holds a hypergeometric number of the 344 kept pixels, mean 166.5, sd 10.9 x sqrt(1 - 0.3)
  // = 7.8; five sd are missed by one seed in a million, and the seed is fixed.
  EXPECT_NEAR(mask(0.3, 1).slice(0, 0, 15).sum().item<float>(), 0.3 * 15 * 37, 5 * 7.8);
}

TEST(Masking, TakesAMaskWithLeadingAxes) {
  const at::Tensor mask = at::rand({1, 1, 5, 7}).gt(0.5);
  const auto op = masking_type().make(with_mask(base(5, 7), mask));
  EXPECT_TRUE(at::equal(seen(*op), mask[0][0].to(at::kFloat)));
}

TEST(Masking, HiddenPixelsNeverGetThrough) {
  const auto op = masking_type().make(box(base(5, 7), 0, 0, 1, 1));
  at::Tensor x = at::ones({1, 2, 5, 7});
  x.select(2, 0).select(2, 0).fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(op->forward(x).sum().item<float>(), 2 * (35 - 1));
}

TEST(Masking, PseudoInverseIsExactOnlyWithAFullMask) {
  const auto full = masking_type().make(base(5, 7));
  EXPECT_EQ(full->traits().pseudo_inverse, PseudoInverseKind::kExact);
  const at::Tensor x = law::random_batch(full->domain(), 2, 1);
  EXPECT_TRUE(law::same_bits(full->pseudo_inverse(full->forward(x)), x));
  EXPECT_EQ(masking_type().make(box(base(5, 7), 0, 0, 1, 1))->traits().pseudo_inverse, PseudoInverseKind::kApproximate);
}

TEST(Masking, RefusesBadParameters) {
  const auto kConfiguration = ErrorKind::kConfiguration;
  const auto refused = [](const Parameters& p, ErrorKind kind, const std::vector<std::string>& words) {
    law::expect_refused(masking_type(), p, kind, words);
  };
  Parameters stripes = base(5, 7);
  stripes.set("pattern", std::string("stripes"));
  refused(stripes, kConfiguration, {"pattern=stripes", "box"});
  refused(with_mask(random_pattern(base(5, 7), 0.5, 0), at::ones({5, 7})), kConfiguration, {"mask", "pattern=random"});
  refused(with_mask(base(5, 7), at::ones({7, 5})), ErrorKind::kBadData, {"mask", "[7, 5]", "[5, 7]"});
  refused(with_mask(base(5, 7), at::zeros({5, 7})), ErrorKind::kBadData, {"mask"});
  refused(with_mask(base(5, 7), at::full({5, 7}, std::numeric_limits<double>::quiet_NaN())), ErrorKind::kBadData, {"mask", "NaN"});
  refused(box(base(5, 7), 4, 0, 2, 1), kConfiguration, {"top=4", "5 x 7"});
  refused(box(base(5, 7), 0, 0, 5, 7), ErrorKind::kBadData, {"every pixel"});
  refused(random_pattern(base(5, 7), 0.0, 0), kConfiguration, {"keep-fraction"});
  refused(base(0, 7), kConfiguration, {"0 x 7"});
}

}  // namespace
}  // namespace postrec
