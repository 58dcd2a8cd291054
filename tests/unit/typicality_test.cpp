#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "expect_error.hpp"
#include "postrec/gaussian_prior.hpp"
#include "postrec/random.hpp"
#include "postrec/typicality.hpp"
#include "temp_folder.hpp"

namespace postrec::test {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSide = 32;

GaussianPrior gaussian(SpectralBasis basis) {
  const double centre = basis == SpectralBasis::kDct ? 0.0 : kSide / 2.0, scale = basis == SpectralBasis::kDct ? 0.5 : 1.0;
  const at::Tensor f = scale * (at::arange(kSide, at::kDouble) - centre);
  const at::Tensor s = 30.0 / (1.0 + f.square().unsqueeze(1) + f.square().unsqueeze(0)).pow(1.3);
  PriorInfo info;
  info.name = "test";
  return GaussianPrior(basis, s.to(at::kFloat).unsqueeze(0), at::zeros({1}, at::kFloat), 0.0, info);
}

at::Tensor drawn(const GaussianPrior& prior, std::uint64_t seed) {
  return SpectralCovariance(prior.basis(), prior.spectrum()).apply_factor(RandomStreams(seed, 0, 1).normal(0, {1, kSide, kSide}, prior.domain().dtype));
}

std::vector<double> misfits_of(const GaussianPrior& prior, const at::Tensor& x, std::uint64_t seed) { return band_misfits(prior, x, 1000 + seed); }

/// `per_subject` images the prior drew for each of `subjects`.
TypicalImages typical_of(const GaussianPrior& prior, int subjects, int per_subject) {
  std::vector<TypicalImage> images;
  for (int i = 0; i < subjects * per_subject; ++i) images.push_back({i / per_subject, misfits_of(prior, drawn(prior, i), i)});
  return {"a prior's", images};
}

// A Gaussian prior's error is N(0, Q c Q^H) exactly, so exp(misfit) is a weighted mean of chi-squares with mean 1. Its variance is 2 sum c^2/(sum c)^2 at
// most, and that is at most 2 (of a band with one coefficient): over 200 images and 4.5 standard deviations, 4.5 (2/200)^(1/2) = .45 for that one. Tighter
// in the highest band, with more than 800 coefficients of about the same c: (2/800/200)^(1/2) < .004, 4.5 of them .016.
TEST(Typicality, expectation) {
  for (const SpectralBasis basis : {SpectralBasis::kDft, SpectralBasis::kDct}) {
    const GaussianPrior prior = gaussian(basis);
    constexpr int kImages = 200;
    std::vector<double> mean(kTypicalityFigures, 0.0);
    for (int i = 0; i < kImages; ++i) {
      const auto found = misfits_of(prior, drawn(prior, i), i);
      ASSERT_EQ(found.size(), kTypicalityFigures);
      for (std::size_t j = 0; j < mean.size(); ++j) mean[j] += std::exp(found[j]) / kImages;
    }
    const std::size_t n_bands = std::size(kTypicalityBands) - 1;
    for (std::size_t j = 0; j < mean.size(); ++j) EXPECT_NEAR(mean[j], 1.0, j % n_bands == n_bands - 1 ? 0.016 : 0.45) << "figure " << j;
  }
}

// Images that the prior drew and the reference did not see: beyond the limit, the 114th of 120, with a probability of law Beta(7, 114), so of 200
// more than 30 with probability 3e-3 over seeds. Two images in three would be a useless verdict, none at all an idle one.
TEST(Typicality, FalseAlarmsAndWrongImages) {
  const GaussianPrior prior = gaussian(SpectralBasis::kDft);
  const TypicalImages typical = typical_of(prior, 30, 4);
  int alarms = 0;
  for (int i = 1000; i < 1200; ++i) alarms += typical.distance(misfits_of(prior, drawn(prior, i), i)) > typical.limit();
  EXPECT_LE(alarms, 30);
  const at::Tensor own = drawn(prior, 5000), white = RandomStreams(6, 0, 1).normal(0, {1, kSide, kSide}, prior.domain().dtype);
  const auto beyond = [&](const at::Tensor& x) { return typical.distance(misfits_of(prior, x, 7)) > typical.limit(); };
  EXPECT_TRUE(beyond(3.0 * own));
  EXPECT_TRUE(beyond(own / 3.0));              // nothing but smoothness: more likely than the prior's own images, and not of its kind
  EXPECT_TRUE(beyond(white));
  EXPECT_TRUE(beyond(at::ones_like(own)));
  EXPECT_TRUE(beyond(own.roll({1}, {-1}) - own));
}

TEST(Typicality, NoiseIsThatOfTheSeed) {
  const GaussianPrior prior = gaussian(SpectralBasis::kDct);
  const at::Tensor x = drawn(prior, 1);
  EXPECT_EQ(band_misfits(prior, x, 3), band_misfits(prior, x, 3));
  EXPECT_NE(band_misfits(prior, x, 3), band_misfits(prior, x, 4));
}

class TypicalFile : public testing::Test {
 protected:
  TempFolder folder_;
};

TEST_F(TypicalFile, ComesBack) {
  const GaussianPrior prior = gaussian(SpectralBasis::kDct);
  const TypicalImages typical = typical_of(prior, 5, 5);
  typical.save(folder_ / "a.typical.json");
  const TypicalImages read = TypicalImages::load(TypicalImages::beside(folder_ / "a.safetensors"));
  EXPECT_EQ(read.prior_sha256(), "a prior's");
  EXPECT_EQ(read.limit(), typical.limit());
  const auto other = misfits_of(prior, drawn(prior, 99), 99);
  EXPECT_EQ(read.distance(other), typical.distance(other));
}

TEST_F(TypicalFile, Mistakes) {
  const GaussianPrior prior = gaussian(SpectralBasis::kDct);
  expect_error(ErrorKind::kNoInput, "none.typical.json", [&] { TypicalImages::load(folder_ / "none.typical.json"); });
  for (const char* text : {"", "{}", "[1]", "{\"format\": \"postrec-typicality/1\"}", "{\"format\": 3}"}) {
    std::ofstream(folder_ / "bad.typical.json") << text;
    expect_error(ErrorKind::kBadData, "bad.typical.json", [&] { TypicalImages::load(folder_ / "bad.typical.json"); });
  }
  EXPECT_NO_THROW(typical_of(prior, 4, 5));
  expect_error(ErrorKind::kBadData, "subjects", [&] { typical_of(prior, 2, 20); });
  expect_error(ErrorKind::kBadData, "16", [&] { typical_of(prior, 4, 4); });
  std::vector<TypicalImage> images = typical_of(prior, 5, 5).images();
  images[3].misfits[2] = std::numeric_limits<double>::quiet_NaN();
  expect_error(ErrorKind::kBadData, "finite", [&] { TypicalImages("", images); });
  expect_error(ErrorKind::kBadData, "16x40", [&] { band_misfits(prior, at::zeros({1, 1, 16, 40}), 0); });
}

}  // namespace
}  // namespace postrec::test
