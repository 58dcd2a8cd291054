// Projections in DICOM-CT-PD. There is no file of a scanner here: they are written by the format's definitions (ct_pd_files.cpp).
#include <ATen/ATen.h>
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "ct_pd_files.hpp"
#include "ct_truth.hpp"
#include "files.hpp"
#include "postrec/data/ct_projections.hpp"
#include "postrec/data/intensity_scale.hpp"
#include "postrec/data/measurement_file.hpp"

namespace postrec::test {
namespace {

ReadMeasurement written_and_read(const CtPdScan& scan, const ProjectionOptions& options = {}) {
  const TempFolder folder;
  write_ct_pd(folder / "scan", scan);
  return read_acquisition(folder / "scan", options);
}

bool has_note(const ReadMeasurement& read, const std::string& text) {
  return std::any_of(read.notes.begin(), read.notes.end(), [&](const auto& note) { return note.find(text) != std::string::npos; });
}

// Stored values are rounded to 1e-4, angles to float32 (1e-7 of 500 mm): at the rim of the disc a position that is off by 5e-5 mm changes the chord by 2 mu sqrt(2 r 5e-5) = 2e-3.
constexpr double kRounding = 3e-3;

TEST(DicomCtPd, AScanIsWhatTheFormatSays) {
  for (const bool unknown : {false, true})
    for (const bool transposed : {false, true})
      for (const std::string shape : {"CYLINDRICAL", "FLAT"}) {
        SCOPED_TRACE(shape + (unknown ? " UN" : "") + (transposed ? " transposed" : ""));
        CtPdScan scan;
        scan.unknown = unknown;
        scan.transposed = transposed;
        scan.shape = shape;
        const ReadMeasurement read = written_and_read(scan);
        const Measurement& m = read.measurement;
        EXPECT_EQ(m.parameters.text("beam"), shape == "FLAT" ? "fan-flat" : "fan-curved");
        ASSERT_EQ(m.y.sizes(), (std::vector<std::int64_t>{1, 24, 61}));
        // The disc is of water, so it has our attenuation of water.
        EXPECT_LT(largest_error(m, 0, scan.x_mm, scan.z_mm, scan.radius_mm, kWaterMuPerMm), kRounding);
        EXPECT_GT(m.y.max().item<double>(), 0.9);
        EXPECT_EQ(m.unit, IntensityUnit::kHounsfield);
        EXPECT_EQ(m.parameters.integer("height"), 512);
        EXPECT_NEAR(m.parameters.real("pixel-mm"), 160.0 / 512, 1e-12);
      }
}

TEST(DicomCtPd, WaterOfTheFilesBecomesOurs) {
  CtPdScan scan;
  scan.water_mu_per_mm = 0.0;
  const ReadMeasurement silent = written_and_read(scan);
  EXPECT_LT(largest_error(silent.measurement, 0, scan.x_mm, scan.z_mm, scan.radius_mm, scan.mu_per_mm), kRounding);
  EXPECT_TRUE(has_note(silent, "do not say the attenuation of water"));
  scan.water_mu_per_mm = 0.2;  // in 1/cm
  const TempFolder folder;
  write_ct_pd(folder / "scan", scan);
  expect_error(ErrorKind::kBadData, {"WaterAttenuationCoefficient", "1/mm"}, [&] { read_acquisition(folder / "scan", {}); });
}

TEST(DicomCtPd, PhotonStatisticsAreWeights) {
  CtPdScan scan;
  const ReadMeasurement read = written_and_read(scan);
  ASSERT_TRUE(read.weights.defined());
  EXPECT_EQ(read.measurement.sigma_y, 1.0);
  EXPECT_EQ(read.sigma_y_source, "photon statistics of the files");
  // Variance of a logarithm of I_0 exp(-l) counts is exp(l)/I_0, here in units that are smaller by the ratio of the two attenuations of water.
  const double ratio = kWaterMuPerMm / scan.water_mu_per_mm;
  const at::Tensor expected = scan.photons * (-read.measurement.y / ratio).exp() / (ratio * ratio);
  EXPECT_LT(((read.weights - expected) / expected).abs().max().item<double>(), 1e-5);
  scan.photons = 0.0;
  const ReadMeasurement silent = written_and_read(scan);
  EXPECT_FALSE(silent.weights.defined());
  EXPECT_EQ(silent.measurement.sigma_y, 0.0);
}

TEST(DicomCtPd, TheMidPlaneOfSeveralRows) {
  CtPdScan scan;
  scan.rows = 4;
  scan.central_row = 2.0;
  const TempFolder folder;
  write_ct_pd(folder / "scan", scan);
  expect_error(ErrorKind::kBadData, {"cone beam of 4 detector rows", "--mid-plane"}, [&] { read_acquisition(folder / "scan", {}); });
  const ReadMeasurement read = read_acquisition(folder / "scan", {.mid_plane = true});
  EXPECT_LT(largest_error(read.measurement, 0, scan.x_mm, scan.z_mm, scan.radius_mm, kWaterMuPerMm), kRounding);
  EXPECT_TRUE(has_note(read, "detector row 2 of 4"));
  EXPECT_NEAR(read.measurement.geometry.spacing_mm[2], 1.5 * 500 / 900, 1e-6);
}

// Columns run to the right and rows downwards for one who faces the gantry, whose table comes towards him: he sees a head-first patient from the feet.
TEST(DicomCtPd, ThePatientLiesAsPatientPositionSays) {
  const std::map<std::string, std::array<double, 3>> down = {{"HFS", {0, 1, 0}}, {"FFS", {0, 1, 0}}, {"HFP", {0, -1, 0}}, {"FFP", {0, -1, 0}},
                                                             {"HFDR", {-1, 0, 0}}, {"FFDR", {-1, 0, 0}}, {"HFDL", {1, 0, 0}}, {"FFDL", {1, 0, 0}}};
  for (const auto& [position, expected] : down) {
    SCOPED_TRACE(position);
    CtPdScan scan;
    scan.views = 4;
    scan.position = position;
    const ReadMeasurement read = written_and_read(scan);
    const auto& d = read.measurement.geometry.direction;
    EXPECT_EQ((std::array<double, 3>{d[1], d[4], d[7]}), expected);      // LPS: what lies below
    EXPECT_EQ(d[8], position[0] == 'H' ? 1.0 : -1.0);                    // away from the viewer: to the head, or to the feet
    const double determinant = d[0] * (d[4] * d[8] - d[5] * d[7]) - d[1] * (d[3] * d[8] - d[5] * d[6]) + d[2] * (d[3] * d[7] - d[4] * d[6]);
    EXPECT_EQ(determinant, 1.0);
    EXPECT_TRUE(has_note(read, "left and right follow from PatientPosition " + position));
  }
  CtPdScan scan;
  scan.position = "";
  EXPECT_TRUE(has_note(written_and_read(scan), "left and right are not known"));
}

class BadCtPd : public testing::Test {
 protected:
  /// One clean error that holds nothing of the patient; view 5 is the one that is changed.
  void refused(const std::function<void(DcmDataset&, int)>& change, const std::vector<std::string>& texts) const {
    SCOPED_TRACE(texts.front());
    const TempFolder folder;
    CtPdScan scan;
    scan.views = 8;
    scan.change = change;
    write_ct_pd(folder / "scan", scan);
    const Error error = expect_error(ErrorKind::kBadData, texts, [&] { read_acquisition(folder / "scan", {}); });
    EXPECT_EQ(std::string(error.what()).find(kProjectionCanary), std::string::npos) << error.what();
  }
  /// Takes an element out of view 5, which is file 4 by name (5 * 7 mod 8 = 3).
  void without(unsigned short group, unsigned short element, const std::vector<std::string>& texts) const {
    std::vector<std::string> all = texts;
    all.push_back("DICOM file 4 of");
    refused([&](DcmDataset& d, int view) { if (view == 5) delete d.remove(DcmTagKey(group, element)); }, all);
  }
};

TEST_F(BadCtPd, MissingElementsAreNamed) {
  for (const auto& [group, element, name] : std::vector<std::tuple<int, int, std::string>>{{0x7029, 0x1010, "NumberofDetectorRows"}, {0x7029, 0x1011, "NumberofDetectorColumns"},
                                                                                           {0x7029, 0x1002, "DetectorElementTransverseSpacing"}, {0x7029, 0x1006, "DetectorElementAxialSpacing"},
                                                                                           {0x7031, 0x1001, "DetectorFocalCenterAngularPosition"}, {0x7031, 0x1002, "DetectorFocalCenterAxialPosition"},
                                                                                           {0x7031, 0x1003, "DetectorFocalCenterRadialDistance"}, {0x7031, 0x1031, "ConstantRadialDistance"},
                                                                                           {0x7031, 0x1033, "DetectorCentralElement"}, {0x0028, 0x1053, "RescaleSlope"}, {0x0028, 0x1052, "RescaleIntercept"}})
    without(static_cast<unsigned short>(group), static_cast<unsigned short>(element), {"it has no " + name});
  without(0x7fe0, 0x0010, {"PixelData"});
  without(0x0028, 0x0010, {"PixelData"});
  refused([](DcmDataset& d, int) { delete d.remove(DcmTagKey(0x7029, 0x100b)); }, {"does not say its DetectorShape"});
}

TEST_F(BadCtPd, WrongValues) {
  const auto number = [&](unsigned short group, unsigned short element, std::vector<float> values, const std::vector<std::string>& texts) {
    refused([&](DcmDataset& d, int view) { if (view == 5) put_private(d, group, element, values); }, texts);
  };
  number(0x7031, 0x1001, {NAN}, {"DetectorFocalCenterAngularPosition", "not a finite number"});
  number(0x7031, 0x1001, {1.0f, 2.0f}, {"DetectorFocalCenterAngularPosition"});
  number(0x7031, 0x1033, {1.0f}, {"DetectorCentralElement", "two finite numbers"});
  number(0x7031, 0x1003, {-500.0f}, {"not above 0"});
  number(0x7031, 0x1003, {501.0f}, {"another distance of the focal centre"});
  number(0x7029, 0x1002, {2.0f}, {"another detector"});
  number(0x7031, 0x1002, {-60.0f}, {"helical scan or several axial ones", "10.0", "rebin"});
  number(0x7033, 0x100b, {0.01f}, {"flying focal spot"});
  number(0x7033, 0x1065, {1.0f, 2.0f}, {"another length of PhotonStatistics"});
  const auto everywhere = [&](unsigned short group, unsigned short element, const std::string& text, const std::vector<std::string>& texts) {
    refused([&](DcmDataset& d, int) { put_private_text(d, group, element, text); }, texts);
  };
  everywhere(0x7033, 0x100e, "FFSXY", {"flying focal spot", "rebin"});
  everywhere(0x7037, 0x1009, "HELICAL", {"helical"});
  everywhere(0x7037, 0x100a, "PARALLELBEAM", {"parallel beam"});
  everywhere(0x7039, 0x1009, "NO", {"LogFlag is NO"});
  everywhere(0x7029, 0x100b, "CUBE", {"DetectorShape that is not known"});
  everywhere(0x7041, 0x1001, "water", {"WaterAttenuationCoefficient is not a finite number"});
  refused([](DcmDataset& d, int) { put_private(d, 0x7033, 0x1065, {1.0f, 2.0f}); }, {"2 PhotonStatistics for 61"});
  refused([](DcmDataset& d, int) { put_private_short(d, 0x7033, 0x1061, 2); }, {"several spectra"});
  refused([](DcmDataset& d, int) { d.putAndInsertString(DCM_SOPInstanceUID, "1.2.3"); }, {"SOPInstanceUID of another"});
  refused([](DcmDataset& d, int) { d.putAndInsertString(DCM_RescaleSlope, "1,5"); }, {"RescaleSlope"});
  refused([](DcmDataset& d, int) { d.putAndInsertString(DCM_NumberOfFrames, "3"); }, {"several frames"});
  refused([](DcmDataset& d, int) { d.putAndInsertUint16(DCM_Rows, 60); }, {"PixelData"});
  refused([](DcmDataset& d, int) { put_private_short(d, 0x7029, 0x1011, 60); }, {"NumberofDetectorColumns"});
}

TEST_F(BadCtPd, DamagedAndForeignFiles) {
  const TempFolder folder;
  CtPdScan scan;
  scan.views = 6;
  write_ct_pd(folder / "scan", scan);
  const fs::path third = folder / "scan" / (std::string(kProjectionCanary) + "^1002.dcm");
  const std::string bytes = read_bytes(third);
  for (std::size_t length = 140; length < bytes.size(); length += 83) {  // cut off anywhere
    write_bytes_to(third, bytes.substr(0, length));
    const Error error = expect_error(ErrorKind::kBadData, {"DICOM file 3 of"}, [&] { read_acquisition(folder / "scan", {}); });
    EXPECT_EQ(std::string(error.what()).find(kProjectionCanary), std::string::npos) << error.what();
  }
  write_bytes_to(third, bytes);
  write_bytes_to(folder / "scan" / "notes.txt", "x");
  EXPECT_TRUE(has_note(read_acquisition(folder / "scan", {}), "1 file(s) of the folder are not DICOM"));
  // Pictures are no projections, and an empty folder is none.
  fs::create_directories(folder / "pictures");
  DcmFileFormat picture;
  picture.getDataset()->putAndInsertString(DCM_SOPClassUID, UID_CTImageStorage);
  picture.getDataset()->putAndInsertString(DCM_SOPInstanceUID, "1.2.3");
  ASSERT_TRUE(picture.saveFile((folder / "pictures" / "a.dcm").c_str(), EXS_LittleEndianExplicit).good());
  expect_error(ErrorKind::kBadData, {"not DICOM-CT-PD"}, [&] { read_acquisition(folder / "pictures", {}); });
  fs::create_directories(folder / "empty");
  expect_error(ErrorKind::kNoInput, {"measurement.json", "DICOM-CT-PD"}, [&] { read_acquisition(folder / "empty", {}); });
  expect_error(ErrorKind::kUsage, {"photons", "line integrals"}, [&] { read_acquisition(folder / "scan", {.flux = at::ones({1})}); });
  expect_error(ErrorKind::kUsage, {"geometry file"}, [&] { read_acquisition(folder / "scan", {.geometry_file = "a.xml"}); });
}

}  // namespace
}  // namespace postrec::test
