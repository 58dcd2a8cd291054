// Projection stacks with RTK's geometry, and photon counts, as the user gives them.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "ct_truth.hpp"
#include "files.hpp"
#include "itk_file.hpp"
#include "postrec/data/ct_projections.hpp"
#include "postrec/data/measurement_file.hpp"

namespace postrec::test {
namespace {

fs::path fixture(const std::string& name) { return fs::path(POSTREC_SOURCE_DIR) / "tests/data/rtk" / name; }

/// [projection, row, column] as RTK stores it: columns of 2 mm, rows of 3 mm, centred.
void write_stack(const fs::path& path, const at::Tensor& values, double first_row_mm, double first_column_mm) {
  ImageGeometry geometry;
  geometry.spacing_mm = {2.0, 3.0, 1.0};
  geometry.origin_mm = {first_column_mm, first_row_mm, 0.0};
  write_itk_file(path, FileFormat::kMetaImage, values.unsqueeze(1), geometry);
}

std::string xml(const std::string& common, const std::vector<std::string>& projections) {
  std::string text = "<?xml version=\"1.0\"?>\n<!DOCTYPE RTKGEOMETRY>\n<RTKThreeDCircularGeometry version=\"3\">\n" + common;
  for (const auto& projection : projections) text += "<Projection>" + projection + "</Projection>\n";
  return text + "</RTKThreeDCircularGeometry>\n";
}

const std::string kFan = "<SourceToIsocenterDistance>500</SourceToIsocenterDistance><SourceToDetectorDistance>800</SourceToDetectorDistance>";
const std::vector<std::string> kThreeAngles = {"<GantryAngle>0</GantryAngle>", "<GantryAngle>30</GantryAngle>", "<GantryAngle>200</GantryAngle>"};

class Projections : public testing::Test {
 protected:
  /// Three projections of `rows` x 5 that tell where they are.
  void write(std::int64_t rows, const std::string& geometry) const {
    values_ = at::arange(3 * rows * 5, at::kFloat).reshape({3, rows, 5});
    write_stack(folder_ / "stack.mha", values_, -1.5 * static_cast<double>(rows - 1), -4.0);
    write_bytes_to(folder_ / "geometry.xml", geometry);
  }
  ReadMeasurement read(ProjectionOptions options = {}) const {
    options.geometry_file = folder_ / "geometry.xml";
    return read_projection_stack(folder_ / "stack.mha", options);
  }
  void refused(const std::string& geometry, const std::vector<std::string>& texts) const {
    SCOPED_TRACE(geometry.substr(0, 300));
    write_bytes_to(folder_ / "geometry.xml", geometry);
    expect_error(ErrorKind::kBadData, texts, [&] { read(); });
  }

  TempFolder folder_;
  mutable at::Tensor values_;
};

bool has_note(const ReadMeasurement& read, const std::string& text) {
  return std::any_of(read.notes.begin(), read.notes.end(), [&](const auto& note) { return note.find(text) != std::string::npos; });
}

// RTK made these stacks and files: what it calls a gantry angle, an offset, a cylindrical detector is what ct-radon is told. An off-centre cylinder tells every sign.
TEST(RtkProjections, AreTheOnesOfRtkItself) {
  for (const std::string name : {"parallel", "fan", "curved", "cone"}) {
    SCOPED_TRACE(name);
    ProjectionOptions options;
    options.geometry_file = fixture(name + ".xml");
    options.mid_plane = name == "cone";
    const ReadMeasurement read = read_projection_stack(fixture(name + ".mha"), options);
    const Measurement& measurement = read.measurement;
    EXPECT_EQ(measurement.y.sizes(), (std::vector<std::int64_t>{name == "parallel" ? 5 : 1, 7, name == "parallel" ? 61 : 81}));
    EXPECT_EQ(measurement.unit, IntensityUnit::kHounsfield);
    // RTK computes in double and stores float. At the rim of the disc a position that is off by 1e-7 mm changes the chord by 0.02 * 2 sqrt(2 * 12 * 1e-7) = 6e-5. The
    // row of the cone is 1.5 mm off the plane of the source: its rays are longer by 2e-6.
    for (std::int64_t slice = 0; slice < measurement.y.size(0); ++slice) EXPECT_LT(largest_error(measurement, slice, 25.0, 10.0, 12.0, 0.02), 1e-4);
    EXPECT_GT(measurement.y.max().item<double>(), 0.45);  // something is seen
  }
}

TEST(RtkProjections, TheImageLiesWhereRtkHasIt) {
  ProjectionOptions options;
  options.geometry_file = fixture("parallel.xml");
  ReadMeasurement read = read_projection_stack(fixture("parallel.mha"), options);
  ASSERT_TRUE(read.around_isocentre);
  read.measurement.parameters.set("height", std::int64_t{11});
  read.measurement.parameters.set("width", std::int64_t{21});
  read.measurement.parameters.set("pixel-mm", 2.0);
  place_around_isocentre(read.measurement);
  const ImageGeometry& g = read.measurement.geometry;
  // Columns along x, rows along -z, slices along y; the middle is the isocentre, the first slice is the first detector row at y = -6.
  EXPECT_EQ(g.spacing_mm, (std::array<double, 3>{2.0, 2.0, 3.0}));
  EXPECT_EQ(g.origin_mm, (std::array<double, 3>{-20.0, -6.0, 10.0}));
  EXPECT_EQ(g.direction, (std::array<double, 9>{1, 0, 0, 0, 0, 1, 0, -1, 0}));
}

TEST_F(Projections, RowsOfAParallelBeamAreSlices) {
  write(4, xml("<ProjectionOffsetX>1.5</ProjectionOffsetX><ProjectionOffsetY>7</ProjectionOffsetY>", kThreeAngles));
  const ReadMeasurement read = this->read();
  const Measurement& m = read.measurement;
  EXPECT_TRUE(at::equal(m.y, values_.permute({1, 0, 2})));
  EXPECT_EQ(m.parameters.text("beam"), "parallel");
  EXPECT_EQ(m.parameters.real("detector-offset-mm"), 1.5);
  EXPECT_EQ(m.parameters.real("detector-spacing-mm"), 2.0);
  EXPECT_NEAR(m.parameters.real_list("angles-rad")[1], M_PI / 6, 1e-12);
  EXPECT_EQ(m.geometry.origin_mm[1], 7.0 - 4.5);
  EXPECT_EQ(m.geometry.spacing_mm[2], 3.0);
  EXPECT_FALSE(m.counts.has_value());
}

TEST_F(Projections, ADetectorThatIsNotCentredHasAnOffset) {
  write(1, xml(kFan + "<ProjectionOffsetX>-0.5</ProjectionOffsetX>", kThreeAngles));
  write_stack(folder_ / "stack.mha", values_, 0.0, -1.0);  // from -1 to 7 mm: the middle at 3
  EXPECT_EQ(read().measurement.parameters.real("detector-offset-mm"), 2.5);
  // Elements from -2.5 - 1 to 7.5 - 1 mm: what they see in a turn is as wide as seven of them.
  for (const char* key : {"height", "width"}) EXPECT_EQ(read().measurement.parameters.integer(key), 7) << key;
}

TEST_F(Projections, TheMidPlaneOfAConeBeamIsOneSlice) {
  write(4, xml(kFan, kThreeAngles));
  expect_error(ErrorKind::kBadData, {"stack.mha", "cone beam", "4 detector rows", "--mid-plane"}, [&] { read(); });
  const ReadMeasurement read = this->read({.mid_plane = true});
  EXPECT_TRUE(at::equal(read.measurement.y[0], values_.select(1, 1)));  // it runs between rows 2 and 3: the first of them
  EXPECT_TRUE(has_note(read, "mid-plane slice only: detector row 2 of 4"));
  EXPECT_DOUBLE_EQ(read.measurement.geometry.spacing_mm[2], 3.0 * 500 / 800);
  // The detector moves up by one row, so the plane of the source crosses the row below.
  write(4, xml(kFan + "<ProjectionOffsetY>3</ProjectionOffsetY>", kThreeAngles));
  EXPECT_TRUE(at::equal(this->read({.mid_plane = true}).measurement.y[0], values_.select(1, 0)));
  write(4, xml(kFan + "<ProjectionOffsetY>30</ProjectionOffsetY>", kThreeAngles));
  expect_error(ErrorKind::kBadData, {"geometry.xml", "no detector row in the plane of the source"}, [&] { this->read({.mid_plane = true}); });
}

TEST_F(Projections, WhatCtRadonCannotSayIsRefused) {
  write(1, "");
  refused(xml(kFan + "<InPlaneAngle>2</InPlaneAngle>", kThreeAngles), {"geometry.xml", "InPlaneAngle 2", "projection 1"});
  refused(xml(kFan, {"<GantryAngle>0</GantryAngle>", "<OutOfPlaneAngle>-1</OutOfPlaneAngle>", ""}), {"OutOfPlaneAngle -1", "projection 2"});
  refused(xml(kFan + "<SourceOffsetX>3</SourceOffsetX>", kThreeAngles), {"SourceOffsetX 3"});
  refused(xml(kFan + "<SourceOffsetY>3</SourceOffsetY>", kThreeAngles), {"SourceOffsetY 3"});
  refused(xml(kFan, {"", "<ProjectionOffsetX>1</ProjectionOffsetX>", ""}), {"another ProjectionOffsetX in projection 2 (1) than in the first (0)"});
  refused(xml(kFan, {"", "", "<SourceToIsocenterDistance>510</SourceToIsocenterDistance>"}), {"another SourceToIsocenterDistance in projection 3"});
  refused(xml(kFan, {"", "", "<SourceToDetectorDistance>0</SourceToDetectorDistance>"}), {"another SourceToDetectorDistance in projection 3"});
  refused(xml(kFan + "<RadiusCylindricalDetector>700</RadiusCylindricalDetector>", kThreeAngles), {"RadiusCylindricalDetector 700", "SourceToDetectorDistance 800"});
  refused(xml("<RadiusCylindricalDetector>700</RadiusCylindricalDetector>", kThreeAngles), {"cylindrical detector in a parallel beam"});
  refused(xml("<SourceToDetectorDistance>800</SourceToDetectorDistance>", kThreeAngles), {"SourceToIsocenterDistance 0"});
  refused(xml("<SourceToDetectorDistance>400</SourceToDetectorDistance><SourceToIsocenterDistance>500</SourceToIsocenterDistance>", kThreeAngles), {"less than SourceToIsocenterDistance"});
  refused(xml(kFan + "<CollimationUInf>10</CollimationUInf>", kThreeAngles), {"collimation"});
  refused(xml(kFan, {"", ""}), {"geometry.xml", "2 projections", "stack.mha", "3"});
  // 360 degrees are no tilt, and a value holds for the projections after it.
  write_bytes_to(folder_ / "geometry.xml", xml(kFan + "<InPlaneAngle>360</InPlaneAngle>", {"<GantryAngle>90</GantryAngle>", "", ""}));
  EXPECT_NEAR(read().measurement.parameters.real_list("angles-rad")[2], M_PI / 2, 1e-12);
}

TEST_F(Projections, BadGeometryFilesAreOneCleanError) {
  write(1, "");
  const std::string good = xml(kFan, kThreeAngles);
  refused("", {"geometry.xml", "0 bytes"});
  refused("{}", {"is not XML"});
  refused("<a></a>", {"is not a geometry of RTK"});
  refused("<RTKThreeDCircularGeometry></RTKThreeDCircularGeometry>", {"no version"});
  refused("<RTKThreeDCircularGeometry version=\"1\"></RTKThreeDCircularGeometry>", {"version '1'"});
  refused(xml(kFan, {}), {"no <Projection>"});
  refused(xml(kFan, {"<GantryAngle>nan</GantryAngle>", "", ""}), {"projection 1", "<GantryAngle>", "'nan'", "not a finite number"});
  refused(xml(kFan, {"", "<GantryAngle>1e999</GantryAngle>", ""}), {"projection 2", "not a finite number"});
  refused(xml(kFan, {"<GantryAngle>1,5</GantryAngle>", "", ""}), {"'1,5'"});
  refused(xml(kFan, {"<GantryAngle></GantryAngle>", "", ""}), {"number missing"});
  refused(xml(kFan, {"<GantryAngle>1 2</GantryAngle>", "", ""}), {"more than one number"});
  refused(xml(kFan, {"<GantryAngel>1</GantryAngel>", "", ""}), {"'GantryAngel'", "not known"});
  refused(xml(kFan, {"<Matrix>1 2 3</Matrix>", "", ""}), {"<Matrix>", "number missing"});
  refused(xml(kFan, {"<Matrix>1 0 0 0 0 1 0 0 0 0 1 0</Matrix>", "", ""}), {"<Matrix> that is not the one of its parameters", "element 1", "-800"});
  refused(xml(kFan + "stray", kThreeAngles), {"text outside"});
  // Entities do not grow: one that is declared is not expanded.
  refused("<!DOCTYPE a [<!ENTITY b \"1\"><!ENTITY c \"&b;&b;&b;&b;\">]>" + xml("", {"<GantryAngle>&c;</GantryAngle>"}).substr(xml("", {}).find("<RTK")), {"'&c;'"});
  refused("<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]>" + xml("", {"<GantryAngle>&b;</GantryAngle>"}).substr(xml("", {}).find("<RTK")), {"'&b;'"});
  std::string deep, end;
  for (int i = 0; i < 300000; ++i) deep += "<a>";
  refused(deep, {"is not XML"});
  for (int i = 0; i < 300000; ++i) end += "</a>";
  refused(xml(deep + end, kThreeAngles), {"'a'", "not known"});
  refused(xml("<GantryAngle>" + deep + end + "</GantryAngle>", kThreeAngles), {"elements inside"});
  refused(xml("<" + std::string(100000, 'x') + "/>", kThreeAngles), {"not known"});
  // Cut off anywhere, it is an error: no number of projections is left that fits.
  for (std::size_t length = 1; length + 2 < good.size(); length += 7) refused(good.substr(0, length), {"geometry.xml"});
  expect_error(ErrorKind::kNoInput, {"no.xml"}, [&] { read_projection_stack(folder_ / "stack.mha", {.geometry_file = folder_ / "no.xml"}); });
}

TEST_F(Projections, StacksThatCannotBeOne) {
  write(1, xml(kFan, kThreeAngles));
  const ProjectionOptions options = {.geometry_file = folder_ / "geometry.xml"};
  write_bytes_to(folder_ / "a.txt", "1 2 3\n");
  expect_error(ErrorKind::kBadData, {"a.txt", "not a projection stack"}, [&] { read_projection_stack(folder_ / "a.txt", options); });
  ImageGeometry mirrored;
  mirrored.direction = {-1, 0, 0, 0, -1, 0, 0, 0, 1};
  write_itk_file(folder_ / "turned.mha", FileFormat::kMetaImage, values_.unsqueeze(1), mirrored);
  expect_error(ErrorKind::kBadData, {"turned.mha", "turned or mirrored axes"}, [&] { read_projection_stack(folder_ / "turned.mha", options); });
  const std::string bytes = read_bytes(folder_ / "stack.mha");
  write_bytes_to(folder_ / "cut.mha", bytes.substr(0, bytes.size() - 9));
  expect_error(ErrorKind::kBadData, {"cut.mha"}, [&] { read_projection_stack(folder_ / "cut.mha", options); });
}

// Written without an origin, a stack would be taken for that of a detector which begins at the central ray.
TEST_F(Projections, AStackWithoutAnOriginIsRefused) {
  write(1, xml(kFan, kThreeAngles));
  write_stack(folder_ / "stack.mha", values_, 0.0, 0.0);
  expect_error(ErrorKind::kBadData, {"stack.mha", "origin along x at 0", "-4 mm of a centred detector"}, [&] { read(); });
  write_bytes_to(folder_ / "geometry.xml", xml(kFan + "<ProjectionOffsetX>-4</ProjectionOffsetX>", kThreeAngles));
  EXPECT_EQ(read().measurement.parameters.real("detector-offset-mm"), 0.0);
}

// ---- photon counts ----

TEST_F(Projections, PhotonsAreGivenAsTheStackIs) {
  write(4, xml("", kThreeAngles));
  const at::Tensor flat = at::arange(1, 21, at::kFloat).reshape({4, 5});
  const PhotonCounts counts = *read({.flux = flat, .background = at::full({1}, 2.0f)}).measurement.counts;
  ASSERT_EQ(counts.flux.sizes(), (std::vector<std::int64_t>{4, 3, 5}));  // [slice, view, detector]: a picture of the detector for each view
  for (int view = 0; view < 3; ++view) EXPECT_TRUE(at::equal(counts.flux.select(1, view), flat));
  EXPECT_TRUE(at::equal(counts.background, at::full({1}, 2.0f)));
  // One of each projection, and a row.
  const at::Tensor all = at::arange(60, at::kFloat).reshape({3, 1, 4, 5});
  EXPECT_TRUE(at::equal(read({.flux = all}).measurement.counts->flux, all.squeeze(1).permute({1, 0, 2})));
  EXPECT_EQ(read({.flux = at::ones({5})}).measurement.counts->flux.sizes(), (std::vector<std::int64_t>{5}));
  EXPECT_EQ(read({.flux = at::ones({5})}).measurement.counts->background.item<float>(), 0.0f);
  for (const at::Tensor& wrong : {at::ones({3, 5}), at::ones({4}), at::ones({2, 4, 5}), at::ones({3, 5, 4})})
    expect_error(ErrorKind::kBadData, {"flux has sizes", "[3, 4, 5]"}, [&] { read({.flux = wrong}); });
  expect_error(ErrorKind::kBadData, {"background", "without their flux"}, [&] { read({.background = at::ones({1})}); });
  // Weights lie as photons do, and are as many as the values.
  EXPECT_TRUE(at::equal(read({.weights = all}).weights, all.squeeze(1).permute({1, 0, 2})));
  EXPECT_TRUE(at::equal(read({.weights = at::arange(5, at::kFloat)}).weights, at::arange(5, at::kFloat).expand({4, 3, 5})));
  expect_error(ErrorKind::kBadData, {"weights has sizes"}, [&] { read({.weights = at::ones({3, 4})}); });
  // The row of the mid-plane takes its own.
  write(4, xml(kFan, kThreeAngles));
  EXPECT_TRUE(at::equal(read({.mid_plane = true, .flux = flat}).measurement.counts->flux[0][2], flat[1]));
}

// ---- measurement.json ----

TEST_F(Projections, AMeasurementFileNamesItsGeometry) {
  write(1, xml(kFan, kThreeAngles));
  const auto json = [&](const std::string& more) { write_bytes_to(folder_ / "measurement.json", R"({"format": "postrec-measurement/1", "data": "stack.mha", "geometry_file": "geometry.xml")" + more + "}"); };
  json(R"(, "parameters": {"width": 7, "height": 3, "pixel-mm": 1.5}, "counts": {"flux": 1000, "background": [1, 2, 3, 4, 5]})");
  const Measurement m = read_measurement(folder_.path());
  EXPECT_EQ(m.operator_name, "ct-radon");
  EXPECT_EQ(m.parameters.real("source-to-isocenter-mm"), 500.0);
  EXPECT_EQ(m.geometry.origin_mm, (std::array<double, 3>{-4.5, 0.0, 1.5}));
  EXPECT_EQ(m.geometry.spacing_mm[0], 1.5);
  ASSERT_TRUE(m.counts.has_value());
  EXPECT_EQ(m.counts->flux.item<float>(), 1000.0f);
  EXPECT_EQ(m.counts->background.sizes(), (std::vector<std::int64_t>{5}));
  // What was typed goes first.
  EXPECT_EQ(read_acquisition(folder_.path(), {.flux = at::full({1}, 7.0f)}).measurement.counts->flux.item<float>(), 7.0f);
  // An image that says where it is stays there.
  json(R"(, "geometry": {"spacing_mm": [2, 2, 3], "origin_mm": [1, 2, 3]})");
  EXPECT_EQ(read_measurement(folder_.path()).geometry.origin_mm, (std::array<double, 3>{1, 2, 3}));
  EXPECT_EQ(read_measurement(folder_.path()).parameters.real("pixel-mm"), 2.0);
  // What it does not say is that of the stack.
  json(R"(, "geometry": {"spacing_mm": [2, 2, 3]})");
  const ImageGeometry partly = read_measurement(folder_.path()).geometry;
  EXPECT_EQ(partly.spacing_mm, (std::array<double, 3>{2, 2, 3}));
  EXPECT_EQ(partly.origin_mm, (std::array<double, 3>{-4.0, 0.0, 4.0}));
  EXPECT_EQ(partly.direction, (std::array<double, 9>{1, 0, 0, 0, 0, 1, 0, -1, 0}));

  const auto refused = [&](const std::string& more, const std::vector<std::string>& texts) {
    SCOPED_TRACE(more);
    json(more);
    expect_error(ErrorKind::kBadData, texts, [&] { read_measurement(folder_.path()); });
  };
  refused(R"(, "parameters": {"angles-rad": [0, 1, 2]})", {"'parameters.angles-rad'", "said by the geometry file"});
  refused(R"(, "operator": "masking")", {"'operator'", "ct-radon"});
  refused(R"(, "shape": [1, 3, 5])", {"'shape'"});
  refused(R"(, "mid_plane": 1)", {"'mid_plane'", "neither true nor false"});
  refused(R"(, "counts": {"flux": 100}, "sigma_y": 1)", {"'sigma_y'", "'counts'"});
  refused(R"(, "counts": {"flux": 0})", {"'counts.flux'", "0 everywhere"});
  refused(R"(, "counts": {"flux": -5})", {"'counts.flux'"});
  refused(R"(, "counts": {"flux": "many"})", {"'counts.flux'"});
  refused(R"(, "counts": {"background": 5})", {"'counts.flux'", "missing"});
  refused(R"(, "counts": {"flux": 5, "dark": 5})", {"'counts.dark'", "not known"});
  write_bytes_to(folder_ / "measurement.json", R"({"format": "postrec-measurement/1", "data": "stack.mha", "mid_plane": true})");
  expect_error(ErrorKind::kBadData, {"'mid_plane'", "without 'geometry_file'"}, [&] { read_measurement(folder_.path()); });
  write_bytes_to(folder_ / "measurement.json", R"({"format": "postrec-measurement/1", "data": "stack.mha", "geometry_file": "../geometry.xml"})");
  expect_error(ErrorKind::kBadData, {"geometry_file", "not inside its folder"}, [&] { read_measurement(folder_.path()); });
}

TEST_F(Projections, AFolderOfCountsSaysSo) {
  Measurement m;
  m.y = at::arange(12, at::kFloat).reshape({1, 3, 4});
  m.operator_name = "ct-radon";
  for (const at::Tensor& flux : {at::full({1}, 1e5f), at::arange(1, 5, at::kFloat), at::arange(1, 13, at::kFloat).reshape({1, 3, 4})}) {
    m.counts = PhotonCounts{flux, at::full({1}, 2.5f)};
    const fs::path path = folder_ / std::to_string(flux.numel());
    write_measurement(path, m);
    const Measurement read = read_measurement(path);
    ASSERT_TRUE(read.counts.has_value());
    EXPECT_TRUE(at::equal(read.counts->flux, flux)) << flux.sizes();
    EXPECT_EQ(read.counts->background.item<float>(), 2.5f);
  }
}

}  // namespace
}  // namespace postrec::test
