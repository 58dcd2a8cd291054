// Enhanced multi-frame files: every frame has its own place and rescale, in any order.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dctk.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <tuple>

#include "dicom_files.hpp"
#include "image_bytes.hpp"
#include "postrec/data/derived_series.hpp"
#include "postrec/data/scan.hpp"

namespace postrec::test {
namespace {

constexpr int kFrames = 4;

std::string text(const std::vector<double>& values) {
  std::string all;
  for (const double value : values) {
    char number[32];
    std::snprintf(number, sizeof number, "%.10g", value);
    if (!all.empty()) all += '\\';
    all += number;
  }
  return all;
}

DcmItem& child(DcmItem& item, const DcmTagKey& sequence, long index = 0) {
  DcmItem* found = nullptr;
  EXPECT_TRUE(item.findOrCreateSequenceItem(sequence, found, index).good());
  return *found;
}

void set(DcmItem& item, const DcmTagKey& tag, const std::string& value) { ASSERT_TRUE(item.putAndInsertString(tag, value.c_str()).good()); }

/// Where frame i lies among the slices: not in the order of the frames.
int slice_of(int frame) { return std::array{1, 3, 0, 2}[static_cast<std::size_t>(frame)]; }
double slope_of(int frame) { return 1.0 + frame; }
int value_of(int frame, int row, int column) { return 1000 * frame + 10 * row + column - 50; }

/// An Enhanced MR file, signed values in 14 of 16 bits, the first ones negative.
void write_enhanced(const fs::path& path, const std::function<void(DcmDataset&)>& change = {}) {
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  const ImageGeometry g = oblique();
  set(d, DCM_SOPClassUID, UID_EnhancedMRImageStorage);
  set(d, DCM_SOPInstanceUID, "1.2.3.4.5");
  set(d, DCM_StudyInstanceUID, "1.2.3");
  set(d, DCM_SeriesInstanceUID, "1.2.3.4");
  set(d, DCM_Modality, "MR");
  set(d, DCM_PatientName, std::string(kCanary));
  set(d, DCM_BodyPartExamined, "HEAD");
  set(d, DCM_PhotometricInterpretation, "MONOCHROME2");
  set(d, DCM_NumberOfFrames, std::to_string(kFrames));
  for (const auto& [tag, value] : {std::pair<DcmTagKey, int>{DCM_SamplesPerPixel, 1}, {DCM_Rows, kRows}, {DCM_Columns, kColumns}, {DCM_BitsAllocated, 16}, {DCM_BitsStored, 14}, {DCM_HighBit, 13},
                                   {DCM_PixelRepresentation, 1}})
    ASSERT_TRUE(d.putAndInsertUint16(tag, static_cast<Uint16>(value)).good());
  DcmItem& shared = child(d, DCM_SharedFunctionalGroupsSequence);
  set(child(shared, DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient,
      text({g.direction[0], g.direction[3], g.direction[6], g.direction[1], g.direction[4], g.direction[7]}));
  DcmItem& measures = child(shared, DCM_PixelMeasuresSequence);
  set(measures, DCM_PixelSpacing, text({g.spacing_mm[1], g.spacing_mm[0]}));
  set(measures, DCM_SliceThickness, text({g.spacing_mm[2]}));
  std::vector<Uint16> pixels;
  for (int frame = 0; frame < kFrames; ++frame) {
    DcmItem& group = child(d, DCM_PerFrameFunctionalGroupsSequence, frame);
    const auto p = place_mm(g, 0, 0, slice_of(frame));
    set(child(group, DCM_PlanePositionSequence), DCM_ImagePositionPatient, text({p[0], p[1], p[2]}));
    DcmItem& rescale = child(group, DCM_PixelValueTransformationSequence);
    set(rescale, DCM_RescaleSlope, text({slope_of(frame)}));
    set(rescale, DCM_RescaleIntercept, "-7");
    for (int row = 0; row < kRows; ++row)
      // The bits above the stored ones hold something else, as overlays once did.
      for (int column = 0; column < kColumns; ++column) pixels.push_back(static_cast<Uint16>((value_of(frame, row, column) & 0x3fff) | (column % 3) << 14));
  }
  ASSERT_TRUE(d.putAndInsertUint16Array(DCM_PixelData, pixels.data(), static_cast<unsigned long>(pixels.size())).good());
  if (change) change(d);
  ASSERT_TRUE(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
}

DcmItem& group_of(DcmDataset& d, int frame) { return child(d, DCM_PerFrameFunctionalGroupsSequence, frame); }

void expect_refused(const std::vector<std::string>& texts, const std::function<void(DcmDataset&)>& change) {
  const TempFolder folder;
  write_enhanced(folder / "a", change);
  const Error error = expect_error(ErrorKind::kBadData, texts, [&] { read_scan(folder.path()); });
  EXPECT_EQ(std::string(error.what()).find(kCanary), std::string::npos) << error.what();
}

TEST(DicomFrames, EachHasItsPlaceAndItsRescale) {
  const TempFolder folder;
  write_enhanced(folder / "a");
  const Scan scan = read_scan(folder.path());
  ASSERT_EQ(scan.image.pixels.sizes(), (at::IntArrayRef{kFrames, 1, kRows, kColumns}));
  EXPECT_LT(corner_distance_mm(scan.image.geometry, oblique(), kColumns, kRows, kFrames), 1e-5);
  EXPECT_EQ(scan.modality, "MR");
  for (int frame = 0; frame < kFrames; ++frame)
    for (int row = 0; row < kRows; ++row)
      for (int column = 0; column < kColumns; ++column)
        ASSERT_EQ(scan.image.pixels[slice_of(frame)][0][row][column].item<float>(), value_of(frame, row, column) * slope_of(frame) - 7) << frame << " " << row << " " << column;
  ScanOptions options;
  options.slice = 2;
  EXPECT_TRUE(read_scan(folder.path(), options).image.pixels.equal(scan.image.pixels.narrow(0, 2, 1)));
}

TEST(DicomFrames, EightBits) {
  const TempFolder folder;
  std::vector<Uint8> bytes;
  for (int i = 0; i < kFrames * kRows * kColumns; ++i) bytes.push_back(static_cast<Uint8>(i));
  write_enhanced(folder / "a", [&](DcmDataset& d) {
    for (const auto& [tag, value] : {std::pair<DcmTagKey, int>{DCM_BitsAllocated, 8}, {DCM_BitsStored, 8}, {DCM_HighBit, 7}, {DCM_PixelRepresentation, 0}})
      d.putAndInsertUint16(tag, static_cast<Uint16>(value));
    d.putAndInsertUint8Array(DCM_PixelData, bytes.data(), static_cast<unsigned long>(bytes.size()));
  });
  const at::Tensor pixels = read_scan(folder.path()).image.pixels;
  for (int frame = 0; frame < kFrames; ++frame)
    EXPECT_EQ(pixels[slice_of(frame)][0][4][6].item<float>(), bytes[static_cast<std::size_t>(frame * kRows * kColumns + 34)] * slope_of(frame) - 7) << frame;
}

TEST(DicomFrames, WhatASeriesMayNotBeAFileMayNotBe) {
  expect_refused({"frame 3 of DICOM file 1", "lacks ImagePositionPatient"}, [](DcmDataset& d) { group_of(d, 2).findAndDeleteElement(DCM_PlanePositionSequence); });
  expect_refused({"at the position of"}, [](DcmDataset& d) {
    const auto p = place_mm(oblique(), 0, 0, slice_of(0));
    set(child(group_of(d, 2), DCM_PlanePositionSequence), DCM_ImagePositionPatient, text({p[0], p[1], p[2]}));
  });
  expect_refused({"tilted gantry"}, [](DcmDataset& d) {
    for (int frame = 0; frame < kFrames; ++frame) {
      const auto p = place_mm(oblique(), 0, 0.5 * slice_of(frame), slice_of(frame));
      set(child(group_of(d, frame), DCM_PlanePositionSequence), DCM_ImagePositionPatient, text({p[0], p[1], p[2]}));
    }
  });
  expect_refused({"another orientation"}, [](DcmDataset& d) { set(child(group_of(d, 1), DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0"); });
  expect_refused({"RescaleSlope is 0"}, [](DcmDataset& d) { set(child(group_of(d, 3), DCM_PixelValueTransformationSequence), DCM_RescaleSlope, "0"); });
  expect_refused({"not as long as its frames need"}, [](DcmDataset& d) { set(d, DCM_NumberOfFrames, "5"); });
  expect_refused({"MONOCHROME2"}, [](DcmDataset& d) { set(d, DCM_PhotometricInterpretation, "MONOCHROME1"); });
  expect_refused({"0 frames"}, [](DcmDataset& d) { set(d, DCM_NumberOfFrames, "0"); });
  expect_refused({"2147483647 frames"}, [](DcmDataset& d) { set(d, DCM_NumberOfFrames, "2147483647"); });
}

TEST(DicomFrames, CompressedOnesAreRefused) {
  const TempFolder folder;
  write_enhanced(folder / "a");
  DcmRLEEncoderRegistration::registerCodecs();
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile((folder / "a").c_str()).good());
  ASSERT_TRUE(file.getDataset()->chooseRepresentation(EXS_RLELossless, nullptr).good());
  ASSERT_TRUE(file.saveFile((folder / "a").c_str(), EXS_RLELossless).good());
  DcmRLEEncoderRegistration::cleanup();
  expect_error(ErrorKind::kBadData, {"compressed"}, [&] { read_scan(folder.path()); });
}

TEST(DicomFrames, ADamagedFileIsRefused) {
  const TempFolder folder;
  write_enhanced(folder / "a");
  const std::string bytes = read_bytes(folder / "a");
  for (std::size_t length = 400; length < bytes.size(); length += 97) {
    write_bytes_to(folder / "a", bytes.substr(0, length));
    expect_error(ErrorKind::kBadData, {}, [&] { read_scan(folder.path()); });
  }
}

Derivation derivation() { return {"0.1.0", std::string(64, 'a'), "how", "run", true, true}; }

/// A map of zeros on all slices of a source.
void write_empty_map(const fs::path& path, const DicomSource& source) {
  DerivedVolume volume;
  volume.title = "Posterior standard deviation";
  volume.quantity = DerivedQuantity::kStandardDeviation;
  const auto n = static_cast<std::int64_t>(source.files.size());
  volume.pixels = at::zeros({n, 1, source.rows, source.columns});
  for (std::int64_t i = 0; i < n; ++i) volume.source_slices.push_back(i);
  write_parametric_map(path, source, volume, derivation());
}

/// The image of the source in a folder as a series out/ and a map map.dcm beside it.
void write_derived(const TempFolder& folder) {
  const DicomSource source = read_dicom_source(folder.path());
  DerivedVolume volume;
  volume.title = "Posterior mean";
  volume.pixels = read_scan(folder.path()).image.pixels;
  volume.source_slices = {0, 1, 2, 3};
  write_derived_series(folder / "out", source, volume, derivation());
  volume.quantity = DerivedQuantity::kStandardDeviation;
  write_parametric_map(folder / "map.dcm", source, volume, derivation());
}

// What a single-frame file says of itself stands in the groups of an enhanced one.
TEST(DicomFrames, DerivedObjectsKeepWhatTheGroupsSay) {
  const TempFolder folder;
  write_enhanced(folder / "a", [](DcmDataset& d) {
    set(d, DCM_BodyPartExamined, "KNEE");
    DcmItem& shared = child(d, DCM_SharedFunctionalGroupsSequence);
    set(child(shared, DCM_PixelMeasuresSequence), DCM_SliceThickness, "5");
    set(child(shared, DCM_FrameAnatomySequence), DCM_FrameLaterality, "L");
    DcmItem& timing = child(shared, DCM_MRTimingAndRelatedParametersSequence);
    set(timing, DCM_RepetitionTime, "9.5");
    set(timing, DCM_FlipAngle, "15");
    set(child(shared, DCM_MRAveragesSequence), DCM_NumberOfAverages, "2");
    for (int frame = 0; frame < kFrames; ++frame) child(group_of(d, frame), DCM_MREchoSequence).putAndInsertFloat64(DCM_EffectiveEchoTime, 4.5 + frame);
    set(child(group_of(d, 2), DCM_FrameAnatomySequence), DCM_FrameLaterality, "R");  // slice 0
  });
  write_derived(folder);
  const auto text_of = [](DcmFileFormat& file, const DcmTagKey& tag) {
    OFString value;
    file.getDataset()->findAndGetOFString(tag, value, 0, OFTrue);
    return std::string(value.c_str());
  };
  for (const auto& [name, side, echo_time] : {std::tuple("0001.dcm", "R", "6.5"), std::tuple("0002.dcm", "L", "4.5")}) {
    DcmFileFormat file;
    ASSERT_TRUE(file.loadFile((folder / "out" / name).c_str()).good());
    EXPECT_EQ(text_of(file, DCM_ImageLaterality), side);
    EXPECT_FALSE(file.getDataset()->tagExists(DCM_Laterality));
    EXPECT_EQ(text_of(file, DCM_SliceThickness), "5");
    EXPECT_EQ(text_of(file, DCM_RepetitionTime), "9.5");
    EXPECT_EQ(text_of(file, DCM_FlipAngle), "15");
    EXPECT_EQ(text_of(file, DCM_NumberOfAverages), "2");
    EXPECT_EQ(text_of(file, DCM_EchoTime), echo_time);
  }
  DcmFileFormat map;
  ASSERT_TRUE(map.loadFile((folder / "map.dcm").c_str()).good());
  EXPECT_EQ(text_of(map, DCM_SliceThickness), "5");
  EXPECT_EQ(text_of(map, DCM_ImageLaterality), "B");  // it holds images of both sides
}

TEST(DicomFrames, DerivedObjectsNameTheFrame) {
  const TempFolder folder;
  write_enhanced(folder / "a");
  write_derived(folder);
  DcmFileFormat slice, map;
  ASSERT_TRUE(slice.loadFile((folder / "out" / "0001.dcm").c_str()).good());
  ASSERT_TRUE(map.loadFile((folder / "map.dcm").c_str()).good());
  OFString frame;
  ASSERT_TRUE(slice.getDataset()->findAndGetOFString(DCM_ReferencedFrameNumber, frame, 0, true).good());
  EXPECT_EQ(frame, "3");  // slice 0 is frame 3
  for (int i = 0; i < kFrames; ++i) {
    ASSERT_TRUE(group_of(*map.getDataset(), i).findAndGetOFString(DCM_ReferencedFrameNumber, frame, 0, true).good());
    EXPECT_EQ(slice_of(std::stoi(frame.c_str()) - 1), i);
  }
  EXPECT_LT(corner_distance_mm(read_scan(folder / "out").image.geometry, oblique(), kColumns, kRows, kFrames), 1e-5);
  if (std::system("command -v dciodvfy >/dev/null 2>&1") != 0) GTEST_SKIP() << "dciodvfy (Debian package dicom3tools) is not installed";
  for (const char* name : {"out/0001.dcm", "map.dcm"}) EXPECT_EQ(std::system(("dciodvfy '" + (folder / name).string() + "' >/dev/null 2>&1").c_str()), 0) << name;
}

// Loaded anew for each frame it would need more memory than the child that writes may have.
TEST(DicomFrames, AMapLoadsTheHeaderOfItsFileOnce) {
  constexpr std::size_t kMany = 200, kBytes = 8 << 20;
  const TempFolder folder;
  write_enhanced(folder / "a", [](DcmDataset& d) {
    const std::vector<Uint8> large(kBytes);
    ASSERT_TRUE(d.putAndInsertUint8Array(DcmTag(0x0029, 0x1000, EVR_OB), large.data(), static_cast<unsigned long>(kBytes)).good());
  });
  DicomSource source = read_dicom_source(folder.path());
  source.files.assign(kMany, source.files.front());
  source.frames.assign(kMany, 1);
  write_empty_map(folder / "map.dcm", source);
  EXPECT_TRUE(fs::exists(folder / "map.dcm"));
}

// In the 16 bits that dcmpmap has for it the last frame that is read would be frame 0.
TEST(DicomFrames, AMapNamesNoFrameThatItCannotCount) {
  const TempFolder folder;
  write_enhanced(folder / "a");
  DicomSource source = read_dicom_source(folder.path());
  source.frames.back() = 65536;
  write_empty_map(folder / "map.dcm", source);
  DcmFileFormat map;
  ASSERT_TRUE(map.loadFile((folder / "map.dcm").c_str()).good());
  OFString frame;
  EXPECT_TRUE(group_of(*map.getDataset(), kFrames - 2).findAndGetOFString(DCM_ReferencedFrameNumber, frame, 0, true).good());
  EXPECT_TRUE(group_of(*map.getDataset(), kFrames - 1).findAndGetOFString(DCM_ReferencedFrameNumber, frame, 0, true).bad()) << frame;
}

}  // namespace
}  // namespace postrec::test
