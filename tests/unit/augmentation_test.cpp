#include "postrec/augmentation.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace postrec {
namespace {

// Every pixel tells where it is; none is 0.
at::Tensor numbered(std::int64_t height, std::int64_t width) { return at::arange(1, height * width + 1, at::kFloat).reshape({1, height, width}); }

Augmentation plain() {
  Augmentation how;
  how.flips = false;
  how.warped_share = 0.0;
  return how;
}

// Warped always, up to the given limits.
Augmentation warping(double rotation, double log_zoom) {
  Augmentation how = plain();
  how.warped_share = 1.0;
  how.max_rotation_rad = rotation;
  how.max_log_zoom = log_zoom;
  return how;
}

RandomStreams stream(std::int64_t i) { return RandomStreams(7, i, 1); }

TEST(Augmentation, TheStreamDecidesTheCrop) {
  const at::Tensor image = numbered(41, 37);
  Augmentation how;
  how.max_log_gain = how.max_log_gamma = 0.2;
  how.smooth_phase = true;
  const at::Tensor first = augmented_crop(image, 16, how, stream(3));
  EXPECT_TRUE(first.equal(augmented_crop(image, 16, how, stream(3))));
  EXPECT_FALSE(first.equal(augmented_crop(image, 16, how, stream(4))));
  EXPECT_EQ(first.scalar_type(), at::kComplexFloat);
}

TEST(Augmentation, ACropIsAPartOfTheImage) {
  const at::Tensor image = numbered(23, 19);
  std::set<float> corners;
  for (int i = 0; i < 40; ++i) {
    const at::Tensor crop = augmented_crop(image, 8, plain(), stream(i));
    ASSERT_EQ(crop.sizes(), at::IntArrayRef({1, 8, 8}));
    const auto corner = static_cast<std::int64_t>(crop[0][0][0].item<float>()) - 1;
    corners.insert(static_cast<float>(corner));
    EXPECT_TRUE(crop.equal(image.slice(1, corner / 19, corner / 19 + 8).slice(2, corner % 19, corner % 19 + 8)));
  }
  EXPECT_GT(corners.size(), 20u);  // of 192 places
}

TEST(Augmentation, BeyondTheEdgeIsZero) {
  const at::Tensor image = numbered(5, 30);
  for (int i = 0; i < 10; ++i) {
    const at::Tensor crop = augmented_crop(image, 16, plain(), stream(i));
    // All five rows are there, in order, and nothing else.
    EXPECT_EQ(crop.ne(0.0).sum().item<std::int64_t>(), 5 * 16);
    const at::Tensor rows = crop[0].ne(0.0).any(1).nonzero().flatten();
    ASSERT_EQ(rows.size(0), 5);
    EXPECT_EQ(rows[4].item<std::int64_t>() - rows[0].item<std::int64_t>(), 4);
    EXPECT_EQ((crop[0][rows[1].item<std::int64_t>()][0] - crop[0][rows[0].item<std::int64_t>()][0]).item<float>(), 30.0f);
  }
}

TEST(Augmentation, TheFullerOfTwoPlacesIsTaken) {
  at::Tensor image = at::zeros({1, 64, 64});
  image.slice(1, 0, 32).slice(2, 0, 32).fill_(1.0);
  double fullness = 0.0;
  for (int i = 0; i < 200; ++i) fullness += augmented_crop(image, 16, plain(), stream(i)).mean().item<double>() / 200;
  // One place: the share of a window inside the square is .49 (corner positions 0..48 uniform) along each axis, .25 of a window. The fuller of
  // two: numerically .41 with a standard error of .03 over 200 crops; one place alone would give .25.
  EXPECT_GT(fullness, 0.33);
}

TEST(Augmentation, FlipsGiveAllEightSymmetries) {
  const at::Tensor image = numbered(12, 12);
  Augmentation how = plain();
  how.flips = true;
  std::set<std::pair<float, float>> seen;
  for (int i = 0; i < 200; ++i) {
    const at::Tensor crop = augmented_crop(image, 12, how, stream(i));
    EXPECT_EQ(crop.sum().item<float>(), image.sum().item<float>());
    seen.emplace(crop[0][0][0].item<float>(), crop[0][0][1].item<float>());
  }
  // Corner and its right neighbour name the symmetry; missing one of eight in 200 draws has a chance of 2e-11.
  EXPECT_EQ(seen.size(), 8u);
}

TEST(Augmentation, AWarpByNothingIsTheCropItself) {
  const at::Tensor image = numbered(21, 18);
  for (int i = 0; i < 5; ++i)
    // Bicubic weights at whole pixels are 0 and 1 up to the rounding of positions: 1e-5 pixels times steps of up to 18.
    EXPECT_TRUE(at::allclose(augmented_crop(image, 9, warping(0.0, 0.0), stream(i)), augmented_crop(image, 9, plain(), stream(i)), 0.0, 1e-2));
}

// The place of a blob in a crop, relative to the crop's centre: (row, column), in pixels.
std::pair<double, double> blob_place(const at::Tensor& crop) {
  const at::Tensor weight = crop[0].to(at::kDouble), offset = at::arange(weight.size(0), at::kDouble) - (weight.size(0) - 1) / 2.0;
  const double total = weight.sum().item<double>();
  return {(weight.sum(1) * offset).sum().item<double>() / total, (weight.sum(0) * offset).sum().item<double>() / total};
}

at::Tensor blob(std::int64_t size, double row, double column) {
  const at::Tensor y = (at::arange(size, at::kFloat) - row).square().unsqueeze(1), x = (at::arange(size, at::kFloat) - column).square().unsqueeze(0);
  return (-(y + x) / 8.0).exp().unsqueeze(0);
}

// The first uniform numbers of a stream choose the windows and whether to warp; what the angle and zoom came out as is read off the blob.
TEST(Augmentation, TheWarpTurnsAndZoomsAboutTheCentre) {
  // The window is the whole image, so its centre is the image's.
  constexpr std::int64_t kSize = 65;
  for (int i = 0; i < 12; ++i) {
    const auto [centre_row, centre_column] = blob_place(augmented_crop(blob(kSize, 32, 32), kSize, warping(0.3, 0.25), stream(i)));
    EXPECT_NEAR(centre_row, 0.0, 0.02) << i;  // bicubic interpolation keeps the centre of a smooth blob far better than this
    EXPECT_NEAR(centre_column, 0.0, 0.02) << i;
    // A point to the right and one below keep their distance and their handedness: no mirror, one angle, one zoom.
    const auto [right_row, right_column] = blob_place(augmented_crop(blob(kSize, 32, 46), kSize, warping(0.3, 0.25), stream(i)));
    const auto [below_row, below_column] = blob_place(augmented_crop(blob(kSize, 46, 32), kSize, warping(0.3, 0.25), stream(i)));
    EXPECT_NEAR(below_row, right_column, 0.05) << i;
    EXPECT_NEAR(below_column, -right_row, 0.05) << i;
    const double zoom = std::hypot(right_row, right_column) / 14.0, angle = std::atan2(right_row, right_column);
    EXPECT_LE(std::abs(std::log(zoom)), 0.25 + 0.01) << i;
    EXPECT_LE(std::abs(angle), 0.3 + 0.01) << i;
  }
}

TEST(Augmentation, AZoomScalesShapesAsItMovesThem) {
  int enlarged = 0, reduced = 0;
  for (int i = 0; i < 20; ++i) {
    const at::Tensor crop = augmented_crop(blob(65, 32, 46), 65, warping(0.0, 0.25), stream(i));
    const double zoom = blob_place(crop).second / 14.0;
    // The blob's area grows by zoom^2, from .6 to 1.6. LibTorch's bicubic kernel (a = -.75) keeps the sum of a blob to 1 % along each axis.
    EXPECT_NEAR(crop.sum().item<double>() / blob(65, 32, 46).sum().item<double>(), zoom * zoom, 0.04) << i;
    zoom > 1.0 ? ++enlarged : ++reduced;
  }
  EXPECT_GT(enlarged, 2);  // 20 fair coins: 2 or fewer has a chance of 2e-4; the streams are fixed
  EXPECT_GT(reduced, 2);
}

TEST(Augmentation, GainAndGammaKeepZeroAndOrder) {
  Augmentation how = plain();
  how.max_log_gain = 0.2;
  how.max_log_gamma = 0.3;
  const at::Tensor image = at::arange(0, 64, at::kFloat).reshape({1, 8, 8}) / 63.0;
  std::set<float> maxima;
  for (int i = 0; i < 20; ++i) {
    const at::Tensor crop = augmented_crop(image, 8, how, stream(i)).flatten();
    EXPECT_EQ(crop[0].item<float>(), 0.0f);
    EXPECT_TRUE((crop.slice(0, 1) > crop.slice(0, 0, 63)).all().item<bool>());
    const double gain = crop[63].item<double>();  // 1^gamma = 1
    EXPECT_LE(std::abs(std::log(gain)), 0.2 + 1e-6);
    const double gamma = std::log(crop[32].item<double>() / gain) / std::log(32.0 / 63.0);
    EXPECT_LE(std::abs(std::log(gamma)), 0.3 + 1e-5);
    maxima.insert(crop[63].item<float>());
  }
  EXPECT_GT(maxima.size(), 15u);
}

TEST(Augmentation, PhaseIsSmoothAndItsConstantPartUniform) {
  Augmentation how = plain();
  how.smooth_phase = true;
  const at::Tensor image = at::full({1, 32, 32}, 2.0f);
  double cosine = 0.0, sine = 0.0;
  constexpr int kDraws = 400;
  for (int i = 0; i < kDraws; ++i) {
    const at::Tensor crop = augmented_crop(image, 32, how, stream(i));
    EXPECT_TRUE(at::allclose(crop.abs(), image, 1e-5, 0.0));
    // Two half-waves of standard deviation below 1 over 32 pixels: a step from pixel to pixel is far below 1 rad.
    const at::Tensor step = crop.slice(2, 1) * crop.slice(2, 0, 31).conj();
    EXPECT_LT(step.angle().abs().max().item<double>(), 0.7);
    const double angle = crop[0][16][16].angle().item<double>();
    cosine += std::cos(angle) / kDraws;
    sine += std::sin(angle) / kDraws;
  }
  // Means of 400 unit vectors of uniform direction: standard deviation .035 each; 4.5 of them: false-alarm rate 1.4e-5. Without the uniform part
  // the mean cosine would be exp(-1/2 * variance) > .3.
  EXPECT_NEAR(cosine, 0.0, 0.16);
  EXPECT_NEAR(sine, 0.0, 0.16);
}

}  // namespace
}  // namespace postrec
