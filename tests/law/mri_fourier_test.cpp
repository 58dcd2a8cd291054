#include "mri_fourier/mri_fourier.hpp"

#include <algorithm>
#include <complex>
#include <limits>

#include "law_checks.hpp"
#include "mri_fourier/complex_kernels.hpp"
#include "mri_fourier/masks.hpp"

namespace postrec {
namespace {

Parameters base(std::int64_t height, std::int64_t width) {
  Parameters p;
  p.set("height", height);
  p.set("width", width);
  p.set("coils", std::int64_t{1});
  p.set("mask-pattern", std::string("full"));
  p.set("n-acs-lines", std::int64_t{3});
  p.set("mask-seed", std::int64_t{1});
  p.set("undersample-axis", std::string("y"));
  return p;
}

template <class Value>
Parameters with(Parameters p, const std::string& key, Value value) {
  p.set(key, std::move(value));
  return p;
}

Parameters with_pattern(Parameters p, const std::string& pattern) { return with(std::move(p), "mask-pattern", pattern); }

at::Tensor random_maps(std::int64_t n_coils, std::int64_t height, std::int64_t width) {
  return law::random_batch({{height, width}, at::kComplexFloat}, n_coils, 99);
}

std::unique_ptr<Operator> make(const Parameters& p) { return mri_fourier_type().make(p); }

/// F x by its definition, in double: y[p, q] = (HW)^-1/2 sum x[j, i] exp(-2 pi i ((p-H/2)(j-H/2)/H + (q-W/2)(i-W/2)/W)).
at::Tensor direct_dft(const at::Tensor& x) {
  const std::int64_t h = x.size(0), w = x.size(1);
  const at::Tensor in = x.to(at::kComplexDouble).contiguous();
  at::Tensor out = at::zeros({h, w}, at::kComplexDouble);
  const auto* from = reinterpret_cast<const std::complex<double>*>(in.const_data_ptr());
  auto* to = reinterpret_cast<std::complex<double>*>(out.data_ptr());
  for (std::int64_t p = 0; p < h; ++p) {
    for (std::int64_t q = 0; q < w; ++q) {
      for (std::int64_t j = 0; j < h; ++j) {
        for (std::int64_t i = 0; i < w; ++i) {
          const double cycles = double((p - h / 2) * (j - h / 2)) / double(h) + double((q - w / 2) * (i - w / 2)) / double(w);
          to[p * w + q] += from[j * w + i] * std::polar(1.0 / std::sqrt(double(h * w)), -2.0 * M_PI * cycles);
        }
      }
    }
  }
  return out;
}

TEST(MriFourier, IsTheCentredOrthonormalDft) {
  const std::vector<std::pair<std::int64_t, std::int64_t>> sizes = {{5, 7}, {6, 11}, {7, 8}, {12, 10}, {1, 3}};
  for (const auto& [height, width] : sizes) {
    const at::Tensor maps = random_maps(2, height, width);
    const at::Tensor mask = at::arange(height * width).remainder(3).ne(1).view({height, width});
    const auto op = make(with(with(base(height, width), "sens-maps", maps), "mask", mask));
    const at::Tensor x = law::random_batch(op->domain(), 1, 4);
    const at::Tensor y = op->forward(x);
    for (std::int64_t c = 0; c < 2; ++c) {
      const at::Tensor expected = direct_dft(maps[c].to(at::kComplexDouble) * x[0][0]) * mask;
      EXPECT_LE(law::relative_error(y[0][c], expected, law::l2_norm(expected)), law::kRounding)
          << height << " x " << width << ", coil " << c;
    }
  }
}

TEST(MriFourier, AConstantImageIsASpikeAtTheCentre) {
  for (const std::int64_t n : {8, 9}) {
    const at::Tensor y = make(base(n, n))->forward(at::ones({1, 1, n, n}, at::kComplexFloat));
    at::Tensor expected = at::zeros({1, 1, n, n}, at::kComplexFloat);
    expected[0][0][n / 2][n / 2] = static_cast<double>(n);
    EXPECT_LE(law::relative_error(y, expected, static_cast<double>(n)), law::kRounding);
  }
}

TEST(MriFourier, LawsForOneCoil) {
  law::expect_laws(*make(base(31, 37)));
  for (const std::string pattern : {"equispaced", "random", "variable-density", "variable-density-2d", "poisson-disc"}) {
    SCOPED_TRACE(pattern);
    law::expect_laws(*make(with_pattern(base(31, 37), pattern)));
  }
  law::expect_laws(*make(with(with_pattern(base(31, 37), "equispaced"), "undersample-axis", std::string("x"))));
}

TEST(MriFourier, LawsForSeveralCoils) {
  for (const auto& [height, width] : std::vector<std::pair<std::int64_t, std::int64_t>>{{31, 37}, {24, 30}}) {
    const Parameters p = with(base(height, width), "sens-maps", random_maps(3, height, width));
    law::expect_laws(*make(p));
    law::expect_laws(*make(with_pattern(p, "variable-density")));
    law::expect_laws(*make(with(with_pattern(p, "variable-density"), "undersample-axis", std::string("x"))));
    law::expect_laws(*make(with_pattern(p, "poisson-disc")));
  }
}

/// Large enough for the loops and the transforms to be shared between threads; prime, composite and power-of-two sizes.
TEST(MriFourier, IsReproducibleAtLargeSizes) {
  for (const auto& [height, width] : std::vector<std::pair<std::int64_t, std::int64_t>>{{211, 223}, {240, 250}, {256, 256}, {509, 131}}) {
    SCOPED_TRACE(std::to_string(height) + " x " + std::to_string(width));
    const Parameters p = base(height, width);
    for (const std::string pattern : {"equispaced", "variable-density-2d"}) {
      law::expect_reproducible(*make(with_pattern(p, pattern)), 5);
      law::expect_reproducible(*make(with(with_pattern(p, pattern), "sens-maps", random_maps(2, height, width))), 6);
    }
  }
}

/// The host may run in LibTorch's inference mode, and may hand over tensors that autograd follows.
TEST(MriFourier, WorksInAnyAutogradMode) {
  for (const int n_threads : {1, 2}) {
    const law::Threads threads(n_threads);
    const auto op = make(with(with_pattern(base(13, 17), "random"), "sens-maps", random_maps(2, 13, 17)));
    at::Tensor x = law::random_batch(op->domain(), 3, 3);
    const at::Tensor v = law::random_batch(op->codomain(), 3, 4);
    const auto expected = law::all_results(*op, x, v);
    {
      const c10::InferenceMode mode;
      law::expect_same_results(law::all_results(*op, x.clone(), v.clone()), expected, "inference mode");
    }
    for (const auto& result : law::all_results(*op, x.requires_grad_(true), v)) EXPECT_FALSE(result.requires_grad());
  }
}

TEST(MriFourier, WithoutMapsOneCoilHasSensitivityOne) {
  const Parameters p = with_pattern(base(13, 17), "variable-density");
  const auto plain = make(p), with_ones = make(with(p, "sens-maps", at::ones({1, 1, 13, 17}, at::kComplexFloat)));
  EXPECT_TRUE(plain->traits().has_normal_solve);
  EXPECT_FALSE(with_ones->traits().has_normal_solve);
  const at::Tensor x = law::random_batch(plain->domain(), 2, 3);
  EXPECT_LE(law::relative_error(plain->forward(x), with_ones->forward(x), law::l2_norm(x)), law::kRounding);
  EXPECT_LE(law::relative_error(plain->normal(x), with_ones->normal(x), law::l2_norm(x)), law::kRounding);
}

TEST(MriFourier, KeepsItsOwnMapsAndMask) {
  at::Tensor maps = random_maps(2, 13, 17), mask = at::ones({13, 17}, at::kBool);
  const auto op = make(with(with(base(13, 17), "sens-maps", maps), "mask", mask));
  const at::Tensor x = law::random_batch(op->domain(), 1, 3);
  const at::Tensor before = op->forward(x);
  maps.zero_();
  mask.zero_();
  EXPECT_TRUE(law::same_bits(op->forward(x), before));
}

TEST(MriFourier, NormIsReached) {
  EXPECT_EQ(make(with_pattern(base(13, 17), "random"))->norm_bound(), 1.0);
  // A full mask makes A^H A diagonal in the image, sum |S|^2, so a spike at its largest value reaches the norm.
  const at::Tensor maps = random_maps(3, 13, 17);
  const auto op = make(with(base(13, 17), "sens-maps", maps));
  const at::Tensor energy = maps.abs().square().sum(0).flatten();
  at::Tensor x = at::zeros({13 * 17}, at::kComplexFloat);
  x[energy.argmax().item<std::int64_t>()] = 1.0;
  x = x.view({1, 1, 13, 17});
  EXPECT_NEAR(law::l2_norm(op->forward(x)), op->norm_bound(), law::kRounding * op->norm_bound());
}

TEST(MriFourier, PseudoInverseOfOneFullCoilIsExact) {
  const auto op = make(base(13, 17));
  EXPECT_EQ(op->traits().pseudo_inverse, PseudoInverseKind::kExact);
  const at::Tensor x = law::random_batch(op->domain(), 2, 3);
  EXPECT_LE(law::relative_error(op->pseudo_inverse(op->forward(x)), x, law::l2_norm(x)), law::kRounding);
  EXPECT_EQ(make(with_pattern(base(13, 17), "random"))->traits().pseudo_inverse, PseudoInverseKind::kApproximate);
}

TEST(MriFourier, PseudoInverseCombinesCoils) {
  at::Tensor maps = random_maps(3, 13, 17);
  maps.slice(1, 0, 4).zero_();  // no coil sees the first four rows
  const auto op = make(with(base(13, 17), "sens-maps", maps));
  const at::Tensor x = law::random_batch(op->domain(), 1, 3);
  at::Tensor expected = x.clone();
  expected.slice(2, 0, 4).zero_();
  // A pixel where the three coils happen to be weak takes the transform's rounding, |S x| eps, over its own |S|: some times more.
  EXPECT_LE(law::relative_error(op->pseudo_inverse(op->forward(x)), expected, law::l2_norm(x)), 10 * law::kRounding);
  EXPECT_EQ(op->traits().pseudo_inverse, PseudoInverseKind::kApproximate);
}

TEST(MriFourier, TakesMasksOfSeveralShapes) {
  const auto acquired = [](const Parameters& p) {
    const auto op = make(p);
    at::Tensor spike = at::zeros(at::IntArrayRef({1, 1, 5, 7}), at::kComplexFloat);
    spike[0][0][2][3] = 1.0;  // at the origin: every k-space sample is 1 / sqrt(HW)
    return op->forward(spike)[0][0].abs().gt(0.0);
  };
  const at::Tensor plane = at::arange(35).remainder(4).eq(0).view({5, 7});
  EXPECT_TRUE(at::equal(acquired(with(base(5, 7), "mask", plane)), plane));
  EXPECT_TRUE(at::equal(acquired(with(base(5, 7), "mask", plane.view({1, 1, 5, 7}).to(at::kDouble))), plane));
  EXPECT_TRUE(at::equal(acquired(with(base(5, 7), "mask", plane.to(at::kComplexFloat))), plane));
  const at::Tensor rows = at::tensor({1, 0, 1, 1, 0}), columns = at::tensor({1, 0, 1, 1, 0, 0, 1});
  EXPECT_TRUE(at::equal(acquired(with(base(5, 7), "mask", rows)), rows.gt(0).unsqueeze(1).expand({5, 7})));
  EXPECT_TRUE(at::equal(acquired(with(base(5, 7), "mask", rows.unsqueeze(0))), rows.gt(0).unsqueeze(1).expand({5, 7})));
  EXPECT_TRUE(at::equal(acquired(with(with(base(5, 7), "mask", columns), "undersample-axis", std::string("x"))),
                        columns.gt(0).unsqueeze(0).expand({5, 7})));
}

TEST(MriFourier, RefusesBadParameters) {
  const auto refused = [](const Parameters& p, ErrorKind kind, const std::vector<std::string>& words) {
    law::expect_refused(mri_fourier_type(), p, kind, words);
  };
  const auto kConfiguration = ErrorKind::kConfiguration, kBadData = ErrorKind::kBadData;
  const Parameters p = base(13, 17);
  at::Tensor broken = random_maps(2, 13, 17);
  broken[1][3][4] = std::numeric_limits<double>::quiet_NaN();
  refused(with(p, "sens-maps", broken), kBadData, {"sens-maps", "1 value"});
  refused(with(p, "sens-maps", random_maps(2, 17, 13)), kBadData, {"sens-maps", "[2, 17, 13]", "13, 17"});
  refused(with(p, "sens-maps", at::zeros({2, 13, 17}, at::kComplexFloat)), kBadData, {"sens-maps", "0 everywhere"});
  refused(with(p, "mask", at::zeros({13, 17})), kBadData, {"mask", "0 everywhere"});
  refused(with(p, "mask", at::ones({17})), kBadData, {"mask", "[17]", "[13]"});
  refused(with(p, "mask", at::full({13}, std::numeric_limits<double>::quiet_NaN())), kBadData, {"mask", "NaN"});
  refused(with_pattern(with(p, "mask", at::ones({13})), "random"), kConfiguration, {"mask-pattern=random", "mask"});
  refused(with(p, "coils", std::int64_t{8}), kConfiguration, {"coils=8", "sens-maps"});
  refused(with(p, "height", std::int64_t{0}), kConfiguration, {"height=0"});
  refused(with_pattern(p, "spiral"), kConfiguration, {"mask-pattern=spiral", "poisson-disc"});
  refused(with(p, "acceleration", 8.0), kConfiguration, {"acceleration=8", "mask-pattern"});
  refused(with(with(p, "mask", at::ones({13})), "acceleration", 8.0), kConfiguration, {"acceleration=8", "mask-pattern"});
  refused(with(p, "undersample-axis", std::string("z")), kConfiguration, {"undersample-axis=z"});
  refused(with_pattern(with(p, "n-acs-lines", std::int64_t{9}), "random"), kConfiguration, {"n-acs-lines=9", "acceleration=4"});
  refused(with_pattern(with(p, "n-acs-lines", std::int64_t{14}), "random"), kConfiguration, {"n-acs-lines=14", "13"});
}

// Masks.

MaskRequest request(MaskPattern pattern, double acceleration, std::optional<std::int64_t> n_acs_lines, std::uint64_t seed = 1) {
  return {pattern, PhaseEncode::kRows, 211, 157, acceleration, n_acs_lines, seed};
}

const std::vector<MaskPattern> kLinePatterns = {MaskPattern::kEquispaced, MaskPattern::kRandom, MaskPattern::kVariableDensity};
const std::vector<MaskPattern> kPlanePatterns = {MaskPattern::kVariableDensity2d, MaskPattern::kPoissonDisc};

std::int64_t count(const std::vector<std::uint8_t>& mask) { return std::count(mask.begin(), mask.end(), 1); }

TEST(Masks, ReachTheAccelerationWithTheCalibrationBlockIncluded) {
  for (const double acceleration : {1.0, 2.0, 3.7, 4.0, 8.0}) {
    for (const std::optional<std::int64_t> n_acs : {std::optional<std::int64_t>(), {0}, {1}, {16}, {20}}) {
      for (const auto pattern : kLinePatterns) {
        EXPECT_EQ(count(make_mask(request(pattern, acceleration, n_acs))), std::llround(211 / acceleration) * 157);
      }
      for (const auto pattern : kPlanePatterns) {
        EXPECT_EQ(count(make_mask(request(pattern, acceleration, n_acs))), std::llround(211 * 157 / acceleration));
      }
    }
  }
  EXPECT_EQ(count(make_mask(request(MaskPattern::kFull, 4.0, 16))), 211 * 157);
}

TEST(Masks, SampleTheCalibrationBlock) {
  for (const auto pattern : kLinePatterns) {
    const auto mask = make_mask(request(pattern, 8.0, 16));
    for (std::int64_t y = 105 - 8; y < 105 + 8; ++y) {
      for (std::int64_t x = 0; x < 157; ++x) EXPECT_EQ(mask[y * 157 + x], 1);
    }
  }
  for (const auto pattern : kPlanePatterns) {
    const auto mask = make_mask(request(pattern, 8.0, 16));
    for (std::int64_t y = 105 - 8; y < 105 + 8; ++y) {
      for (std::int64_t x = 78 - 8; x < 78 + 8; ++x) EXPECT_EQ(mask[y * 157 + x], 1);
    }
  }
}

/// From the width of the run of acquired samples through DC.
TEST(Masks, CalibrateWithAThirdByDefault) {
  const auto run = [](MaskRequest r, std::int64_t height) {
    r.height = height;
    const auto mask = make_mask(r);
    std::int64_t first = height / 2, last = height / 2;
    while (first > 0 && mask[(first - 1) * 157 + 78]) --first;
    while (last + 1 < height && mask[(last + 1) * 157 + 78]) ++last;
    return last - first + 1;
  };
  EXPECT_EQ(run(request(MaskPattern::kEquispaced, 8.0, std::nullopt), 211), 26 / 3);
  EXPECT_EQ(run(request(MaskPattern::kEquispaced, 4.0, std::nullopt), 400), 24);
  EXPECT_EQ(run(request(MaskPattern::kPoissonDisc, 16.0, std::nullopt), 211), 24);
  EXPECT_EQ(run(request(MaskPattern::kPoissonDisc, 16.0, std::nullopt), 17), 7);  // floor(sqrt(17 * 157 / 16 / 3))
}

TEST(Masks, LinesRunAcrossThePhaseEncodeAxis) {
  for (const auto pattern : kLinePatterns) {
    MaskRequest r = request(pattern, 4.0, 8);
    const auto by_rows = make_mask(r);
    r.phase_encode = PhaseEncode::kColumns;
    const auto by_columns = make_mask(r);
    for (std::int64_t i = 0; i < 211 * 157; ++i) {
      EXPECT_EQ(by_rows[i], by_rows[i / 157 * 157]);
      EXPECT_EQ(by_columns[i], by_columns[i % 157]);
    }
  }
}

TEST(Masks, EquispacedIsRegularAndHoldsDc) {
  MaskRequest r = request(MaskPattern::kEquispaced, 4.0, 0);
  r.height = 256;
  const auto regular = make_mask(r);
  for (std::int64_t y = 0; y < 256; ++y) EXPECT_EQ(regular[y * 157], y % 4 == 128 % 4);
  // With a block, the gaps between the outer lines differ by one at most.
  r.n_acs_lines = 24;
  const auto mask = make_mask(r);
  std::vector<std::int64_t> gaps;
  for (std::int64_t y = 140, last = -1; y < 256; ++y) {
    if (!mask[y * 157]) continue;
    if (last >= 0) gaps.push_back(y - last);
    last = y;
  }
  ASSERT_GT(gaps.size(), 10u);
  EXPECT_LE(*std::max_element(gaps.begin(), gaps.end()) - *std::min_element(gaps.begin(), gaps.end()), 1);
}

TEST(Masks, FollowTheSeed) {
  for (const auto pattern :
       {MaskPattern::kRandom, MaskPattern::kVariableDensity, MaskPattern::kVariableDensity2d, MaskPattern::kPoissonDisc}) {
    EXPECT_EQ(make_mask(request(pattern, 4.0, 8, 3)), make_mask(request(pattern, 4.0, 8, 3)));
    EXPECT_NE(make_mask(request(pattern, 4.0, 8, 3)), make_mask(request(pattern, 4.0, 8, 4)));
  }
}

/// The middle 63 of 211 lines hold 63/211 of random lines and, of the weights (1 - r)^3, 1 - 0.7^4 = 3/4. Means over 50 seeds: the first
/// has a standard deviation of 0.012 (hypergeometric, 26 lines of 211), five of which are missed once in a million, and the seeds are
/// fixed.
TEST(Masks, VariableDensityIsDenserAtTheCentre) {
  const auto inner_fraction = [](MaskPattern pattern) {
    std::int64_t n_inner = 0, n_all = 0;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      const auto mask = make_mask(request(pattern, 8.0, 0, seed));
      n_inner += std::count(mask.begin() + 74 * 157, mask.begin() + 137 * 157, 1);
      n_all += count(mask);
    }
    return static_cast<double>(n_inner) / static_cast<double>(n_all);
  };
  EXPECT_NEAR(inner_fraction(MaskPattern::kRandom), 63.0 / 211.0, 5 * 0.012);
  EXPECT_GT(inner_fraction(MaskPattern::kVariableDensity), 0.5);
  EXPECT_GT(inner_fraction(MaskPattern::kVariableDensity2d), 0.5);
}

/// Law: poisson_disc. Random sequential placement of discs covers 0.547 of the plane when no more fit [Feder 1980], that is a least distance of
/// 0.83 sqrt(acceleration); 0.7 leaves room for the grid, where distances are discrete. Plain random samples have distance 1.
TEST(Masks, poisson_disc) {
  for (const double acceleration : {4.0, 8.0, 12.0, 16.0}) {
    const auto mask = make_mask(request(MaskPattern::kPoissonDisc, acceleration, 10));
    const auto in_block = [](std::int64_t y, std::int64_t x) { return y >= 100 && y < 110 && x >= 73 && x < 83; };
    double least = 1e9;
    for (std::int64_t y = 0; y < 211; ++y) {
      for (std::int64_t x = 0; x < 157; ++x) {
        if (!mask[y * 157 + x] || in_block(y, x)) continue;
        for (std::int64_t v = std::max<std::int64_t>(y - 8, 0); v < std::min<std::int64_t>(y + 9, 211); ++v) {
          for (std::int64_t u = std::max<std::int64_t>(x - 8, 0); u < std::min<std::int64_t>(x + 9, 157); ++u) {
            if (mask[v * 157 + u] && (v != y || u != x)) least = std::min(least, std::hypot(v - y, u - x));
          }
        }
      }
    }
    EXPECT_GE(least, 0.7 * std::sqrt(acceleration)) << "acceleration " << acceleration;
  }
}

/// A single sample is where the first throw falls, whatever the radius: no disc needs to be larger than the plane, or to have more than 2^63 samples.
TEST(Masks, PoissonDiscTakesAnyAcceleration) {
  const auto one_sample = make_mask(request(MaskPattern::kPoissonDisc, 211.0 * 157.0, 0));
  EXPECT_EQ(count(one_sample), 1);
  for (const double acceleration : {1e8, 8e18, 1e300}) EXPECT_EQ(make_mask(request(MaskPattern::kPoissonDisc, acceleration, 0)), one_sample);
}

// Kernels.

TEST(ComplexKernels, AgreeWithTheirFormulas) {
  const auto random = [&](std::uint64_t seed) { return law::random_batch({{41, 53}, at::kComplexFloat}, 1, seed); };
  const at::Tensor a = random(1), b = random(2), start = random(3), weights = at::real(random(4)).contiguous();
  const auto expect = [&](const at::Tensor& got, const at::Tensor& expected) {
    EXPECT_LE(law::relative_error(got, expected, law::l2_norm(expected)), law::kRounding);
  };
  const at::Tensor p = a.to(at::kComplexDouble), q = b.to(at::kComplexDouble);
  at::Tensor out = at::empty_like(a);
  multiply(out, a, b);
  expect(out, p * q);
  conj_multiply(out, a, b);
  expect(out, p.conj() * q);
  out = b.clone();
  conj_multiply(out, a, out);
  expect(out, p.conj() * q);
  conj_combine(out, at::stack({a, start}), {b, a});
  expect(out, p.conj() * q + start.to(at::kComplexDouble).conj() * p);
  out = a.clone();
  scale(out, weights);
  expect(out, p * weights);
}

}  // namespace
}  // namespace postrec
