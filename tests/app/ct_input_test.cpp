// CT as scanners and other programs write it: projection stacks with RTK's geometry, photon counts with flat fields, DICOM-CT-PD; an image in HU at the right place comes out.
#include <ATen/ATen.h>

#include <cmath>

#include "../data/ct_pd_files.hpp"
#include "../data/ct_truth.hpp"
#include "app_fixture.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"
#include "postrec/poisson_transmission.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr double kX = 7.0, kZ = -5.0, kRadius = 10.0;  // a disc of water, off the centre in both directions
constexpr std::int64_t kViews = 48, kColumns = 45;
constexpr double kColumnMm = 1.6, kOffsetMm = 3.0, kSource = 300.0, kDetector = 450.0;

class CtInput : public AppTest {
 protected:
  /// Geometry of a scan of kViews around 360 degrees, as RTK would write it.
  void write_geometry(bool parallel) const {
    std::string text = "<?xml version=\"1.0\"?>\n<RTKThreeDCircularGeometry version=\"3\">\n<ProjectionOffsetX>" + std::to_string(kOffsetMm) + "</ProjectionOffsetX>\n<SourceToIsocenterDistance>" +
                       std::to_string(kSource) + "</SourceToIsocenterDistance>\n";
    if (!parallel) text += "<SourceToDetectorDistance>" + std::to_string(kDetector) + "</SourceToDetectorDistance>\n";
    for (std::int64_t view = 0; view < kViews; ++view) text += "<Projection><GantryAngle>" + std::to_string(360.0 * static_cast<double>(view) / kViews) + "</GantryAngle></Projection>\n";
    write_text("geometry.xml", text + "</RTKThreeDCircularGeometry>\n");
  }

  /// Line integrals [projection, row, column] of the disc of water, from RTK's own formulas: rotated coordinates, source and pixel in them.
  static at::Tensor line_integrals(bool parallel, std::int64_t rows) {
    at::Tensor stack = at::zeros({kViews, rows, kColumns}, at::kFloat);
    for (std::int64_t view = 0; view < kViews; ++view) {
      const double g = 2.0 * M_PI * static_cast<double>(view) / kViews;
      const double x = std::cos(g) * kX - std::sin(g) * kZ, z = std::sin(g) * kX + std::cos(g) * kZ;  // of the disc, in the turned frame
      for (std::int64_t column = 0; column < kColumns; ++column) {
        const double u = (static_cast<double>(column) - 0.5 * (kColumns - 1)) * kColumnMm + kOffsetMm;
        const double value = parallel ? test::disc_integral(u, 0.0, 0.0, -1.0, x, z, kRadius, kWaterMuPerMm) : test::disc_integral(0.0, kSource, u, -kDetector, x, z, kRadius, kWaterMuPerMm);
        stack.select(0, view).select(1, column).fill_(value);
      }
    }
    return stack;
  }

  void write_stack(const std::string& name, const at::Tensor& stack) const {
    Image image{stack.unsqueeze(1), {}, IntensityUnit::kArbitrary};
    image.geometry.spacing_mm = {kColumnMm, 2.0, 1.0};
    image.geometry.origin_mm = {-0.5 * (kColumns - 1) * kColumnMm, -1.0 * static_cast<double>(stack.size(1) - 1), 0.0};
    write_nifti(path(name), image);
  }

  Ended reconstruct(const std::string& input, const std::string& output, const std::vector<std::string>& more, const std::vector<std::string>& size = {"height=34", "width=38", "pixel-mm=1.25"}) const {
    std::vector<std::string> arguments = {"reconstruct", path(input), "--prior", path("ct.safetensors"), "--samples", "3", "--steps", "5", "--threads", "1", "--output", path(output), "--force"};
    for (const auto& setting : size) arguments.insert(arguments.end(), {"--set", setting});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_postrec(arguments);
  }

  /// Mean HU in the inner half of a disc around `centre` (LPS, mm), and of what is well outside; the middle of what is dense must be there, too.
  void expect_water_disc(const std::string& file, std::int64_t slice, const std::array<double, 3>& centre, double radius, double tolerance_mm = 0.6) const {
    const Image image = read_scan(path(file)).image;
    const auto& g = image.geometry;
    const at::Tensor pixels = image.pixels[slice][0];
    double inside = 0, n_inside = 0, outside = 0, n_outside = 0, weight = 0;
    std::array<double, 3> middle{};
    for (std::int64_t row = 0; row < pixels.size(0); ++row)
      for (std::int64_t column = 0; column < pixels.size(1); ++column) {
        std::array<double, 3> at = g.origin_mm;
        double square = 0;
        for (std::size_t axis = 0; axis < 3; ++axis) {
          at[axis] += g.direction[3 * axis] * g.spacing_mm[0] * static_cast<double>(column) + g.direction[3 * axis + 1] * g.spacing_mm[1] * static_cast<double>(row) +
                      g.direction[3 * axis + 2] * g.spacing_mm[2] * static_cast<double>(slice);
          square += (at[axis] - centre[axis]) * (at[axis] - centre[axis]);
        }
        const double hu = pixels[row][column].item<double>(), distance = std::sqrt(square);
        if (distance < 0.5 * radius) inside += hu, ++n_inside;
        if (distance > 1.4 * radius) outside += hu, ++n_outside;
        const double density = std::max(0.0, hu + 500.0);
        weight += density;
        for (std::size_t axis = 0; axis < 3; ++axis) middle[axis] += density * at[axis];
      }
    ASSERT_GT(n_inside, 10) << "the disc lies outside of the image";
    // The prior is smooth and its mean is -600 HU; with 48 views of little noise the data decide. A factor of 10 percent in the attenuation is 100 HU.
    EXPECT_NEAR(inside / n_inside, 0.0, 40.0);
    EXPECT_NEAR(outside / n_outside, -1000.0, 40.0);
    for (std::size_t axis = 0; axis < 3; ++axis) EXPECT_NEAR(middle[axis] / weight, centre[axis], tolerance_mm) << "axis " << axis;  // half a pixel; a wrong sign is 10 mm and more
  }

  bool has_note(const std::string& output, const std::string& text) const {
    const auto run = run_json(output);
    for (const auto& note : run["notes"])
      if (note.get<std::string>().find(text) != std::string::npos) return true;
    return false;
  }
};

TEST_F(CtInput, AFanBeamStackOfRtkGivesHounsfieldUnitsAtTheirPlace) {
  write_geometry(/*parallel=*/false);
  write_stack("stack.nii.gz", line_integrals(false, 1) + 0.003 * RandomStreams(3, 0, 1).normal(0, {kViews, 1, kColumns}, at::kFloat)[0]);
  const Ended ended = reconstruct("stack.nii.gz", "out", {"--geometry", path("geometry.xml"), "--sigma-y", "0.003"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  expect_water_disc("out/mean.nii.gz", 0, {kX, 0.0, kZ}, kRadius);
  EXPECT_TRUE(has_note("out", "geometry: fan-flat, 48 views"));
  EXPECT_EQ(run_json("out")["origin"], "acquired");
}

TEST_F(CtInput, RowsOfAParallelBeamAreSlicesAndAMeasurementFolderSaysItAll) {
  write_geometry(/*parallel=*/true);
  write_stack("stack.nii.gz", line_integrals(true, 2) + 0.003 * RandomStreams(3, 0, 1).normal(0, {kViews, 2, kColumns}, at::kFloat)[0]);
  write_text("measurement.json", R"({"format": "postrec-measurement/1", "data": "stack.nii.gz", "geometry_file": "geometry.xml", "sigma_y": 0.003,
    "parameters": {"height": 34, "width": 38, "pixel-mm": 1.25}})");
  const Ended ended = reconstruct("measurement.json", "out", {}, {});
  ASSERT_EQ(ended.code, 0) << ended.err;
  expect_water_disc("out/mean.nii.gz", 0, {kX, -1.0, kZ}, kRadius);
  expect_water_disc("out/mean.nii.gz", 1, {kX, 1.0, kZ}, kRadius);
}

// A bad row and a bad view are told by weights that lie as the file of the projections does.
TEST_F(CtInput, WeightsOfAStackLieAsItDoes) {
  write_geometry(/*parallel=*/true);
  at::Tensor stack = line_integrals(true, 2) + 0.003 * RandomStreams(3, 0, 1).normal(0, {kViews, 2, kColumns}, at::kFloat)[0], weights = at::ones_like(stack);
  stack.select(1, 1).fill_(0.3);
  weights.select(1, 1).fill_(1e-6);
  stack[9].fill_(0.4);
  weights[9].fill_(0.0);
  write_stack("stack.nii.gz", stack);
  write_stack("weights.nii.gz", weights);
  const Ended ended = reconstruct("stack.nii.gz", "out", {"--geometry", path("geometry.xml"), "--sigma-y", "0.003", "--noise-model", "weighted", "--weights", path("weights.nii.gz")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  expect_water_disc("out/mean.nii.gz", 0, {kX, -1.0, kZ}, kRadius);
  const auto run = run_json("out");
  EXPECT_LT(run["slices"][0]["reduced_chi2"][0].get<double>(), 5.0);  // a smooth prior leaves the disc's edge; a trusted bad view would leave (0.4 / 0.003)^2 / 48 = 370
  EXPECT_LT(run["slices"][1]["reduced_chi2"][0].get<double>(), 0.5);
  // The view without weight lies between its neighbours in the direct reconstruction.
  EXPECT_LT((read_scan(path("out/pseudo_inverse.nii.gz")).image.pixels[0] - read_scan(path("out/mean.nii.gz")).image.pixels[0]).abs().max().item<double>(), 500.0);
}

// The two ways to give a displaced detector have images of one size: as wide as it sees in a turn.
TEST_F(CtInput, ADisplacedDetectorSeesAsFarBareAsWithAGeometry) {
  write_geometry(/*parallel=*/true);
  at::Tensor stack = line_integrals(true, 1);
  write_stack("stack.nii.gz", stack);
  Image sinogram{stack.permute({1, 0, 2}).unsqueeze(1), {}, IntensityUnit::kArbitrary};
  sinogram.geometry.spacing_mm = {kColumnMm, 1.0, 2.0};
  write_nifti(path("sinogram.nii.gz"), sinogram);
  const std::vector<std::string> bare = {"--operator", "ct-radon", "--unit", "hu", "--sigma-y", "0.003"};
  ASSERT_EQ(reconstruct("stack.nii.gz", "stack", {"--geometry", path("geometry.xml"), "--sigma-y", "0.003"}, {}).code, 0);
  ASSERT_EQ(reconstruct("sinogram.nii.gz", "bare", bare, {"detector-offset-mm=" + std::to_string(kOffsetMm), "arc-rad=6.283185307"}).code, 0);
  for (const char* output : {"stack", "bare"})
    for (const char* side : {"height", "width"}) EXPECT_EQ(run_json(output)["operator"]["parameters"][side], kColumns + 2) << output;  // 3 mm are one element of 1.6 and a part
  EXPECT_FALSE(has_note("bare", "displaced"));
  ASSERT_EQ(reconstruct("sinogram.nii.gz", "far", bare, {"detector-offset-mm=9"}).code, 0);
  EXPECT_TRUE(has_note("far", "the detector is displaced by 9.0"));
  EXPECT_TRUE(has_note("far", "nobody says the angles of the views"));
  EXPECT_FALSE(has_note("bare", "nobody says the angles of the views"));
}

TEST_F(CtInput, CountsOfAMidPlaneWithAFlatFieldAndADeadDetector) {
  write_geometry(/*parallel=*/false);
  // A flat field that differs from element to element, a background, and an element that counts nothing.
  at::Tensor flat = (2e4 + 100 * at::arange(4 * kColumns, at::kFloat)).reshape({4, kColumns});
  const at::Tensor mean = flat.unsqueeze(0) * (-line_integrals(false, 4)).exp() + 20.0;
  at::Tensor counts = poisson_counts(mean, 5);
  counts.select(2, 11).fill_(0.0);
  write_stack("counts.nii.gz", counts);
  write_stack("flat.nii.gz", flat.unsqueeze(0));
  const std::vector<std::string> said = {"--geometry", path("geometry.xml"), "--mid-plane", "--blank-scan", path("flat.nii.gz"), "--background", "20"};
  const Ended ended = reconstruct("counts.nii.gz", "out", said);
  ASSERT_EQ(ended.code, 0) << ended.err;
  expect_water_disc("out/mean.nii.gz", 0, {kX, 0.0, kZ}, kRadius);
  EXPECT_TRUE(has_note("out", "mid-plane slice only: detector row 2 of 4"));
  EXPECT_TRUE(has_note("out", "1 detector element(s) count no photon above the background in any view and are left out"));
  EXPECT_EQ(run_json("out")["sigma_y"]["source"], "none: the counts are Poisson");
  // The direct reconstruction has no ring or streak of the element either: zeros among the line integrals would be a thousand HU and more.
  EXPECT_LT((read_scan(path("out/pseudo_inverse.nii.gz")).image.pixels - read_scan(path("out/mean.nii.gz")).image.pixels).abs().max().item<double>(), 500.0);

  // Nor does a whole view in which the tube was off.
  at::Tensor dark = poisson_counts(mean, 5);
  dark[7].fill_(3.0);
  write_stack("dark.nii.gz", dark);
  ASSERT_EQ(reconstruct("dark.nii.gz", "dark", said).code, 0);
  EXPECT_TRUE(has_note("dark", "1 view(s) count no photon above the background in any element and are left out"));
  const auto chi2 = [&](const std::string& output) { return run_json(output)["prior_fit"]["slices"][0]["reduced_chi2"].get<double>(); };
  EXPECT_LT(chi2("dark"), 1.3 * chi2("out")) << "a view of nothing, if believed, would leave the most";
  expect_water_disc("dark/mean.nii.gz", 0, {kX, 0.0, kZ}, kRadius);
  dark[7].select(0, 1).fill_(-5.0);
  write_stack("dark.nii.gz", dark);
  expect_error(reconstruct("dark.nii.gz", "bad", said), 65, {"dark.nii.gz", "-5.0", "photons at [0, 7, 0]"});

  // Nobody says that these are counts: they are not taken for line integrals.
  expect_error(reconstruct("counts.nii.gz", "bad", {"--geometry", path("geometry.xml"), "--mid-plane", "--sigma-y", "1"}), 65, {"more than any line integral", "--noise-model poisson"});
  expect_error(reconstruct("counts.nii.gz", "bad", {"--geometry", path("geometry.xml"), "--noise-model", "poisson", "--blank-scan", "1e4"}), 65, {"cone beam", "--mid-plane"});
  auto wrong = said;
  wrong[4] = path("ct.nii.gz");
  expect_error(reconstruct("counts.nii.gz", "bad", wrong), 65, {"flux has sizes [3, 17, 19]", "[48, 4, 45]"});
  wrong[4] = "0";
  expect_error(reconstruct("counts.nii.gz", "bad", wrong), 64, {"--blank-scan 0", "no photons"});
  wrong = said;
  wrong[6] = "1e6";
  expect_error(reconstruct("counts.nii.gz", "bad", wrong), 65, {"no ray of slice 0", "above the background"});
  auto gaussian = said;
  gaussian.insert(gaussian.end(), {"--noise-model", "gaussian"});
  expect_error(reconstruct("counts.nii.gz", "bad", gaussian), 64, {"holds photon counts", "gaussian"});
  expect_nothing_written("bad");
}

// A parallel beam of kViews over half a turn, pixels and detector elements of 3.5 mm, slices of 5 mm; the disc is twice as large.
class HandWritten : public CtInput {
 protected:
  static constexpr double kMm = 3.5;

  void SetUp() override {
    CtInput::SetUp();
    Image disc{at::full({1, 1, 64, 64}, -1000.0f), {}, IntensityUnit::kHounsfield};
    disc.geometry.spacing_mm = {kMm, kMm, 5.0};
    const at::Tensor x = at::arange(64).mul(kMm).sub(kX).square(), y = at::arange(64).mul(kMm).sub(kY).square();
    disc.pixels.masked_fill_((x.unsqueeze(0) + y.unsqueeze(1)).lt(kDisc * kDisc), 0.0);
    write_nifti(path("disc.nii.gz"), disc);
    const Ended ended = run_postrec({"simulate", path("disc.nii.gz"), "--unit", "hu", "--operator", "ct-radon", "--set", "n-views=48", "--set", "first-angle-rad=0.1", "--noise", "0.5", "--output", path("simulated")});
    ASSERT_EQ(ended.code, 0) << ended.err;
    Image sinogram = read_scan(path("simulated/data.mha")).image;
    sinogram.geometry.spacing_mm = {kMm, 1.0, 5.0};  // of the detector, the views and the slices
    write_nifti(path("sinogram.nii.gz"), sinogram);
  }

  static constexpr double kX = 90.0, kY = 120.0, kDisc = 30.0;
  const std::vector<std::string> kSize = {"height=64", "width=64", "first-angle-rad=0.1"};
};

// The first file in JSON of the page about measurements.
TEST_F(HandWritten, TheExampleOfThePageIsEnough) {
  const std::string page = content(POSTREC_SOURCE_DIR "/data/README.md"), fence = "```json\n";
  const std::size_t begin = page.find(fence, page.find("## A measurement folder")) + fence.size();
  write_text("measurement.json", page.substr(begin, page.find("```", begin) - begin));
  const Ended ended = reconstruct("measurement.json", "out", {}, {});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const double middle = 31.5 * kMm;
  expect_water_disc("out/mean.nii.gz", 0, {kX - middle, kY - middle, 0.0}, kDisc, 0.5 * kMm);
}

TEST_F(HandWritten, PixelsOfABareSinogramAreAsTheUserSays) {
  const std::vector<std::string> more = {"--operator", "ct-radon", "--unit", "hu", "--sigma-y", "0.01"};
  const auto spacing = [&](const std::string& output) { return read_scan(path(output + "/mean.nii.gz")).image.geometry.spacing_mm; };
  ASSERT_EQ(reconstruct("sinogram.nii.gz", "as_stored", more, kSize).code, 0);
  EXPECT_NEAR(spacing("as_stored")[0], kMm, 1e-5);
  EXPECT_NEAR(spacing("as_stored")[1], kMm, 1e-5);  // and not the step between views
  auto size = kSize;
  size.push_back("pixel-mm=7");  // everything twice as large
  ASSERT_EQ(reconstruct("sinogram.nii.gz", "said", more, size).code, 0);
  EXPECT_NEAR(spacing("said")[0], 2 * kMm, 1e-5);
  EXPECT_NEAR(spacing("said")[1], 2 * kMm, 1e-5);
  EXPECT_NEAR(spacing("said")[2], 5.0, 1e-5);
}

// In both ways to give it the file's spacing is that of the detector, and the image lies around the isocentre, which is in the middle of the disc's image.
TEST_F(HandWritten, AFileOfASinogramHasTheSpacingOfTheDetector) {
  const double middle = 31.5 * kMm;
  const std::vector<std::string> more = {"--operator", "ct-radon", "--unit", "hu", "--sigma-y", "0.01"};
  ASSERT_EQ(reconstruct("sinogram.nii.gz", "bare", more, kSize).code, 0);
  expect_water_disc("bare/mean.nii.gz", 0, {kX - middle, kY - middle, 0.0}, kDisc, 0.5 * kMm);
  write_text("measurement.json", R"({"format": "postrec-measurement/1", "data": "sinogram.nii.gz", "operator": "ct-radon", "unit": "hounsfield", "sigma_y": 0.01,
    "parameters": {"height": 64, "width": 64, "first-angle-rad": 0.1}})");
  ASSERT_EQ(reconstruct("measurement.json", "json", {}, {}).code, 0);
  expect_water_disc("json/mean.nii.gz", 0, {kX - middle, kY - middle, 0.0}, kDisc, 0.5 * kMm);
}

// The same note whoever says the size of a pixel.
TEST_F(HandWritten, AnotherSpacingOfTheDetectorIsSaid) {
  const std::vector<std::string> more = {"--operator", "ct-radon", "--unit", "hu", "--sigma-y", "0.01"};
  auto size = kSize;
  size.push_back("pixel-mm=7");
  ASSERT_EQ(reconstruct("sinogram.nii.gz", "bare", more, size).code, 0);
  write_text("measurement.json", R"({"format": "postrec-measurement/1", "data": "sinogram.nii.gz", "operator": "ct-radon", "unit": "hounsfield", "sigma_y": 0.01,
    "parameters": {"height": 64, "width": 64, "first-angle-rad": 0.1, "pixel-mm": 7}})");
  ASSERT_EQ(reconstruct("measurement.json", "json", {}, {}).code, 0);
  for (const char* output : {"bare", "json"}) {
    EXPECT_TRUE(has_note(output, "detector elements are taken to be 7.0")) << output;
    EXPECT_NEAR(read_scan(path(std::string(output) + "/mean.nii.gz")).image.geometry.origin_mm[0], -31.5 * 7, 1e-3) << output;
  }
}

// A fan sees pixels at the isocentre, the detector is further away.
TEST_F(HandWritten, PixelsOfABareFanAreSmallerThanItsDetectorElements) {
  const std::vector<std::string> fan = {"beam=fan-flat", "source-to-isocenter-mm=500", "source-to-detector-mm=1000"};
  std::vector<std::string> arguments = {"simulate", path("disc.nii.gz"), "--unit", "hu", "--operator", "ct-radon", "--set", "n-views=96", "--noise", "0.5", "--output", path("of_fan")};
  for (const auto& setting : fan) arguments.insert(arguments.end() - 2, {"--set", setting});
  ASSERT_EQ(run_postrec(arguments).code, 0);
  Image sinogram = read_scan(path("of_fan/data.mha")).image;
  sinogram.geometry.spacing_mm = {2 * kMm, 1.0, 5.0};  // one pixel at the isocentre, seen twice as large
  write_nifti(path("fan.nii.gz"), sinogram);
  auto settings = fan;
  settings.insert(settings.end(), {"height=64", "width=64"});
  ASSERT_EQ(reconstruct("fan.nii.gz", "fan", {"--operator", "ct-radon", "--unit", "hu", "--sigma-y", "0.01"}, settings).code, 0);
  const double middle = 31.5 * kMm;
  expect_water_disc("fan/mean.nii.gz", 0, {kX - middle, kY - middle, 0.0}, kDisc, 0.5 * kMm);
}

TEST_F(HandWritten, TwoSizesOfPixelsAreRefused) {
  write_text("measurement.json", R"({"format": "postrec-measurement/1", "data": "sinogram.nii.gz", "operator": "ct-radon", "unit": "hounsfield", "sigma_y": 0.01,
    "parameters": {"pixel-mm": 4}, "geometry": {"spacing_mm": [3.5, 3.5, 5]}})");
  expect_error(reconstruct("measurement.json", "bad", {}, {}), 65, {"pixel-mm", "4.0", "3.5", "measurement.json"});
  expect_error(run_postrec({"simulate", path("disc.nii.gz"), "--unit", "hu", "--operator", "ct-radon", "--set", "pixel-mm=4", "--noise", "0.5", "--output", path("bad")}), 78, {"pixel-mm", "4.0", "3.5", "leave it out"});
  expect_nothing_written("bad");
}

TEST_F(CtInput, WrongUseIsOneClearError) {
  write_geometry(/*parallel=*/true);
  write_stack("stack.nii.gz", line_integrals(true, 1));
  write_text("three.xml", "<RTKThreeDCircularGeometry version=\"3\"><Projection><GantryAngle>0</GantryAngle></Projection></RTKThreeDCircularGeometry>");
  expect_error(reconstruct("stack.nii.gz", "bad", {"--geometry", path("three.xml")}), 65, {"1 projections", "48"});
  expect_error(reconstruct("stack.nii.gz", "bad", {"--geometry", path("no.xml")}), 66, {"no.xml"});
  expect_error(reconstruct("stack.nii.gz", "bad", {"--geometry", path("stack.nii.gz")}), 65, {"is not XML"});
  expect_error(reconstruct("stack.nii.gz", "bad", {"--mid-plane", "--operator", "ct-radon"}), 64, {"--mid-plane", "no projection stack"});
  expect_error(reconstruct("stack.nii.gz", "bad", {"--geometry", path("geometry.xml"), "--set", "n-views=4", "--sigma-y", "0.01"}), 78, {"angles-rad and n-views"});
  expect_error(reconstruct("stack.nii.gz", "bad", {"--geometry", path("geometry.xml"), "--set", "beam=fan-curved", "--sigma-y", "0.01"}), 78, {"--set beam", "said by the geometry file"});
  expect_error(reconstruct("stack.nii.gz", "bad", {"--operator", "ct-radon", "--unit", "hu", "--sigma-y", "0.01"}), 65, {"48 slices of one view each", "--geometry"});
  write_text("shaped.json", R"({"format": "postrec-measurement/1", "data": "stack.nii.gz", "shape": [1, 45, 48], "operator": "ct-radon", "unit": "hounsfield", "sigma_y": 0.01})");
  expect_error(reconstruct("shaped.json", "bad", {}, {}), 78, {"how far apart detector elements are", "pixel-mm or detector-spacing-mm"});
  expect_error(run_postrec({"reconstruct", path("ct.nii.gz"), "--simulate", "--operator", "ct-radon", "--noise", "1", "--geometry", path("geometry.xml"), "--output", path("bad")}), 64,
               {"--geometry", "--simulate"});
  expect_nothing_written("bad");
  const Ended help = run_postrec({"reconstruct", "--help-ct"});
  EXPECT_EQ(help.code, 0);
  for (const char* word : {"--geometry", "--mid-plane", "DICOM-CT-PD", "Example"}) EXPECT_NE(help.out.find(word), std::string::npos) << word;
}

TEST_F(CtInput, DicomCtPdGivesHounsfieldUnitsAtTheirPlace) {
  test::CtPdScan scan;
  scan.views = 60;
  scan.photons = 1e5;
  scan.noise = 0.004;
  test::write_ct_pd(folder_ / "scan", scan);
  const std::vector<std::string> size = {"height=46", "width=50", "pixel-mm=2.5"};
  const Ended ended = reconstruct("scan", "out", {}, size);
  ASSERT_EQ(ended.code, 0) << ended.err;
  // Head first on the back: right for one who faces the gantry is the patient's left, up is the front.
  expect_water_disc("out/mean.nii.gz", 0, {scan.x_mm, -scan.z_mm, 0.0}, scan.radius_mm, 1.2);
  EXPECT_EQ(run_json("out")["sigma_y"]["source"], "photon statistics of the files");
  EXPECT_TRUE(has_note("out", "PatientPosition HFS"));
  scan.position = "FFS";
  test::write_ct_pd(folder_ / "feet", scan);
  ASSERT_EQ(reconstruct("feet", "mirrored", {"--sigma-y", "0.005"}, size).code, 0);
  expect_water_disc("mirrored/mean.nii.gz", 0, {-scan.x_mm, -scan.z_mm, 0.0}, scan.radius_mm, 1.2);
  // No name of a patient, neither from the headers nor from the files' names.
  for (const std::string file : {"out/run.json", "out/report.txt", "out/report.html"}) EXPECT_EQ(content(file).find(test::kProjectionCanary), std::string::npos) << file;
  EXPECT_EQ((ended.out + ended.err).find(test::kProjectionCanary), std::string::npos);

  scan.change = [](DcmDataset& dataset, int view) { test::put_private(dataset, 0x7031, 0x1002, {static_cast<float>(view)}); };
  test::write_ct_pd(folder_ / "helix", scan);
  const Ended helical = reconstruct("helix", "bad", {}, size);
  expect_error(helical, 65, {"helical", "fan beams"});
  EXPECT_EQ(helical.err.find(test::kProjectionCanary), std::string::npos);
}

}  // namespace
}  // namespace postrec
