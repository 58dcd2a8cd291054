#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "files.hpp"
#include "postrec/data/intensity_scale.hpp"

namespace postrec::test {
namespace {

TEST(IntensityScale, HounsfieldToAttenuationToModel) {
  const IntensityScale s = IntensityScale::make(IntensityUnit::kHounsfield, PriorIntensity::kRelativeWater, {});
  const at::Tensor hu = at::tensor({-1000.0f, 0.0f, 1000.0f, 3071.0f});
  const at::Tensor mu = s.stored_to_physical(hu), model = s.physical_to_model(mu);
  // Air does not attenuate; water is 1 in the model; float32 holds both to 1e-6.
  EXPECT_TRUE(at::allclose(mu, at::tensor({0.0f, 0.01929f, 0.03858f, 0.01929f * 4.071f}), 1e-6, 1e-9));
  EXPECT_TRUE(at::allclose(model, 1 + hu / 1000, 1e-6, 1e-6));
  EXPECT_TRUE(at::allclose(s.model_to_stored(model), hu, 1e-6, 1e-3));
  EXPECT_NEAR(s.model_width_to_stored(at::tensor({0.05f})).item<float>(), 50.0f, 1e-4);
}

TEST(IntensityScale, PercentileOfTheMagnitude) {
  // 0, 1, ..., 1000: the 99.5th percentile is 995 exactly.
  const at::Tensor x = at::arange(1001, at::kFloat).flip(0);
  EXPECT_EQ(IntensityScale::make(IntensityUnit::kArbitrary, PriorIntensity::kPercentile, x).scale, 995.0);
  EXPECT_EQ(IntensityScale::make(IntensityUnit::kArbitrary, PriorIntensity::kPercentile, -x.reshape({7, 11, 13})).scale, 995.0);
  EXPECT_NEAR(IntensityScale::make(IntensityUnit::kArbitrary, PriorIntensity::kPercentile, at::complex(0.6 * x, -0.8 * x)).scale, 995.0,
              1e-3);
  // Between two order statistics: rank 0.995 of {0, 1}.
  EXPECT_NEAR(IntensityScale::make(IntensityUnit::kArbitrary, PriorIntensity::kPercentile, at::tensor({1.0f, 0.0f})).scale, 0.995, 1e-12);
  EXPECT_EQ(IntensityScale::make(IntensityUnit::kArbitrary, PriorIntensity::kPercentile, at::tensor({4.0f})).scale, 4.0);
  const IntensityScale s = IntensityScale::make(IntensityUnit::kArbitrary, PriorIntensity::kPercentile, x);
  EXPECT_TRUE(at::equal(s.stored_to_physical(x), x));
  EXPECT_TRUE(at::allclose(s.model_to_stored(s.physical_to_model(x)), x, 1e-6, 0.0));
}

TEST(IntensityScale, UnitLeavesNumbersAlone) {
  const IntensityScale s = IntensityScale::make(IntensityUnit::kArbitrary, PriorIntensity::kUnit, {});
  const at::Tensor x = at::tensor({0.1f, -2.0f});
  EXPECT_TRUE(at::equal(s.physical_to_model(s.stored_to_physical(x)), x));
  EXPECT_TRUE(at::equal(s.model_to_stored(x), x));
}

TEST(IntensityScale, BytesAreZeroToOne) {
  const IntensityScale s = IntensityScale::make(IntensityUnit::kArbitrary, PriorIntensity::kByte, {});
  const at::Tensor x = at::tensor({0.0f, 51.0f, 255.0f});
  EXPECT_TRUE(at::allclose(s.physical_to_model(s.stored_to_physical(x)), at::tensor({0.0f, 0.2f, 1.0f}), 1e-6, 0.0));  // float32
  EXPECT_TRUE(at::allclose(s.model_to_stored(at::tensor({0.0f, 0.2f, 1.0f})), x, 1e-6, 0.0));
}

TEST(IntensityScale, RefusesWhatDoesNotGoTogether) {
  const auto make = [](IntensityUnit unit, PriorIntensity intensity, const at::Tensor& x) {
    return [=] { IntensityScale::make(unit, intensity, x); };
  };
  const at::Tensor x = at::ones({3});
  expect_error(ErrorKind::kConfiguration, {"CT"}, make(IntensityUnit::kHounsfield, PriorIntensity::kPercentile, x));
  expect_error(ErrorKind::kConfiguration, {"CT"}, make(IntensityUnit::kArbitrary, PriorIntensity::kRelativeWater, x));
  expect_error(ErrorKind::kConfiguration, {"8-bit"}, make(IntensityUnit::kHounsfield, PriorIntensity::kByte, x));
  expect_error(ErrorKind::kBadData, {"percentile", "0"}, make(IntensityUnit::kArbitrary, PriorIntensity::kPercentile, at::zeros({9})));
  expect_error(ErrorKind::kBadData, {"no image"}, make(IntensityUnit::kArbitrary, PriorIntensity::kPercentile, {}));
  expect_error(ErrorKind::kBadData, {"finite"},
               make(IntensityUnit::kArbitrary, PriorIntensity::kPercentile, at::tensor({1.0f, std::numeric_limits<float>::quiet_NaN()})));
}

}  // namespace
}  // namespace postrec::test
