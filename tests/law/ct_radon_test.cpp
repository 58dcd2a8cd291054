#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <numbers>
#include <random>

#include "ct_radon_settings.hpp"
#include "postrec/conformance.hpp"
#include "threads.hpp"

namespace postrec {
namespace {

constexpr double kPi = std::numbers::pi;

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

/// Image [1, 1, H, W] whose pixels are `value` of their centre (mm), averaged over `samples` squared points of the pixel.
at::Tensor image_of(const ct::Geometry& g, int samples, const std::function<double(double x, double z)>& value) {
  at::Tensor image = at::empty({1, 1, g.height, g.width}, at::kFloat);
  float* pixel = image.mutable_data_ptr<float>();
  for (std::int64_t r = 0; r < g.height; ++r) {
    for (std::int64_t c = 0; c < g.width; ++c) {
      double sum = 0;
      for (int i = 0; i < samples; ++i) {
        for (int j = 0; j < samples; ++j) {
          const double dr = (i + 0.5) / samples - 0.5, dc = (j + 0.5) / samples - 0.5;
          sum += value(g.column_x_mm(static_cast<double>(c) + dc), g.row_z_mm(static_cast<double>(r) + dr));
        }
      }
      *pixel++ = static_cast<float>(sum / (samples * samples));
    }
  }
  return image;
}

at::Tensor disc(const ct::Geometry& g, double x0, double z0, double radius, double value) {
  return image_of(g, 8, [=](double x, double z) { return std::hypot(x - x0, z - z0) <= radius ? value : 0.0; });
}

/// Distance of a point from the ray that README.md defines, from its formulas alone: not through ct::ray_of.
double distance_from_ray(const ct::Geometry& g, std::int64_t view, std::int64_t detector, double x, double z) {
  const double angle = g.angles_rad[view];
  const double u = (static_cast<double>(detector) - 0.5 * static_cast<double>(g.n_detectors - 1)) * g.detector_spacing_mm + g.detector_offset_mm;
  const double across = x * std::cos(angle) - z * std::sin(angle), along = x * std::sin(angle) + z * std::cos(angle);
  if (g.beam == ct::Beam::kParallel) return across - u;
  const double fan = g.beam == ct::Beam::kFanFlat ? std::atan(u / g.source_to_detector_mm) : u / g.source_to_detector_mm;
  return across * std::cos(fan) - (g.source_to_isocenter_mm - along) * std::sin(fan);
}

class EverySetting : public testing::TestWithParam<Setting> {};

INSTANTIATE_TEST_SUITE_P(CtRadon, EverySetting, testing::ValuesIn(settings()), [](const auto& info) { return info.param.name; });

TEST_P(EverySetting, KeepsTheLawsOfAnOperator) {
  for (const LawResult& law : check_operator(*make(GetParam().parameters))) {
    EXPECT_TRUE(law.passed) << law.law << ": " << law.error << " > " << law.tolerance << ", " << law.detail;
  }
}

// 1e-6 is the tolerance of operator.hpp. Both directions round each weight in the same way, so what remains is the rounding of sums:
// 6e-8 sqrt(terms) / sqrt(elements), under 1e-8.
void expect_adjoint(const CtRadon& op) {
  double worst = 0;
  for (unsigned seed = 0; seed < 10; ++seed) {
    const at::Tensor x = random(op.domain(), 1, seed), v = random(op.codomain(), 1, seed + 100);
    const at::Tensor ax = op.forward(x);
    worst = std::max(worst, std::abs(inner_product(ax, v) - inner_product(x, op.adjoint(v))) / (euclidean_norm(ax) * euclidean_norm(v)));
  }
  testing::Test::RecordProperty(op.kernels().name, std::to_string(worst * 1e9) + "e-9");
  EXPECT_LE(worst, 1e-7);
}

TEST_P(EverySetting, AdjointIsTheTransposeOnBothInstructionSets) {
  expect_adjoint(*make(GetParam().parameters));
  expect_adjoint(*make_with(GetParam().parameters, ct::portable_kernels()));
}

TEST_P(EverySetting, BatchEqualsSinglesBitForBit) {
  const auto op = make(GetParam().parameters);
  for (const std::int64_t batch : {2, 8, 9, 11}) {
    const at::Tensor x = random(op->domain(), batch, 1), v = random(op->codomain(), batch, 2);
    const at::Tensor ax = op->forward(x), back = op->adjoint(v), fbp = op->pseudo_inverse(v);
    for (std::int64_t b = 0; b < batch; ++b) {
      EXPECT_TRUE(at::equal(ax.narrow(0, b, 1), op->forward(x.narrow(0, b, 1)))) << "forward, image " << b << " of " << batch;
      EXPECT_TRUE(at::equal(back.narrow(0, b, 1), op->adjoint(v.narrow(0, b, 1)))) << "adjoint, image " << b << " of " << batch;
      EXPECT_TRUE(at::equal(fbp.narrow(0, b, 1), op->pseudo_inverse(v.narrow(0, b, 1)))) << "pseudo_inverse, image " << b << " of " << batch;
    }
  }
}

TEST_P(EverySetting, ThreadsDoNotChangeABit) {
  const auto op = make(GetParam().parameters);
  for (const std::int64_t batch : {1, 5}) {
    const at::Tensor x = random(op->domain(), batch, 3), v = random(op->codomain(), batch, 4);
    std::vector<at::Tensor> results;
    for (const int n : {1, 2, 3}) {
      const test::Threads threads(n);
      results.push_back(at::cat({op->forward(x).flatten(), op->adjoint(v).flatten(), op->pseudo_inverse(v).flatten()}));
    }
    EXPECT_TRUE(at::equal(results[0], results[1]));
    EXPECT_TRUE(at::equal(results[0], results[2]));
  }
}

// Both write out the same fused multiply-adds, so a result does not depend on the processor.
TEST_P(EverySetting, PortableAndAvx2AgreeBitForBit) {
  if (!has_avx2()) GTEST_SKIP() << "this processor has no AVX2 and FMA";
  const auto fast = make_with(GetParam().parameters, ct::avx2_kernels()), portable = make_with(GetParam().parameters, ct::portable_kernels());
  for (const std::int64_t batch : {1, 8}) {
    const at::Tensor x = random(fast->domain(), batch, 5), v = random(fast->codomain(), batch, 6);
    EXPECT_TRUE(at::equal(fast->forward(x), portable->forward(x)));
    EXPECT_TRUE(at::equal(fast->adjoint(v), portable->adjoint(v)));
  }
  EXPECT_EQ(fast->norm_bound(), portable->norm_bound());
}

// The candidates of a pixel come from float32 arithmetic, which is coarser for large images: still none may be missed.
TEST(CtRadonKernels, PortableAndAvx2AgreeBitForBitOnALargeImage) {
  if (!has_avx2()) GTEST_SKIP() << "this processor has no AVX2 and FMA";
  const Parameters large = scan(1021, 997, 0.7, 8);  // views at 0 and 90 degrees among them
  const Values source = {{"source-to-isocenter-mm", 600.0}, {"source-to-detector-mm", 1100.0}};
  for (const std::string beam : {"parallel", "fan-flat", "fan-curved"}) {
    const Parameters parameters = with(beam == "parallel" ? large : with(large, source), {{"beam", beam}});
    const auto op = make(parameters);
    const ct::Projector fast(op->geometry(), ct::avx2_kernels()), portable(op->geometry(), ct::portable_kernels());
    const at::Tensor x = random(op->domain(), 1, 5), v = random(op->codomain(), 2, 6), expected = portable.adjoint(v);
    EXPECT_TRUE(at::equal(fast.forward(x), portable.forward(x))) << beam;
    EXPECT_TRUE(at::equal(fast.adjoint(v), expected)) << beam;
    EXPECT_TRUE(at::equal(fast.adjoint(v.narrow(0, 1, 1)), expected.narrow(0, 1, 1))) << beam;
  }
}

void expect_tight_norm_bound(const CtRadon& op) {
  at::Tensor x = at::ones({1, 1, 31, 37}, at::kFloat);
  double norm_from_below = 0;
  for (int i = 0; i < 50; ++i) {
    x = x / euclidean_norm(x);
    norm_from_below = euclidean_norm(op.forward(x));
    x = op.normal(x);
  }
  EXPECT_GE(op.norm_bound(), norm_from_below);
  EXPECT_LE(op.norm_bound(), 1.05 * norm_from_below);
}

TEST_P(EverySetting, NormBoundIsTight) { expect_tight_norm_bound(*make(GetParam().parameters)); }

// One pixel of .9 mm, seen by the same ray of each view: the norm is .9 sqrt(views). The float32 sum of so many equal terms comes out too low, the bound without
// an allowance for their number by 1.6e-4.
TEST(CtRadonNorm, BoundAllowsForTheRoundingOfManyViews) {
  constexpr std::int64_t kViews = 65536;
  const auto op = make(with({}, {{"height", std::int64_t{1}}, {"width", std::int64_t{1}}, {"pixel-mm", 0.9}, {"angles-rad", std::vector<double>(kViews, 0.0)}}));
  const double norm = 0.9f * std::sqrt(static_cast<double>(kViews));
  EXPECT_GE(op->norm_bound(), norm);
  EXPECT_LE(op->norm_bound(), 1.02 * norm);
}

// Rays that are a millionth of a millimetre apart: each pixel meets all of them or none, and is not offered millions.
TEST(CtRadonKernels, ADetectorMuchFinerThanAPixelIsProjected) {
  const Values fine = {{"detector-spacing-mm", 1e-6}, {"n-detectors", std::int64_t{19}}};
  for (const Parameters& parameters : {with(parallel(fine), {{"pixel-mm", 1e6}}), fan("fan-flat", 1e5, 1e6, fine)}) {
    expect_adjoint(*make(parameters));
    expect_adjoint(*make_with(parameters, ct::portable_kernels()));
    expect_tight_norm_bound(*make(with(parameters, {{"n-views", std::int64_t{1}}})));
  }
}

// A Gaussian's line integral is sqrt(2 pi) sigma exp(-d^2 / 2 sigma^2) at distance d, in each beam: this checks value, unit and orientation of
// every ray at once. Linear interpolation errs by at most h^2/8 max|f''| = 1/(8 sigma^2), sigma in pixels: 0.5 % of the peak for sigma = 5.
TEST_P(EverySetting, GaussianHasItsClosedFormLineIntegrals) {
  Parameters fine = GetParam().parameters;
  fine.set("height", std::int64_t{93});
  fine.set("width", std::int64_t{111});
  fine.set("pixel-mm", 0.7 / 3);
  if (!fine.has("detector-spacing-mm")) fine.set("detector-spacing-mm", 0.5);
  const auto op = make(fine);
  const ct::Geometry& g = op->geometry();
  const double x0 = 3.4, z0 = 2.1, sigma = 5 * g.pixel_mm;  // right of the middle and above it; the image ends 5 sigma away
  const at::Tensor sinogram = op->forward(
      image_of(g, 1, [=](double x, double z) { return std::exp(-0.5 * (std::pow(x - x0, 2) + std::pow(z - z0, 2)) / (sigma * sigma)); }));
  const double peak = std::sqrt(2 * kPi) * sigma;
  double worst = 0, largest = 0;
  for (std::int64_t view = 0; view < g.n_views(); ++view) {
    for (std::int64_t k = 0; k < g.n_detectors; ++k) {
      const double d = distance_from_ray(g, view, k, x0, z0), expected = peak * std::exp(-0.5 * d * d / (sigma * sigma));
      worst = std::max(worst, std::abs(sinogram[0][view][k].item<double>() - expected));
      largest = std::max(largest, expected);
    }
  }
  EXPECT_LE(worst, 0.006 * peak);
  EXPECT_GT(largest, 0.1 * peak);  // some ray saw it
}

Parameters centred_scan(const Values& values) {
  Parameters parameters = scan(200, 200, 0.5, 12);
  return with(parameters, values);
}

std::vector<Parameters> one_of_each_beam() {
  const Values source = {{"source-to-isocenter-mm", 300.0}, {"source-to-detector-mm", 500.0}};
  return {centred_scan({}), with(centred_scan(source), {{"beam", std::string("fan-flat")}}), with(centred_scan(source), {{"beam", std::string("fan-curved")}})};
}

// A disc of 30 mm and 0.02/mm. Its pixels hold area averages; a ray crosses its edge twice, each time with an error below a pixel's chord share:
// a few tenths of a pixel (0.5 mm) of a chord of at least 36 mm.
TEST(CtRadonPhysics, DiscHasItsChordsInMillimetres) {
  for (const Parameters& parameters : one_of_each_beam()) {
    const auto op = make(parameters);
    const ct::Geometry& g = op->geometry();
    const at::Tensor sinogram = op->forward(disc(g, 0, 0, 30, 0.02));
    int n = 0;
    for (std::int64_t view = 0; view < g.n_views(); ++view) {
      for (std::int64_t k = 0; k < g.n_detectors; ++k) {
        const double d = distance_from_ray(g, view, k, 0, 0), value = sinogram[0][view][k].item<double>();
        if (std::abs(d) > 30.8) {  // a pixel's half diagonal and the interpolation's reach
          EXPECT_EQ(value, 0.0);
        }
        if (std::abs(d) > 24) continue;
        EXPECT_NEAR(value / (0.02 * 2 * std::sqrt(900 - d * d)), 1.0, 0.005) << "view " << view << " detector " << k;
        ++n;
      }
    }
    EXPECT_GT(n, 500);
  }
}

/// The detector, as a fraction of the row, that a bright pixel at column and row is seen by in the first view.
double seen_at(const Parameters& parameters, double angle, std::int64_t row, std::int64_t column) {
  Parameters one_view = parameters;
  one_view.set("n-views", std::int64_t{1});
  one_view.set("first-angle-rad", angle);
  const auto op = make(one_view);
  at::Tensor image = at::zeros({1, 1, 200, 200}, at::kFloat);
  image[0][0][row][column] = 1.0f;
  return op->forward(image).argmax().item<double>() / static_cast<double>(op->geometry().n_detectors - 1);
}

// README.md: x right, z up; detector coordinates grow towards +x at angle 0; a positive angle turns the source from +z towards +x.
TEST(CtRadonPhysics, OrientationIsThatOfIec61217) {
  for (const Parameters& parameters : one_of_each_beam()) {
    EXPECT_GT(seen_at(parameters, 0.0, 100, 160), 0.6);        // right of the middle: large coordinates
    EXPECT_LT(seen_at(parameters, 0.5 * kPi, 40, 100), 0.4);   // above the middle, source at the right: small coordinates
    EXPECT_LT(seen_at(parameters, kPi, 100, 160), 0.4);        // from below, right and left change places
  }
  // Nearer to the source is magnified more: at angle 0 the source is above.
  for (std::size_t beam = 1; beam < 3; ++beam) {
    EXPECT_GT(seen_at(one_of_each_beam()[beam], 0.0, 40, 160), seen_at(one_of_each_beam()[beam], 0.0, 160, 160) + 0.03);
  }
}

// The integral of a parallel view is the integral of the image. For a smooth image the rectangle rule is exact to far below 1e-3.
TEST(CtRadonPhysics, ParallelViewsConserveMass) {
  const auto op = make(centred_scan({{"detector-spacing-mm", 0.37}}));
  const ct::Geometry& g = op->geometry();
  const at::Tensor image = image_of(g, 1, [](double x, double z) { return std::exp(-0.5 * (std::pow(x - 9, 2) + std::pow(z + 7, 2)) / 36); });
  const at::Tensor mass = op->forward(image).sum(-1).to(at::kDouble) * g.detector_spacing_mm;
  const double expected = image.to(at::kDouble).sum().item<double>() * g.pixel_mm * g.pixel_mm;
  EXPECT_LE((mass / expected - 1).abs().max().item<double>(), 1e-3);
}

TEST(CtRadonPhysics, DefaultDetectorSeesTheCorners) {
  for (const Parameters& parameters : one_of_each_beam()) {
    const auto op = make(parameters);
    const at::Tensor seen = op->adjoint(at::ones({1, op->geometry().n_views(), op->geometry().n_detectors}, at::kFloat))[0][0];
    const double middle = seen[100][100].item<double>();
    for (const auto& corner : {seen[0][0], seen[0][199], seen[199][0], seen[199][199]}) EXPECT_GT(corner.item<double>(), 0.7 * middle);
  }
}

/// FBP of a disc (20 mm, 0.02/mm, off centre) in a 128 x 128 image of 0.8 mm pixels; returns the image's relative error within 0.8 of its radius (mean
/// and root mean square) and the root mean square outside, all over the disc's value.
struct FbpError {
  double mean, rms, outside;
};

FbpError fbp_error(const Values& values) {
  const Parameters parameters = with({}, {{"height", std::int64_t{128}}, {"width", std::int64_t{128}}, {"pixel-mm", 0.8}});
  const auto op = make(with(parameters, values));
  const ct::Geometry& g = op->geometry();
  const at::Tensor image = op->pseudo_inverse(op->forward(disc(g, 9, 6, 20, 0.02)))[0][0];
  double sum = 0, square = 0, outside = 0;
  int n = 0, n_outside = 0;
  for (std::int64_t r = 0; r < 128; ++r) {
    for (std::int64_t c = 0; c < 128; ++c) {
      const double distance = std::hypot(g.column_x_mm(static_cast<double>(c)) - 9, g.row_z_mm(static_cast<double>(r)) - 6);
      const double value = image[r][c].item<double>() / 0.02;
      if (distance < 16) {
        sum += value - 1;
        square += (value - 1) * (value - 1);
        ++n;
      } else if (distance > 24 && distance < 34) {
        outside += value * value;
        ++n_outside;
      }
    }
  }
  return {sum / n, std::sqrt(square / n), std::sqrt(outside / n_outside)};
}

ParameterValue jittered_half_circle() {
  std::mt19937 generator(7);
  std::uniform_real_distribution<double> jitter(-0.4, 0.4);
  std::vector<double> angles;
  for (int i = 0; i < 240; ++i) angles.push_back((i + jitter(generator)) * kPi / 240);
  std::shuffle(angles.begin(), angles.end(), generator);
  return angles;
}

const Values kFlat = {{"beam", std::string("fan-flat")}, {"source-to-isocenter-mm", 200.0}, {"source-to-detector-mm", 400.0}};
const Values kCurved = {{"beam", std::string("fan-curved")}, {"source-to-isocenter-mm", 200.0}, {"source-to-detector-mm", 400.0}};

Values operator+(Values values, const Values& more) {
  values.insert(values.end(), more.begin(), more.end());
  return values;
}

// What limits FBP here is the disc's edge: its ringing at the detector's sampling, and streaks of a finite number of views. Measured: 0.4 % of single
// pixels within and 0.7 % outside, which average out to 0.2 % at most over the disc (a short scan that ends 0.14 rad before Parker's arc). Twice that is
// allowed; a wrong weight or half a detector's shift costs several per cent.
TEST(CtRadonFbp, ReconstructsADisc) {
  const std::vector<std::pair<const char*, Values>> cases = {
      {"parallel, half circle", {{"n-views", std::int64_t{240}}}},
      {"parallel, full circle", {{"n-views", std::int64_t{360}}, {"arc-rad", 2 * kPi}}},
      {"parallel, clockwise", {{"n-views", std::int64_t{240}}, {"arc-rad", -kPi}, {"first-angle-rad", 1.0}}},
      {"parallel, irregular", {{"angles-rad", jittered_half_circle()}}},
      {"parallel, Hann", {{"n-views", std::int64_t{240}}, {"fbp-filter", std::string("hann")}}},
      {"parallel, fine detector with offset", {{"n-views", std::int64_t{240}}, {"detector-spacing-mm", 0.5}, {"detector-offset-mm", 0.17}}},
      {"flat, full circle", kFlat + Values{{"n-views", std::int64_t{360}}}},
      {"flat, short scan", kFlat + Values{{"n-views", std::int64_t{240}}, {"arc-rad", kPi + 0.6}, {"first-angle-rad", 0.7}}},
      {"flat, longer than short", kFlat + Values{{"n-views", std::int64_t{240}}, {"arc-rad", 4.6}}},
      {"curved, full circle", kCurved + Values{{"n-views", std::int64_t{360}}, {"detector-offset-mm", 0.4}}},
      {"parallel, displaced, full circle", {{"n-views", std::int64_t{360}}, {"arc-rad", 2 * kPi}, {"n-detectors", std::int64_t{100}}, {"detector-offset-mm", 25.0}}},
      {"flat, displaced", kFlat + Values{{"n-views", std::int64_t{360}}, {"n-detectors", std::int64_t{100}}, {"detector-offset-mm", -50.0}}},
      {"curved, displaced", kCurved + Values{{"n-views", std::int64_t{360}}, {"n-detectors", std::int64_t{100}}, {"detector-offset-mm", 50.0}}},
      {"curved, short scan", kCurved + Values{{"n-views", std::int64_t{240}}, {"arc-rad", -kPi - 0.6}}},
  };
  for (const auto& [name, values] : cases) {
    const FbpError error = fbp_error(values);
    RecordProperty(name, std::to_string(error.mean) + " " + std::to_string(error.rms) + " " + std::to_string(error.outside));
    EXPECT_LE(std::abs(error.mean), 0.004) << name;
    EXPECT_LE(error.rms, 0.008) << name;
    EXPECT_LE(error.outside, 0.015) << name;
  }
}

TEST(CtRadonFbp, AngularWeightsAreHalfTheGaps) {
  const std::vector<double> circle = ct::angular_weights({0.0, 1.0, 2.5}, 4.0);
  EXPECT_NEAR(circle[0], 1.25, 1e-12);
  EXPECT_NEAR(circle[1], 1.25, 1e-12);
  EXPECT_NEAR(circle[2], 1.5, 1e-12);
  // Twice round: each pair shares the weight. Angles in any order and beyond one period.
  const std::vector<double> twice = ct::angular_weights({2.0, 0.0, 6.0, 4.0}, 4.0);
  for (const double weight : twice) EXPECT_NEAR(weight, 1.0, 1e-12);
  // An arc: what is missing is not counted.
  const std::vector<double> arc = ct::angular_weights({0.0, 0.1, 0.2, 0.3}, 4.0);
  for (const double weight : arc) EXPECT_NEAR(weight, 0.1, 1e-12);
}

TEST(CtRadonParameters, WhatDoesNotFitGivesOneClearError) {
  const Parameters good = scan(20, 20, 1.0, 10);
  const Values source = {{"source-to-isocenter-mm", 100.0}, {"source-to-detector-mm", 150.0}};
  const auto text = [](const char* value) { return std::string(value); };
  const std::vector<std::pair<Values, std::string>> bad = {
      {{{"height", std::int64_t{0}}}, "height"},
      {{{"width", std::int64_t{-3}}}, "width"},
      {{{"pixel-mm", 0.0}}, "pixel-mm"},
      {{{"pixel-mm", std::nan("")}}, "pixel-mm"},
      {{{"beam", text("cone")}}, "beam"},
      {{{"fbp-filter", text("cosine")}}, "fbp-filter"},
      {{{"n-views", std::int64_t{0}}}, "n-views"},
      {{{"arc-rad", 0.0}}, "arc-rad"},
      {{{"angles-rad", std::vector<double>{0.0, 1.0}}}, "n-views"},
      {{{"n-detectors", std::int64_t{0}}}, "n-detectors"},
      {{{"detector-spacing-mm", -1.0}}, "detector-spacing-mm"},
      {{{"detector-spacing-mm", 1e-4}}, "more than 65536 detectors"},
      {source, "parallel"},
      {{{"beam", text("fan-flat")}}, "source-to-isocenter-mm"},
      {source + Values{{"beam", text("fan-flat")}, {"source-to-isocenter-mm", 14.0}}, "inside the image"},
      {source + Values{{"beam", text("fan-flat")}, {"source-to-detector-mm", 90.0}}, "source-to-detector-mm"},
      {source + Values{{"beam", text("fan-curved")}, {"detector-spacing-mm", 10.0}, {"n-detectors", std::int64_t{60}}}, "reaches round"},
      {{{"height", text("twenty")}}, "height"},
  };
  for (const auto& [values, named] : bad) {
    try {
      make(with(good, values));
      ADD_FAILURE() << "accepted, though it should name " << named;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
      EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
      EXPECT_FALSE(error.hint().empty()) << error.what();
    }
  }
  EXPECT_THROW(make(with({}, {{"height", std::int64_t{20}}, {"width", std::int64_t{20}}})), Error);
}

TEST(CtRadonParameters, DefaultsAreTheDocumentedOnes) {
  const auto op = make(with({}, {{"height", std::int64_t{30}}, {"width", std::int64_t{40}}, {"pixel-mm", 2.0}}));
  EXPECT_EQ(op->codomain(), (TensorSpec{{180, 51}, at::kFloat}));  // a diagonal of 50 pixels, and one more
  EXPECT_DOUBLE_EQ(op->geometry().angles_rad[90], 0.5 * kPi);
}

TEST(CtRadonKernels, Avx2RunsWhereTheProcessorHasItUnlessForbidden) {
  EXPECT_STREQ(ct::best_kernels().name, has_avx2() ? "avx2" : "portable");
  ASSERT_EQ(setenv("POSTREC_CT_PORTABLE", "1", 1), 0);
  EXPECT_STREQ(ct::best_kernels().name, "portable");
  ASSERT_EQ(unsetenv("POSTREC_CT_PORTABLE"), 0);
}

}  // namespace
}  // namespace postrec
