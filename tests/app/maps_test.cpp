// The maps of a result against its samples, both as a reader of the files finds them.
#include <ATen/ATen.h>
#include <zlib.h>

#include "app_fixture.hpp"
#include "postrec/data/scan.hpp"

namespace postrec {
namespace {

class Maps : public AppTest {
 protected:
  static constexpr std::int64_t kSamples = 19;  // a quarter of n + 1 is whole: an interval of .5 is from the 5th of them to the 15th

  at::Tensor map(const std::string& name) const { return read_scan(path("out/" + name + ".nii.gz")).image.pixels.to(at::kDouble); }

  /// [sample, slice, 1, H, W]; read_scan takes no image of four axes.
  at::Tensor samples() const {
    constexpr long kHeader = 352;
    const at::Tensor values = at::empty({kSamples, kSlices, 1, kHeight, kWidth}, at::kFloat);
    const auto n_bytes = static_cast<int>(values.nbytes());
    const gzFile file = gzopen(path("out/samples.nii.gz").c_str(), "rb");
    EXPECT_EQ(gzseek(file, kHeader, SEEK_SET), kHeader);
    EXPECT_EQ(gzread(file, values.data_ptr(), static_cast<unsigned>(n_bytes)), n_bytes);
    gzclose(file);
    return values.to(at::kDouble);
  }

  void expect_map(const std::string& name, const at::Tensor& wanted, const at::Tensor& of) const {
    const double tolerance = 1e-6 * of.abs().max().item<double>();  // of float32: some roundings of 6e-8
    EXPECT_LT((map(name) - wanted).abs().max().item<double>(), tolerance) << name;
    EXPECT_GT(0.01 * of.std(0).mean().item<double>(), tolerance) << "n in place of n - 1 makes a deviation smaller by .026 of it";
  }

  void expect_spread_of(const at::Tensor& x) const {
    const at::Tensor sorted = std::get<0>(x.sort(0));
    expect_map("standard_deviation", x.std(0), x);
    expect_map("interval_lower", sorted[4], x);
    expect_map("interval_upper", sorted[14], x);
    EXPECT_EQ(run_json("out")["interval_level"], 0.5);
  }
};

TEST_F(Maps, OfComplexImages) {
  const Ended ended = run_postrec(mr_arguments("out", {"--samples", "19", "--interval", "0.5", "--force"}));
  ASSERT_EQ(ended.code, 0) << ended.err;
  const at::Tensor x = samples(), mean = map("mean"), of_magnitudes = x.mean(0), deviation = x.std(0);
  expect_spread_of(x);
  // Phases make |E x| less than E|x|, by about deviation^2/(2 E|x|): above three deviations by a sixth of one at most, and twice that is allowed.
  EXPECT_TRUE(mean.lt(of_magnitudes).all().item<bool>());
  const at::Tensor bright = of_magnitudes.gt(3 * deviation);
  EXPECT_LT(((of_magnitudes - mean) / deviation).masked_select(bright).mean().item<double>(), 1.0 / 3.0);
}

TEST_F(Maps, OfHounsfieldUnits) {
  const Ended ended = run_postrec({"reconstruct", path("ct.nii.gz"), "--simulate", "--unit", "hu", "--operator", "ct-radon", "--set", "n-views=40", "--noise", "0.2", "--prior",
                                   path("ct.safetensors"), "--samples", "19", "--steps", "4", "--interval", "0.5", "--threads", "1", "--force", "--output", path("out")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const at::Tensor x = samples();
  expect_spread_of(x);
  expect_map("mean", x.mean(0), x);
}

}  // namespace
}  // namespace postrec
