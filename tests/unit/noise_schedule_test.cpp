#include <gtest/gtest.h>

#include <cmath>

#include "expect_error.hpp"
#include "postrec/noise_schedule.hpp"

namespace postrec::test {
namespace {

TEST(NoiseSchedule, KarrasFormula) {
  const auto sigmas = NoiseSchedule::karras(5, 80.0, 0.002, 7.0).sigmas();
  ASSERT_EQ(sigmas.size(), 5u);
  EXPECT_EQ(sigmas.front(), 80.0);
  EXPECT_EQ(sigmas.back(), 0.002);
  // [Karras 2022, eq. 5] by hand: ((80^(1/7) + 0.002^(1/7))/2)^7.
  EXPECT_NEAR(sigmas[2], std::pow(0.5 * (std::pow(80.0, 1 / 7.0) + std::pow(0.002, 1 / 7.0)), 7), 1e-12);
  for (std::size_t i = 1; i < sigmas.size(); ++i) EXPECT_LT(sigmas[i], sigmas[i - 1]);
  EXPECT_EQ(NoiseSchedule::karras(1, 3.0, 0.1).sigmas(), std::vector<double>{3.0});
}

TEST(NoiseSchedule, LeapsAndThenFollowsKarras) {
  const auto leap = NoiseSchedule::leap(6, 80.0, 2.0, 0.002).sigmas(), rest = NoiseSchedule::karras(5, 2.0, 0.002).sigmas();
  EXPECT_EQ(leap.front(), 80.0);
  EXPECT_EQ(std::vector<double>(leap.begin() + 1, leap.end()), rest);
  const auto plain = NoiseSchedule::karras(6, 80.0, 0.002).sigmas();
  EXPECT_EQ(NoiseSchedule::leap(6, 80.0, 90.0, 0.002).sigmas(), plain);
  EXPECT_EQ(NoiseSchedule::leap(6, 80.0, 0.001, 0.002).sigmas(), plain);
  EXPECT_EQ(NoiseSchedule::leap(2, 80.0, 2.0, 0.002).sigmas().size(), 2u);
}

TEST(NoiseSchedule, RefusesWhatDoesNotFall) {
  expect_error(ErrorKind::kUsage, "0 levels", [] { NoiseSchedule::karras(0, 1.0, 0.1); });
  expect_error(ErrorKind::kUsage, "sigma must fall", [] { NoiseSchedule::karras(5, 0.1, 1.0); });
  expect_error(ErrorKind::kUsage, "positive", [] { NoiseSchedule::karras(5, 1.0, 0.0); });
  expect_error(ErrorKind::kUsage, "sigma", [] { NoiseSchedule::karras(5, NAN, 0.1); });
}

}  // namespace
}  // namespace postrec::test
