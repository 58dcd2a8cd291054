// The parts of apps that have a truth of their own.
#include <ATen/ATen.h>
#include <sys/resource.h>

#include <array>
#include <cmath>
#include <functional>
#include <set>

#include "app_fixture.hpp"
#include "case/coil_maps.hpp"
#include "case/noise_estimate.hpp"
#include "case/seeds.hpp"
#include "case/simulation.hpp"
#include "case/volume_scale.hpp"
#include "cli/console.hpp"
#include "cli/freed_memory.hpp"
#include "cli/progress.hpp"
#include "expect_error.hpp"
#include "networks.hpp"
#include "postrec/nearest_name.hpp"
#include "postrec/random.hpp"
#include "report/preview.hpp"
#include "result/levels_that_fit.hpp"
#include "result/quality.hpp"
#include "run/output_folder.hpp"
#include "run/session.hpp"

namespace postrec {
namespace {

TEST(NearestName, FindsWhatWasMeant) {
  const std::vector<std::string> known = {"reconstruct", "simulate", "train"};
  EXPECT_EQ(nearest_name("recontruct", known), "reconstruct");
  EXPECT_EQ(nearest_name("trian", known), "train");
  EXPECT_EQ(nearest_name("zzzzzzzzzz", known), "");
  EXPECT_EQ(nearest_hint("zzzzzzzzzz", known), "known: reconstruct, simulate, train");
}

/// y = 10 x.
class Gain : public Operator {
 public:
  TensorSpec domain() const override { return {{1, 4, 5}, at::kFloat}; }
  TensorSpec codomain() const override { return domain(); }
  OperatorTraits traits() const override { return {}; }
  double norm_bound() const override { return 10.0; }
  at::Tensor forward(const at::Tensor& x) const override { return 10.0 * x; }
  using Operator::adjoint;
  at::Tensor adjoint(const at::Tensor& v, const at::Tensor& /*x*/) const override { return 10.0 * v; }
};

// A prior's intensity scale comes from it; A^H y itself is a hundred times as bright.
TEST(DirectReconstruction, IsAsBrightAsTheImageWithoutAPseudoInverse) {
  const at::Tensor x = at::arange(20, at::kFloat).view({1, 4, 5});
  EXPECT_TRUE(at::allclose(direct_reconstruction(Gain(), 10.0 * x), x, 1e-5, 1e-5));
  EXPECT_TRUE(direct_reconstruction(Gain(), at::zeros({1, 4, 5})).equal(at::zeros({1, 4, 5})));
}

// Axial slices lie with the front on top and the right side on the left, however they are stored. Entry [row][column] of a 2x3 slice.
TEST(Preview, HoldsAxialSlicesAsARadiologistDoes) {
  const at::Tensor slice = at::arange(6, at::kFloat).reshape({1, 2, 3});
  const auto shown = [&](std::array<double, 9> direction) {
    ImageGeometry geometry;
    geometry.direction = direction;
    return std::pair(is_axial(geometry), as_shown(slice, geometry));
  };
  const auto expect_shown = [&](const std::array<double, 9>& direction, const at::Tensor& wanted) {
    const auto [axial, picture] = shown(direction);
    EXPECT_TRUE(axial);
    EXPECT_TRUE(picture.equal(wanted));
  };
  expect_shown({1, 0, 0, 0, 1, 0, 0, 0, 1}, slice);
  expect_shown({-1, 0, 0, 0, -1, 0, 0, 0, 1}, slice.flip({1, 2}));
  // Columns run to the back and rows to the left: the picture is the transpose.
  expect_shown({0, 1, 0, 1, 0, 0, 0, 0, 1}, slice.transpose(1, 2));
  expect_shown({0, -1, 0, 1, 0, 0, 0, 0, 1}, slice.transpose(1, 2).flip({2}));
  // Sagittal, and turned by half a right angle: as stored.
  for (const std::array<double, 9>& direction : {std::array<double, 9>{0, 0, 1, 1, 0, 0, 0, -1, 0}, {0.7, -0.7, 0, 0.7, 0.7, 0, 0, 0, 1}}) {
    EXPECT_FALSE(shown(direction).first);
    EXPECT_TRUE(shown(direction).second.equal(slice));
  }
}

TEST(Console, OneLineStaysOneLine) { EXPECT_EQ(one_line("a\n\tb\r\nc\n"), "a b c"); }

// As images are made at a level and freed before the next: eight of 8 MiB, together above what glibc keeps by itself.
TEST(FreedMemory, ComesBackWithoutNewPages) {
  constexpr std::int64_t kBlocks = 8, kBytes = 8 << 20;
  const auto make_and_free = [&] {
    std::vector<at::Tensor> images;
    for (std::int64_t i = 0; i < kBlocks; ++i) images.push_back(at::ones({kBytes}, at::kByte));
  };
  const auto new_pages = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
  };
  keep_freed_memory();
  for (int round = 0; round < 10; ++round) make_and_free();  // until the blocks have found their places
  const long before = new_pages();
  for (int round = 0; round < 10; ++round) make_and_free();
  EXPECT_LT(new_pages() - before, kBlocks * kBytes / 4096) << "pages; one round without memory that was kept takes as many";
}

TEST(Session, ItsSlicesShareWhatTheyLearnOfTheMemory) {
  SessionOptions options;
  options.device = "cpu";
  const Session session(options), other(options);
  const SamplerOptions first = session.sampler_options(0);
  ASSERT_TRUE(first.batch_limit);
  EXPECT_EQ(first.batch_limit, session.sampler_options(1).batch_limit);
  EXPECT_EQ(first.batch_limit, session.options().sampler.batch_limit);
  EXPECT_NE(first.batch_limit, other.options().sampler.batch_limit);
}

TEST(Progress, ClockText) {
  EXPECT_EQ(clock_text(65.4), "1:05");
  EXPECT_EQ(clock_text(7400), "2:03:20");
  EXPECT_EQ(clock_text(-1), "0:00");
}

// What happens on CUDA needs no CUDA to be decided.
TEST(Precision, IsChosenByDevice) {
  EXPECT_EQ(network_precision("auto", at::kCPU), NetworkPrecision::kFloat32);
  EXPECT_EQ(network_precision("auto", at::kCUDA), NetworkPrecision::kTf32);
  for (const NetworkPrecision precision : {NetworkPrecision::kFloat32, NetworkPrecision::kTf32, NetworkPrecision::kBfloat16})
    EXPECT_EQ(network_precision(precision_name(precision), at::kCUDA), precision);
  EXPECT_EQ(network_precision("float32", at::kCPU), NetworkPrecision::kFloat32);
  test::expect_error(ErrorKind::kUnavailable, "CUDA device is needed", [] { network_precision("tf32", at::kCPU); });
  test::expect_error(ErrorKind::kUsage, "float16", [] { network_precision("float16", at::kCUDA); });
}

TEST(Precision, IsThatOfNetworksAlone) {
  const auto network = [] { return std::make_unique<NetworkPrior>(test::small_network_prior(SpectralBasis::kDct, 1)); };
  EXPECT_EQ(precision_of(*in_precision(network(), "auto", at::kCUDA)), NetworkPrecision::kTf32);
  EXPECT_EQ(precision_of(*in_precision(network(), "bfloat16", at::kCUDA)), NetworkPrecision::kBfloat16);
  EXPECT_EQ(precision_of(*in_precision(network(), "auto", at::kCPU)), NetworkPrecision::kFloat32);
  const auto gaussian = [&] { return std::make_unique<GaussianPrior>(network()->network().gaussian()); };
  EXPECT_EQ(precision_of(*in_precision(gaussian(), "auto", at::kCUDA)), NetworkPrecision::kFloat32);
  EXPECT_EQ(precision_of(*in_precision(gaussian(), "float32", at::kCUDA)), NetworkPrecision::kFloat32);
  test::expect_error(ErrorKind::kUsage, "no network", [&] { in_precision(gaussian(), "tf32", at::kCUDA); });
}

TEST(Seeds, DifferBySeedSliceAndPurpose) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (std::int64_t slice = 0; slice < 50; ++slice)
      for (const auto purpose : {SeedPurpose::kSampling, SeedPurpose::kNoise, SeedPurpose::kPhase}) seen.insert(derive_seed(seed, slice, purpose));
  EXPECT_EQ(seen.size(), 20u * 50u * 3u);
  EXPECT_EQ(derive_seed(1, 2, SeedPurpose::kNoise), derive_seed(1, 2, SeedPurpose::kNoise));
}

TEST(CoilMaps, SumOfSquaresIsOneAndCoilsDiffer) {
  const at::Tensor maps = birdcage_maps(8, 31, 37);
  EXPECT_EQ(maps.sizes(), at::IntArrayRef({8, 31, 37}));
  // Rounded to float32 at the end: 8 squares of relative error 2^-24 each.
  EXPECT_LT((maps.abs().square().sum(0) - 1).abs().max().item<double>(), 1e-6);
  // Coil 0 stands at +x, coil 2 at +y: each is strongest on its own side.
  EXPECT_GT(maps[0][15][36].abs().item<double>(), 2 * maps[0][15][0].abs().item<double>());
  EXPECT_GT(maps[2][30][18].abs().item<double>(), 2 * maps[2][0][18].abs().item<double>());
}

TEST(NoiseEstimate, FindsTheNoiseUnderSignalAndMask) {
  const double sigma = 0.25;
  const RandomStreams streams(3, 0, 1);
  at::Tensor kspace = sigma * streams.normal(0, {4, 96, 96}, at::kComplexFloat);
  // A centre a thousand times as strong, and every second line left out.
  kspace.slice(2, 40, 56).slice(3, 40, 56).mul_(1000.0);
  kspace.index_put_({at::indexing::Slice(), at::indexing::Slice(), at::indexing::Slice(1, at::indexing::None, 2)}, 0);
  const auto estimate = estimate_kspace_noise(kspace);
  ASSERT_TRUE(estimate.has_value());
  // 5 % of 4608 positions in 4 coils are 920 magnitudes; the median of a Rayleigh variable has a relative standard error of 0.72/sqrt(2 * 920) ... 2.4 %. Four of them: one
  // false alarm in 16,000 seeds, and the seed is fixed.
  EXPECT_NEAR(*estimate, sigma, 0.1 * sigma);
  EXPECT_FALSE(estimate_kspace_noise(at::real(kspace)).has_value());
  EXPECT_FALSE(estimate_kspace_noise(at::zeros_like(kspace)).has_value());
}

TEST(Simulation, SmoothPhaseIsSmoothAndReproducible) {
  const at::Tensor phase = smooth_phase_rad(5, 61, 67);
  EXPECT_TRUE(at::equal(phase, smooth_phase_rad(5, 61, 67)));
  EXPECT_FALSE(at::equal(phase, smooth_phase_rad(6, 61, 67)));
  // Neighbours differ by at most pi * (sum of k * |amplitude|) / n; the nine amplitudes of a seed stay far below a sum of 10.
  EXPECT_LT(at::diff(phase, 1, 0).abs().max().item<double>(), 10 * M_PI / 61);
  const at::Tensor image = test_volume(1, 61, 67).squeeze(0);
  EXPECT_LT((with_phase(image, phase, at::kComplexFloat).abs() - image).abs().max().item<double>(), 3e-5);  // four roundings of values up to 90
}

TEST(Quality, HounsfieldUnitsAreJudgedRelativeToWater) {
  const at::Tensor truth = test_volume(1, 23, 29) * 12 - 1000;
  const at::Tensor off = truth + 100;
  const auto quality = judge({.mean = off}, truth, IntensityUnit::kHounsfield);
  const at::Tensor water = truth / 1000 + 1;
  const double expected = 0.1 * std::sqrt(23.0 * 29.0) / water.norm().item<double>();
  EXPECT_NEAR(quality["mean"]["nrmse"].get<double>(), expected, 1e-5 * expected);  // float32 images
  EXPECT_FALSE(quality.contains("one_sample"));
}

TEST(Quality, CoverageKnowsTheObject) {
  // The interval holds the truth in the object and misses the empty background.
  const at::Tensor truth = test_volume(2, 23, 29);
  const auto quality = judge({.lower = truth - 1 + truth.eq(0) * 2, .upper = truth + 5, .level = 0.9, .n_samples = 9}, truth, IntensityUnit::kArbitrary);
  EXPECT_EQ(quality["interval_coverage"]["object"], 1.0);
  EXPECT_NEAR(quality["interval_coverage"]["all"].get<double>(), truth.gt(0).to(at::kDouble).mean().item<double>(), 1e-12);
  EXPECT_NEAR(quality["interval_coverage"]["expected"].get<double>(), 0.8, 1e-12);  // nine samples bound (9 - 1)/(9 + 1)
}

TEST(LevelsThatFit, FillTheTimeWhateverLevelsCost) {
  const auto even = [](int n) { return 1.0 + 0.5 * n; };
  const auto dearer_from_eight = [](int n) { return 4.0 + 0.1 * n + (n < 8 ? 0.0 : 0.5 * n); };  // as walks that are long enough for the Jacobian
  const auto the_first_is_dearest = [](int n) { return 3.0 / n + 0.4 * n; };
  for (const std::function<double(int)>& seconds_of : {std::function<double(int)>(even), std::function<double(int)>(dearer_from_eight), std::function<double(int)>(the_first_is_dearest)})
    for (const double seconds : {10.0, 20.0, 100.0}) EXPECT_NEAR(seconds_of(levels_that_fit(seconds, seconds_of)), seconds, 0.1 * seconds);
  // Where eight levels take 8.8 s and seven 4.7 there is nothing nearer.
  EXPECT_EQ(levels_that_fit(7.5, dearer_from_eight), 8);
  EXPECT_EQ(levels_that_fit(4.0, dearer_from_eight), 2);
  test::expect_error(ErrorKind::kUsage, "2 levels take 2.0 s, more than twice the 0.9 s", [&] { levels_that_fit(0.9, even); });
}

TEST(OutputFolder, ParentsAreNotTakenForSeparate) {
  EXPECT_THROW(require_separate_output("", {}), Error);
  EXPECT_THROW(require_separate_output("/a/b", {"/a/b"}), Error);
  EXPECT_THROW(require_separate_output("/a/b/../b/c", {"/a/b"}), Error);
  EXPECT_THROW(require_separate_output("/a", {"/a/b"}), Error);
  EXPECT_NO_THROW(require_separate_output("/a/bc", {"/a/b"}));
}

class OutputFolderOnDisk : public AppTest {};

TEST_F(OutputFolderOnDisk, WhatCameInItsPlaceMeanwhileStays) {
  for (const OnExisting how : {OnExisting::kFail, OnExisting::kOverwrite}) {
    const std::string name = how == OnExisting::kFail ? "new" : "overwritten";
    OutputFolder output(path(name), how, {}, {"run.json"});
    std::filesystem::create_directory(path(name));
    write_text(name + "/thesis.txt", "ten years");
    test::expect_error(ErrorKind::kCannotCreate, "exists", [&] { output.commit(); });
    EXPECT_EQ(content(name + "/thesis.txt"), "ten years");
  }
}

}  // namespace
}  // namespace postrec
