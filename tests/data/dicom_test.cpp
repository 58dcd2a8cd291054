// DICOM series made with DCMTK, whole and damaged in the ways that hospitals produce.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>

#include "dicom_files.hpp"
#include "image_bytes.hpp"
#include "postrec/data/derived_series.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/sha256.hpp"

namespace postrec::test {
namespace {

constexpr int kSlices = 11;

at::Tensor expected_hu(int n, double slope = 2.0, double intercept = -1000.0) {
  std::vector<float> values;
  for (int index = 0; index < n; ++index)
    for (int row = 0; row < kRows; ++row)
      for (int column = 0; column < kColumns; ++column)
        values.push_back(static_cast<float>(stored_value(column, row, index) * slope + intercept));
  return at::tensor(values).reshape({n, 1, kRows, kColumns});
}

/// Writes a series that `change` spoils and expects its reading to fail so, without a word about the patient.
void expect_refused(const std::vector<std::string>& texts, const std::function<void(SliceSpec&)>& change, int n = kSlices) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), n, change);
  const Error error = expect_error(ErrorKind::kBadData, texts, [&] { read_scan(folder.path()); });
  EXPECT_EQ(std::string(error.what()).find(kCanary), std::string::npos) << error.what();
}

std::function<void(SliceSpec&)> change_one(int index, std::function<void(DcmDataset&)> change) {
  return [=](SliceSpec& spec) {
    if (spec.index == index) spec.change = change;
  };
}

void set_text(DcmDataset& dataset, const DcmTagKey& tag, const std::string& value) {
  ASSERT_TRUE(dataset.putAndInsertString(tag, value.c_str()).good());
}

TEST(Dicom, SeriesIsSortedRescaledAndPlaced) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), kSlices);
  const Scan scan = read_scan(folder.path());
  EXPECT_TRUE(scan.image.pixels.equal(expected_hu(kSlices)));
  // Ten digits in a decimal string: 1e-8 mm.
  EXPECT_LT(corner_distance_mm(scan.image.geometry, oblique(), kColumns, kRows, kSlices), 1e-5);
  EXPECT_EQ(scan.modality, "CT");
  EXPECT_EQ(scan.image.unit, IntensityUnit::kHounsfield);
  EXPECT_TRUE(scan.warnings.empty());
}

TEST(Dicom, RescaleIsEachSlicesOwn) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 3, [](SliceSpec& spec) { spec.slope = 1.0 + spec.index; });
  const at::Tensor pixels = read_scan(folder.path()).image.pixels;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pixels[i].equal(expected_hu(3, 1.0 + i)[i])) << i;
}

TEST(Dicom, MrIsRescaledToo) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 3, [](SliceSpec& spec) {
    spec.slope = 1.5 + spec.index;
    spec.intercept = 4.0;
    spec.change = [](DcmDataset& d) {
      set_text(d, DCM_SOPClassUID, UID_MRImageStorage);
      set_text(d, DCM_Modality, "MR");
    };
  });
  const Scan scan = read_scan(folder.path());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(scan.image.pixels[i].equal(expected_hu(3, 1.5 + i, 4.0)[i])) << i;
  EXPECT_EQ(scan.modality, "MR");
  EXPECT_EQ(scan.image.unit, IntensityUnit::kArbitrary);
}

TEST(Dicom, SaysThatPhasesAreNoMagnitudes) {
  const TempFolder folder;
  for (const std::string component : {"M", "P", "I"}) {
    const fs::path series = folder / component;
    fs::create_directory(series);
    write_ct_series(series, oblique(), 2, [&](SliceSpec& spec) {
      spec.change = [=](DcmDataset& d) {
        set_text(d, DCM_SOPClassUID, UID_MRImageStorage);
        set_text(d, DCM_Modality, "MR");
        set_text(d, DCM_ImageType, ("ORIGINAL\\PRIMARY\\" + component + "\\ND").c_str());
      };
    });
    const Scan scan = read_scan(series);
    EXPECT_EQ(std::any_of(scan.warnings.begin(), scan.warnings.end(), [](const auto& warning) { return warning.find("taken for magnitudes") != std::string::npos; }), component != "M") << component;
  }
}

// As GE writes them: far below air, one value as US although pixels are signed.
TEST(Dicom, PaddingIsAir) {
  const TempFolder folder;
  const auto padded = [&](const std::string& modality, bool with_limit) {
    const fs::path series = folder / (modality + std::to_string(with_limit));
    fs::create_directory(series);
    write_ct_series(series, oblique(), 3, [&](SliceSpec& spec) {
      spec.change = [=](DcmDataset& d) {
        set_text(d, DCM_Modality, modality.c_str());
        const Uint16* stored = nullptr;
        d.findAndGetUint16Array(DCM_PixelData, stored);
        std::vector<Uint16> pixels(stored, stored + kRows * kColumns);
        pixels[0] = static_cast<Uint16>(-2000);
        pixels[1] = static_cast<Uint16>(-1990);
        d.putAndInsertUint16Array(DCM_PixelData, pixels.data(), pixels.size());
        d.putAndInsertUint16(DCM_PixelPaddingValue, static_cast<Uint16>(-2000));
        if (with_limit) d.putAndInsertSint16(DCM_PixelPaddingRangeLimit, -1985);
      };
    });
    return read_scan(series);
  };
  for (const bool with_limit : {false, true}) {
    const Scan ct = padded("CT", with_limit);
    at::Tensor expected = expected_hu(3);
    expected.flatten(1).select(1, 0).fill_(-1000);
    expected.flatten(1).select(1, 1).fill_(with_limit ? -1000 : 2 * -1990 - 1000);
    EXPECT_TRUE(ct.image.pixels.equal(expected));
    ASSERT_EQ(ct.warnings.size(), 1u);
    EXPECT_NE(ct.warnings[0].find((with_limit ? "6" : "3") + std::string(" padded pixels")), std::string::npos) << ct.warnings[0];
  }
  EXPECT_EQ(padded("MR", false).image.pixels.flatten()[0].item<float>(), 0.0f);
}

TEST(Dicom, PatientsAreToldApartByAHashAlone) {
  const TempFolder folder;
  const auto hash_of = [&](const std::string& id) {
    write_ct_series(folder.path(), oblique(), kSlices, [&](SliceSpec& spec) { spec.change = [&](DcmDataset& d) { set_text(d, DCM_PatientID, id); }; });
    return read_scan(folder.path()).patient_sha256;
  };
  const std::string one = hash_of("A-1");
  EXPECT_EQ(one, sha256_hex("A-1", 3));
  EXPECT_EQ(hash_of("A-1"), one);
  EXPECT_NE(hash_of("A-2"), one);
  EXPECT_EQ(hash_of(""), "");
}

TEST(Dicom, OneSliceOfASeriesAndOneFile) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), kSlices);
  ScanOptions options;
  options.slice = 4;
  const Scan scan = read_scan(folder.path(), options);
  EXPECT_TRUE(scan.image.pixels.equal(expected_hu(kSlices).slice(0, 4, 5)));
  const auto expected = place_mm(oblique(), 0, 0, 4);
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(scan.image.geometry.origin_mm[i], expected[i], 1e-5);
  options.slice = kSlices;
  expect_error(ErrorKind::kUsage, {"slice 11", "0 to 10"}, [&] { read_scan(folder.path(), options); });

  const Scan alone = read_scan(folder / "IM105");  // slice 1
  EXPECT_TRUE(alone.image.pixels.equal(expected_hu(2).slice(0, 1, 2)));
  EXPECT_EQ(alone.image.geometry.spacing_mm[2], oblique().spacing_mm[2]);
}

TEST(Dicom, Monochrome1ComesBackBrightForLarge) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 1, [](SliceSpec& spec) {
    spec.slope = 1.0;
    spec.intercept = 0.0;
    spec.change = [](DcmDataset& d) {
      set_text(d, DCM_PhotometricInterpretation, "MONOCHROME1");
      set_text(d, DCM_Modality, "MR");
      d.putAndInsertUint16(DCM_PixelRepresentation, 0);
      d.putAndInsertUint16(DCM_BitsStored, 12);
      d.putAndInsertUint16(DCM_HighBit, 11);
    };
  });
  EXPECT_TRUE(read_scan(folder.path()).image.pixels.equal(4095 - expected_hu(1, 1.0, 0.0)));
}

// Its Hounsfield units are those of the stored values, which the decoder turns.
TEST(Dicom, Monochrome1OfCtIsRefused) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 1, [](SliceSpec& spec) { spec.change = [](DcmDataset& d) { set_text(d, DCM_PhotometricInterpretation, "MONOCHROME1"); }; });
  expect_error(ErrorKind::kBadData, {"CT", "MONOCHROME1", "MONOCHROME2"}, [&] { read_scan(folder.path()); });
}

// A volume must not become shorter because a copy failed.
TEST(Dicom, ASliceThatWasLostIsAnError) {
  for (const std::string name : {"IM9", "9.DCM", "9.ima", "notes.txt", ".keep"}) {
    SCOPED_TRACE(name);
    const TempFolder folder;
    write_ct_series(folder.path(), oblique(), 3);
    write_bytes_to(folder / name, name == "IM9" || name == ".keep" ? "" : "text");
    const bool is_lost = name != "notes.txt" && name != ".keep";
    if (is_lost) {
      expect_error(ErrorKind::kBadData, {"1 file(s)", "empty, links to nothing, or named as DICOM", "missing"}, [&] { read_scan(folder.path()); });
    } else {
      const Scan scan = read_scan(folder.path());
      EXPECT_EQ(scan.image.pixels.size(0), 3);
      ASSERT_EQ(scan.warnings.size(), 1u);
      EXPECT_NE(scan.warnings[0].find("1 file(s) of the folder are not DICOM"), std::string::npos);
    }
  }
}

TEST(Dicom, ASliceThatIsALinkToNothingIsLost) {
  for (const std::string name : {"IM9", "9.DCM", "9.ima", "notes.txt", ".keep"}) {
    SCOPED_TRACE(name);
    const TempFolder folder;
    write_ct_series(folder.path(), oblique(), 3);
    fs::create_symlink(folder / "gone", folder / name);
    const bool is_lost = name != "notes.txt" && name != ".keep";
    if (is_lost) expect_error(ErrorKind::kBadData, {"1 file(s)", "links to nothing", "missing"}, [&] { read_scan(folder.path()); });
    else EXPECT_EQ(read_scan(folder.path()).image.pixels.size(0), 3);
  }
}

TEST(Dicom, ColourHasThreeChannels) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 1, [](SliceSpec& spec) {
    spec.change = [](DcmDataset& d) {
      set_text(d, DCM_SOPClassUID, UID_SecondaryCaptureImageStorage);
      set_text(d, DCM_Modality, "OT");
      set_text(d, DCM_PhotometricInterpretation, "RGB");
      for (const DcmTagKey& tag : {DCM_RescaleSlope, DCM_RescaleIntercept, DCM_RescaleType}) d.findAndDeleteElement(tag);
      d.putAndInsertUint16(DCM_SamplesPerPixel, 3);
      d.putAndInsertUint16(DCM_PlanarConfiguration, 0);
      d.putAndInsertUint16(DCM_BitsAllocated, 8);
      d.putAndInsertUint16(DCM_BitsStored, 8);
      d.putAndInsertUint16(DCM_HighBit, 7);
      d.putAndInsertUint16(DCM_PixelRepresentation, 0);
      std::vector<Uint8> pixels;
      for (int i = 0; i < 3 * kRows * kColumns + 1; ++i) pixels.push_back(static_cast<Uint8>(2 * i));  // one byte of padding
      d.putAndInsertUint8Array(DCM_PixelData, pixels.data(), pixels.size());
    };
  });
  const at::Tensor expected =
      (2 * at::arange(3 * kRows * kColumns)).to(at::kByte).to(at::kFloat).reshape({1, kRows, kColumns, 3}).permute({0, 3, 1, 2});
  EXPECT_TRUE(read_scan(folder.path()).image.pixels.equal(expected));
}

TEST(Dicom, OtherFilesOfTheFolderAreLeftOut) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 3);
  write_bytes_to(folder / "LICENSE", "text");
  const Scan scan = read_scan(folder.path());
  EXPECT_EQ(scan.image.pixels.size(0), 3);
  ASSERT_EQ(scan.warnings.size(), 1u);
  EXPECT_NE(scan.warnings[0].find("1 file"), std::string::npos);
}

TEST(Dicom, SeveralSeriesAskForAChoice) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 3);
  ImageGeometry other = oblique();
  other.origin_mm[0] += 5.0;
  for (int i = 0; i < 2; ++i) {
    SliceSpec spec;
    spec.index = i;
    spec.series_uid = "1.2.3.5";
    write_ct_slice(folder / ("other" + std::to_string(i)), other, spec);
  }
  expect_error(ErrorKind::kBadData, {"2 DICOM series", "files of one series"}, [&] { read_scan(folder.path()); });
  ScanOptions options;
  options.series_uid = "1.2.3.5";
  EXPECT_EQ(read_scan(folder.path(), options).image.pixels.size(0), 2);
  options.series_uid = "9.9";
  expect_error(ErrorKind::kBadData, {"not the one asked for"}, [&] { read_scan(folder.path(), options); });
}

TEST(DicomSeries, ADamagedFileIsNotTakenForOneOfAnotherSeries) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 3);
  // The last slice, cut before its SeriesInstanceUID.
  write_bytes_to(folder / "IM110", read_bytes(folder / "IM110").substr(0, 400));
  ScanOptions options;
  options.series_uid = "1.2.3.4";
  expect_error(ErrorKind::kBadData, {"DICOM file 3", "truncated"}, [&] { read_scan(folder.path(), options); });
}

TEST(DicomSeries, MissingSlice) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), kSlices);
  fs::remove(folder / "IM105");
  expect_error(ErrorKind::kBadData, {"4.6 mm", "2.3 mm", "1 slice(s) are missing"}, [&] { read_scan(folder.path()); });
}

TEST(DicomSeries, DuplicatePosition) {
  expect_refused({"lies at the position of"}, [](SliceSpec& spec) {
    if (spec.index == 4) {
      spec.index = 3;
      spec.sop_uid = "1.2.3.4.99";
    }
  });
}

TEST(DicomSeries, DuplicateInstance) {
  expect_refused({"SOPInstanceUID"}, [](SliceSpec& spec) { spec.sop_uid = spec.index < 2 ? "1.2.3.4.7" : ""; });
}

TEST(DicomSeries, UnevenPositions) {
  expect_refused({"2.53 mm", "2.3 mm", "uniform"}, change_one(kSlices - 1, [](DcmDataset& d) {
                   const auto p = place_mm(oblique(), 0, 0, kSlices - 1 + 0.1);
                   char text[100];
                   std::snprintf(text, sizeof(text), "%.8f\\%.8f\\%.8f", p[0], p[1], p[2]);
                   set_text(d, DCM_ImagePositionPatient, text);
                 }));
}

/// A series whose slices are sheared by `degrees`, as a tilted gantry makes it.
void write_tilted(const fs::path& folder, double degrees) {
  write_ct_series(folder, oblique(), kSlices, [&](SliceSpec& spec) {
    const int index = spec.index;
    spec.change = [=](DcmDataset& d) {
      const double rows = index * oblique().spacing_mm[2] * std::tan(degrees * M_PI / 180.0) / oblique().spacing_mm[1];
      const auto p = place_mm(oblique(), 0, rows, index);
      char text[100];
      std::snprintf(text, sizeof(text), "%.8f\\%.8f\\%.8f", p[0], p[1], p[2]);
      set_text(d, DCM_ImagePositionPatient, text);
    };
  });
}

TEST(DicomSeries, GantryTilt) {
  for (const double degrees : {20.0, -20.0, 1.0}) {
    SCOPED_TRACE(degrees);
    const TempFolder folder;
    write_tilted(folder.path(), degrees);
    expect_error(ErrorKind::kBadData, {"tilted gantry"}, [&] { read_scan(folder.path()); });
  }
  // 0.01 degrees: 4 micrometres over the stack, less than the decimals of many scanners.
  const TempFolder folder;
  write_tilted(folder.path(), 0.01);
  EXPECT_EQ(read_scan(folder.path()).image.pixels.size(0), kSlices);
}

TEST(DicomSeries, OneOrientationSizeModalityAndPixelSize) {
  expect_refused({"another orientation"},
                 change_one(2, [](DcmDataset& d) { set_text(d, DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0"); }));
  expect_refused({"another modality"}, change_one(2, [](DcmDataset& d) { set_text(d, DCM_Modality, "MR"); }));
  expect_refused({"another PixelSpacing"}, change_one(2, [](DcmDataset& d) { set_text(d, DCM_PixelSpacing, "1\\1"); }));
  expect_refused({"orthogonal unit vectors"},
                 change_one(2, [](DcmDataset& d) { set_text(d, DCM_ImageOrientationPatient, "1\\0\\0\\0\\0.5\\0"); }));
  expect_refused({"its size is 3x5"}, change_one(2, [](DcmDataset& d) {
                   d.putAndInsertUint16(DCM_Rows, 3);
                   d.putAndInsertUint16(DCM_Columns, 5);
                   const std::vector<Uint16> pixels(15, 0);
                   d.putAndInsertUint16Array(DCM_PixelData, pixels.data(), 15);
                 }));
  expect_refused({"lacks ImagePositionPatient"}, change_one(2, [](DcmDataset& d) { d.findAndDeleteElement(DCM_ImagePositionPatient); }));
}

// A series lends all three to what is made of it, slice by slice.
TEST(DicomSeries, OnePatientStudyAndFrameOfReference) {
  const std::string one = std::string(kCanary) + "1", two = std::string(kCanary) + "2";
  for (const auto& [tag, name] : {std::pair<DcmTagKey, std::string>{DCM_PatientID, "PatientID"}, {DCM_StudyInstanceUID, "StudyInstanceUID"}, {DCM_FrameOfReferenceUID, "FrameOfReferenceUID"}}) {
    SCOPED_TRACE(name);
    const auto values = [tag = tag](const std::string& third, const std::string& others) {
      return [=](SliceSpec& spec) { spec.change = [=, value = spec.index == 2 ? third : others](DcmDataset& d) { set_text(d, tag, value); }; };
    };
    expect_refused({"DICOM file 9", "it has another " + name + " than DICOM file 1", "one patient, study, frame of reference"}, values(one, two));
    expect_refused({"it has no " + name + ", other than DICOM file 1"}, values("", two));
    expect_refused({"it has another " + name + " than DICOM file 1"}, values(one, ""));
    const TempFolder folder;
    write_ct_series(folder.path(), oblique(), kSlices, values("", ""));
    EXPECT_EQ(read_scan(folder.path()).image.pixels.size(0), kSlices) << "as anonymisers leave it";
  }
}

// Batches leave them out; in a folder or file that is named they are errors, for their numbers would pass for a scan's.
TEST(DicomSeries, WhatIsNoSliceOfAScanIsRefused) {
  const auto localiser = [](DcmDataset& d) { set_text(d, DCM_ImageType, "ORIGINAL\\PRIMARY\\LOCALIZER"); };
  expect_refused({"DICOM file 9", "it is a localiser", "the slices of a scan"}, change_one(2, localiser));
  for (const std::string modality : {"CT", "MR"})
    for (const auto& [sop_class, reason] : {std::pair<const char*, std::string>{UID_SecondaryCaptureImageStorage, "it is a secondary capture"}, {UID_RTDoseStorage, "it is a segmentation or a dose map"}})
      expect_refused({reason}, change_one(0, [=, sop_class = sop_class](DcmDataset& d) {
                       set_text(d, DCM_SOPClassUID, sop_class);
                       set_text(d, DCM_Modality, modality);
                     }), 1);
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 1, change_one(0, localiser));
  expect_error(ErrorKind::kBadData, {"it is a localiser"}, [&] { read_dicom_source(folder.path()); });
}

// What is not HU can be looked at; written as a derived object it would be HU to every reader.
TEST(DicomSeries, CtInAnotherUnitIsReadWithAWarningAndLendsNothing) {
  const TempFolder folder;
  const auto written = [&](const std::string& modality, const std::string& type) {
    write_ct_series(folder.path(), oblique(), 2, [&](SliceSpec& spec) {
      spec.change = [&, index = spec.index](DcmDataset& d) {
        set_text(d, DCM_Modality, modality);
        if (index == 1) set_text(d, DCM_RescaleType, type);
      };
    });
    return folder.path();
  };
  for (const char* type : {"MGML", "Z_EFF", "EDW", "PCT", "HU_MOD", "US"}) {
    SCOPED_TRACE(type);
    const Scan scan = read_scan(written("CT", type));
    ASSERT_EQ(scan.warnings.size(), 1u);
    EXPECT_NE(scan.warnings[0].find("RescaleType is not HU"), std::string::npos) << scan.warnings[0];
    expect_error(ErrorKind::kUsage, {"DICOM file 2", "its RescaleType is not HU", "Hounsfield units"}, [&] { read_dicom_source(folder.path()); });
  }
  for (const auto& [modality, type] : {std::pair("CT", "HU"), std::pair("CT", ""), std::pair("MR", "US")}) EXPECT_EQ(read_dicom_source(written(modality, type)).files.size(), 2u) << modality << type;
}

TEST(DicomSeries, BadRescale) {
  expect_refused({"RescaleSlope is 0"}, change_one(2, [](DcmDataset& d) { set_text(d, DCM_RescaleSlope, "0"); }));
  expect_refused({"RescaleSlope", "finite"}, change_one(2, [](DcmDataset& d) { set_text(d, DCM_RescaleSlope, "nan"); }));
  expect_refused({"RescaleSlope", "finite"}, change_one(2, [](DcmDataset& d) { set_text(d, DCM_RescaleIntercept, "inf"); }));
  expect_refused({"RescaleSlope", "finite"}, change_one(2, [](DcmDataset& d) { set_text(d, DCM_RescaleSlope, "ZZCANARY"); }));
  expect_refused({"only one of"}, change_one(2, [](DcmDataset& d) { d.findAndDeleteElement(DCM_RescaleIntercept); }));
}

TEST(DicomSeries, CtWithoutRescaleIsReadWithAWarning) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 2, [](SliceSpec& spec) {
    spec.change = [](DcmDataset& d) {
      d.findAndDeleteElement(DCM_RescaleSlope);
      d.findAndDeleteElement(DCM_RescaleIntercept);
    };
  });
  const Scan scan = read_scan(folder.path());
  EXPECT_TRUE(scan.image.pixels.equal(expected_hu(2, 1.0, 0.0)));
  EXPECT_EQ(scan.warnings.size(), 1u);
}

TEST(DicomSeries, PixelDataAsLongAsTheHeaderSays) {
  for (const int n : {kRows * kColumns - 1, kRows * kColumns + 1, 1})
    expect_refused({"PixelData has " + std::to_string(2 * n) + " bytes", "need 70"}, change_one(2, [=](DcmDataset& d) {
                     const std::vector<Uint16> pixels(static_cast<std::size_t>(n), 0);
                     d.putAndInsertUint16Array(DCM_PixelData, pixels.data(), pixels.size());
                   }));
  expect_refused({"no PixelData"}, change_one(2, [](DcmDataset& d) { d.findAndDeleteElement(DCM_PixelData); }));
}

TEST(DicomSeries, PixelKindsThatAreNotRead) {
  expect_refused({"PhotometricInterpretation"},
                 change_one(2, [](DcmDataset& d) { set_text(d, DCM_PhotometricInterpretation, "YBR_FULL"); }));
  expect_refused({"2 frames"}, change_one(2, [](DcmDataset& d) { set_text(d, DCM_NumberOfFrames, "2"); }));
  expect_refused({"-1 frames"}, change_one(2, [](DcmDataset& d) { set_text(d, DCM_NumberOfFrames, "-1"); }));
  expect_refused({"samples"}, change_one(2, [](DcmDataset& d) { d.putAndInsertUint16(DCM_SamplesPerPixel, 4); }));
  expect_refused({"BitsAllocated", "52"}, change_one(2, [](DcmDataset& d) { d.putAndInsertUint16(DCM_BitsAllocated, 52); }));
  expect_refused({"HighBit", "20"}, change_one(2, [](DcmDataset& d) { d.putAndInsertUint16(DCM_HighBit, 20); }));
  expect_refused({"Rows or Columns"}, change_one(2, [](DcmDataset& d) { d.putAndInsertUint16(DCM_Rows, 0); }));
  expect_refused({"PixelData has 70 bytes"}, change_one(2, [](DcmDataset& d) {
                   d.putAndInsertUint16(DCM_Rows, 65535);
                   d.putAndInsertUint16(DCM_Columns, 65535);
                 }));
}

TEST(DicomFile, TruncationAtManyOffsetsIsAnError) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 1);
  const fs::path path = folder / "IM100";
  const std::string whole = read_bytes(path);
  ASSERT_NO_THROW(read_scan(path));
  // Every offset in the pixel data, every seventh before.
  for (std::size_t length = 0; length<whole.size(); length += length + 90> whole.size() ? 1 : 7) {
    write_bytes_to(path, whole.substr(0, length));
    try {
      read_scan(path);
      ADD_FAILURE() << length << " of " << whole.size() << " bytes were read";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), static_cast<int>(ErrorKind::kBadData));
      EXPECT_EQ(std::string(error.what()).find(kCanary), std::string::npos) << error.what();
    }
  }
}

TEST(DicomFile, ASequenceNestedAHundredThousandTimesCostsNothingButItsFile) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 2);
  std::string bytes = read_bytes(folder / "IM100");
  // (0040,A730) SQ and an item, both of undefined length.
  const std::string level("\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff", 20);
  for (int i = 0; i < 100000; ++i) bytes += level;
  write_bytes_to(folder / "IM100", bytes);
  expect_error(ErrorKind::kBadData, {"IM100"}, [&] { read_scan(folder / "IM100"); });
  expect_error(ErrorKind::kBadData, {"DICOM"}, [&] { read_scan(folder.path()); });
  // The other file of the folder is still read.
  EXPECT_TRUE(read_scan(folder / "IM105").image.pixels.equal(expected_hu(2).slice(0, 1, 2)));
}

TEST(DicomFile, MutationsCostNothingButTheirFile) {
  const TempFolder folder;
  write_ct_series(folder.path(), oblique(), 1);
  const fs::path path = folder / "IM100";
  const std::string whole = read_bytes(path);
  std::uint32_t state = 2026;  // a fixed sequence: the same 200 files every time
  const auto next = [&] { return state = state * 1664525u + 1013904223u, state >> 8; };
  int n_errors = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 200; ++i) {
    std::string damaged = whole;
    const std::size_t at = 128 + next() % (whole.size() - 128);
    switch (i % 3) {
      case 0:
        damaged[at] = static_cast<char>(next());
        break;
      case 1:
        damaged.insert(at, 1, static_cast<char>(next()));
        break;
      default:
        damaged.erase(at, 1);
    }
    write_bytes_to(path, damaged);
    try {
      EXPECT_EQ(read_scan(path).image.pixels.numel(), kRows * kColumns);
    } catch (const Error& error) {
      ++n_errors;
      EXPECT_EQ(std::string(error.what()).find(kCanary), std::string::npos) << error.what();
      EXPECT_NE(error.exit_code(), static_cast<int>(ErrorKind::kInternal)) << error.what();
    }
  }
  // A shift by one byte breaks the structure; a changed byte often does not.
  EXPECT_GT(n_errors, 100);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(120));
}

}  // namespace
}  // namespace postrec::test
