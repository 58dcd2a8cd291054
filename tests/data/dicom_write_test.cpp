// Derived DICOM objects, read again with DCMTK and with PostRec's own reader (GDCM), and judged by dicom3tools.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dctk.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <tuple>

#include "dicom_files.hpp"
#include "dicom_uid.hpp"
#include "full_disk.hpp"
#include "image_bytes.hpp"
#include "pacs_instance.hpp"
#include "postrec/data/derived_series.hpp"
#include "postrec/data/scan.hpp"
#include "shell.hpp"

namespace postrec::test {
namespace {

std::string text_of(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  return item.findAndGetOFStringArray(tag, value).good() ? value.c_str() : "";
}

/// A file read whole with DCMTK.
struct Loaded {
  explicit Loaded(const fs::path& path) {
    EXPECT_TRUE(file.loadFile(path.c_str()).good()) << path;
    EXPECT_TRUE(file.loadAllDataIntoMemory().good()) << path;
  }
  DcmDataset& d() { return *file.getDataset(); }
  std::string text(const DcmTagKey& tag) { return text_of(d(), tag); }
  DcmItem& item(const DcmTagKey& sequence, long index = 0) {
    DcmItem* found = nullptr;
    EXPECT_TRUE(d().findAndGetSequenceItem(sequence, found, index).good()) << sequence.toString();
    return *found;
  }
  DcmFileFormat file;
};

Derivation derivation(const std::string& run = "run 1") { return {"0.1.0", std::string(64, 'a'), "how it was made", run, true, true}; }

/// Pixels on all slices of the phantom: every value tells where it is.
DerivedVolume volume_of(const DicomSource& source, double scale, DerivedQuantity quantity = DerivedQuantity::kIntensity) {
  DerivedVolume volume;
  volume.title = "Posterior mean";
  volume.quantity = quantity;
  const auto n = static_cast<std::int64_t>(source.files.size());
  volume.pixels = ((at::arange(n * source.rows * source.columns, at::kDouble) - 100.0) * scale).reshape({n, 1, source.rows, source.columns}).to(at::kFloat);
  for (std::int64_t i = 0; i < n; ++i) volume.source_slices.push_back(i);
  return volume;
}

/// SpacingBetweenSlices, wherever it stands; 0 when it is not said.
double spacing_of(const fs::path& path) {
  Loaded file(path);
  Float64 spacing = 0;
  file.d().findAndGetFloat64(DCM_SpacingBetweenSlices, spacing, 0, OFTrue);
  return spacing;
}

/// Puts n zeros of a compressed frame in the place of the pixels, which whoever reads the header alone does not see.
void pretend_compressed(const fs::path& path, E_TransferSyntax syntax, std::size_t n) {
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(path.c_str()).good());
  ASSERT_TRUE(file.loadAllDataIntoMemory().good());
  auto* fragments = new DcmPixelSequence(DcmTag(DCM_PixelData, EVR_OB));
  auto* fragment = new DcmPixelItem(DcmTag(DCM_Item, EVR_OB));
  ASSERT_TRUE(fragment->putUint8Array(std::vector<Uint8>(n).data(), static_cast<unsigned long>(n)).good());
  ASSERT_TRUE(fragments->insert(new DcmPixelItem(DcmTag(DCM_Item, EVR_OB))).good());  // the table of offsets
  ASSERT_TRUE(fragments->insert(fragment).good());
  auto* pixels = new DcmPixelData(DcmTag(DCM_PixelData, EVR_OB));
  pixels->putOriginalRepresentation(syntax, nullptr, fragments);
  ASSERT_TRUE(file.getDataset()->insert(pixels, true).good());
  ASSERT_TRUE(file.saveFile(path.c_str(), syntax).good());
}

/// Puts a private element of n zeros before the pixels; the disk does not hold them.
void swell_header(const fs::path& path, std::uint32_t n) {
  const std::string bytes = read_bytes(path);
  const std::size_t pixels = bytes.rfind(std::string("\xE0\x7F\x10\x00OW", 6));
  ASSERT_NE(pixels, std::string::npos);
  std::ofstream file(path, std::ios::binary);
  file << bytes.substr(0, pixels) << std::string("\xDF\x7F\x00\x10OB\0\0", 8);
  file.write(reinterpret_cast<const char*>(&n), sizeof n);
  file.seekp(n, std::ios::cur);
  file << bytes.substr(pixels);
}

class DicomWrite : public testing::Test {
 protected:
  DicomSource source_of(PhantomSpec spec = {}) {
    write_phantom_series(folder_ / "source", spec);
    return read_dicom_source(folder_ / "source");
  }
  PhantomSpec mr() const {
    PhantomSpec spec;
    spec.modality = "MR";
    spec.geometry = oblique();
    return spec;
  }
  fs::path series(const DicomSource& source, const DerivedVolume& volume, const std::string& name = "out", const Derivation& how = derivation()) {
    write_derived_series(folder_ / name, source, volume, how);
    return folder_ / name / "0001.dcm";
  }
  /// dciodvfy finds no error, where it is installed.
  void expect_valid(const std::string& name) const {
    if (shell("command -v dciodvfy").first != 0) return;
    const auto [code, text] = shell("dciodvfy -new '" + (folder_ / name).string() + "'");
    EXPECT_EQ(code, 0) << name << "\n" << text;
  }
  TempFolder folder_;
};

TEST(DicomUid, ValidOnesAreNumbersWithDots) {
  for (const char* uid : {"1", "1.2.840.10008", "2.25.0"}) EXPECT_TRUE(valid_uid(uid)) << uid;
  EXPECT_TRUE(valid_uid(std::string(64, '1')));
  for (const char* uid : {"", ".", "..", "1.", ".1", "1..2", "1.2a", "../1", "1.2 ", "1/2", "-1"}) EXPECT_FALSE(valid_uid(uid)) << uid;
  EXPECT_FALSE(valid_uid(std::string(65, '1')));
  EXPECT_FALSE(valid_uid(std::string("1\0002", 3)));
}

TEST(DicomUid, DerivedOnesFollowFromTheName) {
  // Computed apart: int.from_bytes(sha256(b"postrec:example")[:16] with version 8 and the variant set).
  EXPECT_EQ(derived_uid("example"), "2.25.130188692230815463665740224463519386319");
  EXPECT_NE(derived_uid("example"), derived_uid("example2"));
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(valid_uid(derived_uid(std::to_string(i))));
}

TEST_F(DicomWrite, CtComesBackInHounsfieldUnitsInItsPlace) {
  PhantomSpec spec;
  spec.geometry = oblique();
  const DicomSource source = source_of(spec);
  const DerivedVolume volume = volume_of(source, 3.73);
  series(source, volume);
  const Scan scan = read_scan(folder_ / "out");
  // |v| is at most 3.73 * 868 = 3238 HU, which 16 bits hold in steps of 0.1: half a step, and the rounding of float32.
  EXPECT_LE((scan.image.pixels - volume.pixels).abs().max().item<double>(), 0.0502);
  EXPECT_GE((scan.image.pixels - volume.pixels).abs().max().item<double>(), 0.01);
  EXPECT_LT(corner_distance_mm(scan.image.geometry, oblique(), spec.columns, spec.rows, spec.slices), 1e-5);
  EXPECT_EQ(scan.modality, "CT");
  EXPECT_TRUE(scan.warnings.empty());
}

TEST_F(DicomWrite, MrHasStoredValuesWhoseScaleIsInTheMapping) {
  const DicomSource source = source_of(mr());
  const DerivedVolume volume = volume_of(source, 0.01);
  Loaded file(series(source, volume));
  EXPECT_FALSE(file.d().tagExists(DCM_RescaleSlope));
  EXPECT_EQ(file.text(DCM_ImageType), "DERIVED\\PRIMARY\\OTHER");
  DcmItem& mapping = file.item(DCM_RealWorldValueMappingSequence);
  Float64 slope = 0;
  ASSERT_TRUE(mapping.findAndGetFloat64(DCM_RealWorldValueSlope, slope).good());
  EXPECT_EQ(slope, 0.0005);  // of 1, 2, 5 times a power of ten the smallest that holds 8.68 in 16 bits
  const Uint16* stored = nullptr;
  ASSERT_TRUE(file.d().findAndGetUint16Array(DCM_PixelData, stored).good());
  const auto* expected = volume.pixels.data_ptr<float>();
  for (int i = 0; i < source.rows * source.columns; ++i) ASSERT_NEAR(static_cast<Sint16>(stored[i]) * slope, expected[i], 0.000251) << i;
}

TEST_F(DicomWrite, PatientStudyAndPlaceAreKeptByteForByte) {
  PhantomSpec spec = mr();
  const std::string name = "\xE5\xB1\xB1\xE7\x94\xB0^\xE5\xA4\xAA\xE9\x83\x8E=x ";  // with the padding that DICOM allows inside a value
  spec.change = [&](DcmDataset& d, int) {
    d.putAndInsertString(DCM_PatientName, name.c_str());
    d.putAndInsertString(DCM_PatientIdentityRemoved, "YES");
    d.putAndInsertString(DCM_DeidentificationMethod, "by hand");
    d.putAndInsertString(DCM_TimezoneOffsetFromUTC, "+0100");
  };
  const DicomSource source = source_of(spec);
  Loaded derived(series(source, volume_of(source, 1.0)));
  Loaded original(source.files.front());
  for (const DcmTagKey& tag :
       {DCM_SpecificCharacterSet, DCM_PatientName, DCM_PatientID, DCM_IssuerOfPatientID, DCM_PatientBirthDate, DCM_PatientSex, DCM_PatientComments, DCM_PatientIdentityRemoved,
        DCM_DeidentificationMethod, DCM_StudyInstanceUID, DCM_StudyDate, DCM_StudyTime, DCM_StudyID, DCM_AccessionNumber, DCM_ReferringPhysicianName, DCM_StudyDescription,
        DCM_FrameOfReferenceUID, DCM_PatientPosition, DCM_BodyPartExamined, DCM_AcquisitionDate, DCM_AcquisitionTime, DCM_AcquisitionNumber, DCM_EchoTime, DCM_RepetitionTime,
        DCM_SliceThickness, DCM_TimezoneOffsetFromUTC, DCM_Modality, DCM_SOPClassUID}) {
    DcmElement *kept = nullptr, *was = nullptr;
    ASSERT_TRUE(original.d().findAndGetElement(tag, was).good()) << tag.toString();
    ASSERT_TRUE(derived.d().findAndGetElement(tag, kept).good()) << tag.toString();
    EXPECT_EQ(kept->compare(*was), 0) << tag.toString();
  }
  EXPECT_NE(read_bytes(folder_ / "out" / "0001.dcm").find(name), std::string::npos);
}

TEST_F(DicomWrite, TheSideOfTheBodyIsKept) {
  PhantomSpec spec;
  spec.change = [](DcmDataset& d, int) {
    d.putAndInsertString(DCM_BodyPartExamined, "KNEE");
    d.putAndInsertString(DCM_ImageLaterality, "L");
    d.putAndInsertString(DCM_LongitudinalTemporalInformationModified, "MODIFIED");
    DcmItem* region = nullptr;
    d.findOrCreateSequenceItem(DCM_AnatomicRegionSequence, region, 0);
    for (const auto& [tag, value] : {std::pair<DcmTagKey, const char*>{DCM_CodeValue, "72696002"}, {DCM_CodingSchemeDesignator, "SCT"}, {DCM_CodeMeaning, "Knee"}}) region->putAndInsertString(tag, value);
  };
  const DicomSource source = source_of(spec);
  series(source, volume_of(source, 1.0));
  write_parametric_map(folder_ / "map.dcm", source, volume_of(source, 1.0, DerivedQuantity::kStandardDeviation), derivation());
  for (const char* name : {"out/0001.dcm", "map.dcm"}) {
    Loaded file(folder_ / name);
    EXPECT_EQ(file.text(DCM_ImageLaterality), "L");
    EXPECT_FALSE(file.d().tagExists(DCM_Laterality)) << "an empty one says that it is not known";
    EXPECT_EQ(file.text(DCM_LongitudinalTemporalInformationModified), "MODIFIED");
    EXPECT_EQ(text_of(file.item(DCM_AnatomicRegionSequence), DCM_CodeValue), "72696002");
    expect_valid(name);
  }
}

TEST_F(DicomWrite, AMapIsAsThickAsItsSourceSaysAndNotAsItsSpacing) {
  for (const char* thickness : {"5", ""}) {
    PhantomSpec spec = mr();
    spec.change = [&](DcmDataset& d, int) { d.putAndInsertString(DCM_SliceThickness, thickness); };
    const DicomSource source = source_of(spec);
    write_parametric_map(folder_ / "map.dcm", source, volume_of(source, 1.0), derivation());
    Loaded map(folder_ / "map.dcm");
    OFString written;
    map.d().findAndGetOFString(DCM_SliceThickness, written, 0, OFTrue);
    EXPECT_EQ(std::string(written.c_str()), thickness);
    expect_valid("map.dcm");
  }
}

TEST_F(DicomWrite, WhatIsNewSaysHowItCameAbout) {
  const DicomSource source = source_of();
  series(source, volume_of(source, 1.0));
  std::set<std::string> instances;
  for (int i = 0; i < 3; ++i) {
    const fs::path path = folder_ / "out" / ("000" + std::to_string(i + 1) + ".dcm");
    Loaded file(path);
    instances.insert(file.text(DCM_SOPInstanceUID));
    EXPECT_EQ(text_of(*file.file.getMetaInfo(), DCM_MediaStorageSOPInstanceUID), file.text(DCM_SOPInstanceUID));
    EXPECT_EQ(text_of(*file.file.getMetaInfo(), DCM_ImplementationVersionName), "POSTREC");
    EXPECT_EQ(text_of(*file.file.getMetaInfo(), DCM_ImplementationClassUID), derived_uid("implementation"));
    EXPECT_EQ(read_bytes(path).substr(0, 128), std::string(128, '\0'));
    EXPECT_EQ(file.text(DCM_InstanceNumber), std::to_string(i + 1));
    EXPECT_EQ(file.text(DCM_SeriesNumber), "701");
    EXPECT_EQ(file.text(DCM_SeriesDescription), "Posterior mean, SIMULATED, research use only");
    EXPECT_EQ(file.text(DCM_ImageType), "DERIVED\\PRIMARY\\AXIAL");
    EXPECT_EQ(file.text(DCM_ContentQualification), "RESEARCH");
    EXPECT_EQ(file.text(DCM_DerivationDescription), "how it was made");
    EXPECT_EQ(text_of(file.item(DCM_DerivationCodeSequence), DCM_CodeValue), "113963");
    EXPECT_EQ(file.text(DCM_Manufacturer), "PostRec");
    EXPECT_EQ(file.text(DCM_SoftwareVersions), "0.1.0\\" + std::string(64, 'a'));
    EXPECT_EQ(text_of(file.item(DCM_ContributingEquipmentSequence, 0), DCM_Manufacturer), "Scanners Ltd");
    EXPECT_EQ(text_of(file.item(DCM_ContributingEquipmentSequence, 1), DCM_Manufacturer), "PostRec");
    EXPECT_EQ(text_of(file.item(DCM_SourceImageSequence), DCM_ReferencedSOPInstanceUID), "1.2.3.4." + std::to_string(i + 1));
    EXPECT_EQ(text_of(file.item(DCM_SourceImageSequence), DCM_SpatialLocationsPreserved), "YES");
    EXPECT_TRUE(valid_uid(file.text(DCM_SeriesInstanceUID)));
    EXPECT_NE(file.text(DCM_SeriesInstanceUID), "1.2.3.4");
    EXPECT_NE(file.text(DCM_ContentDate), "");
  }
  EXPECT_EQ(instances.size(), 3u);
  for (const auto& uid : instances) EXPECT_TRUE(valid_uid(uid) && uid.rfind("2.25.", 0) == 0) << uid;
}

TEST_F(DicomWrite, OfAMeasurementThatDoesNotComeFromItTheSeriesIsNotTheSource) {
  const DicomSource source = source_of();
  for (const auto& [simulated, description] : {std::pair(false, "Posterior mean, research use only"), std::pair(true, "Posterior mean, SIMULATED, research use only")}) {
    Derivation how = derivation();
    how.simulated = simulated;
    how.from_source = false;
    Loaded file(series(source, volume_of(source, 1.0), "out", how));
    EXPECT_FALSE(file.d().tagExists(DCM_SourceImageSequence));
    EXPECT_EQ(text_of(file.item(DCM_ReferencedImageSequence), DCM_ReferencedSOPInstanceUID), "1.2.3.4.1");
    EXPECT_EQ(file.text(DCM_SeriesDescription), description);
    write_parametric_map(folder_ / "map.dcm", source, volume_of(source, 1.0, DerivedQuantity::kStandardDeviation), how);
    Loaded map(folder_ / "map.dcm");
    OFString reference;
    EXPECT_TRUE(map.item(DCM_PerFrameFunctionalGroupsSequence).findAndGetOFString(DCM_ReferencedSOPInstanceUID, reference, 0, OFTrue).bad()) << reference;
    for (const char* name : {"out/0001.dcm", "map.dcm"}) expect_valid(name);
  }
}

TEST_F(DicomWrite, UidsFollowFromSourceRunAndPixels) {
  const DicomSource source = source_of();
  const DerivedVolume volume = volume_of(source, 1.0);
  const auto uids = [&](const DerivedVolume& v, const std::string& name, const std::string& run) {
    Loaded file(series(source, v, name, derivation(run)));
    return std::pair(file.text(DCM_SeriesInstanceUID), file.text(DCM_SOPInstanceUID));
  };
  const auto first = uids(volume, "a", "run 1");
  EXPECT_EQ(uids(volume, "b", "run 1"), first);
  DerivedVolume other = volume;
  other.pixels = volume.pixels.clone();
  other.pixels[2][0][3][4] += 1.0f;
  const auto changed = uids(other, "c", "run 1"), elsewhere = uids(volume, "d", "run 2");
  EXPECT_NE(changed.first, first.first);
  EXPECT_NE(changed.second, first.second);  // slice 1 too, although its own pixels are the same: its series is another
  EXPECT_NE(elsewhere.second, first.second);
  Derivation lent = derivation("run 1");
  lent.from_source = false;
  EXPECT_NE(Loaded(series(source, volume, "e", lent)).text(DCM_SOPInstanceUID), first.second);
  write_parametric_map(folder_ / "map.dcm", source, volume, derivation("run 1"));
  EXPECT_NE(Loaded(folder_ / "map.dcm").text(DCM_SOPInstanceUID), first.second);
}

// Two patients, or two studies, under one UID would be one object in an archive.
TEST_F(DicomWrite, ACorrectedSourceGivesOtherUids) {
  std::set<std::string> all;
  for (const DcmTagKey& tag : {DCM_PatientName, DCM_PatientID, DCM_StudyInstanceUID, DCM_FrameOfReferenceUID}) {
    PhantomSpec spec;
    spec.change = [&](DcmDataset& d, int) { d.putAndInsertString(tag, "1.2.33"); };
    fs::remove_all(folder_ / "source");
    const DicomSource source = source_of(spec);
    Loaded file(series(source, volume_of(source, 1.0), tag.toString().c_str()));
    EXPECT_EQ(file.text(tag), "1.2.33");
    all.insert({file.text(DCM_SeriesInstanceUID), file.text(DCM_SOPInstanceUID)});
  }
  EXPECT_EQ(all.size(), 8u);
}

TEST_F(DicomWrite, HistoryOfTheSourceIsKept) {
  PhantomSpec spec;
  spec.change = [](DcmDataset& d, int slice) {
    d.putAndInsertString(DCM_LossyImageCompression, slice == 1 ? "01" : "00");
    d.putAndInsertString(DCM_BurnedInAnnotation, slice == 1 ? "YES" : "NO");
    if (slice != 1) return;
    d.putAndInsertString(DCM_LossyImageCompressionRatio, "9.5");
    d.putAndInsertString(DCM_LossyImageCompressionMethod, "ISO_10918_1");
  };
  const DicomSource source = source_of(spec);
  series(source, volume_of(source, 1.0));
  Loaded clean(folder_ / "out" / "0001.dcm"), lossy(folder_ / "out" / "0002.dcm");
  EXPECT_EQ(clean.text(DCM_LossyImageCompression) + clean.text(DCM_BurnedInAnnotation), "00NO");
  EXPECT_EQ(lossy.text(DCM_LossyImageCompression) + lossy.text(DCM_BurnedInAnnotation), "01YES");
  EXPECT_EQ(lossy.text(DCM_LossyImageCompressionRatio) + lossy.text(DCM_LossyImageCompressionMethod), "9.5ISO_10918_1");
  write_parametric_map(folder_ / "map.dcm", source, volume_of(source, 1.0, DerivedQuantity::kStandardDeviation), derivation());
  Loaded map(folder_ / "map.dcm");
  EXPECT_EQ(map.text(DCM_LossyImageCompression) + map.text(DCM_BurnedInAnnotation), "01YES");
  EXPECT_EQ(map.text(DCM_LossyImageCompressionRatio) + map.text(DCM_LossyImageCompressionMethod), "9.5ISO_10918_1") << "of the second slice";
}

// Neither what nobody has looked at, nor what became of other images than those that the pixels come from.
TEST_F(DicomWrite, OfCompressionAndBurnedInTextOnlyWhatIsKnownIsSaid) {
  const auto made = [](bool simulated, bool from_source) {
    Derivation how = derivation();
    how.simulated = simulated;
    how.from_source = from_source;
    return how;
  };
  const auto said = [&](const char* name) {
    Loaded file(folder_ / name);
    return file.text(DCM_LossyImageCompression) + file.text(DCM_LossyImageCompressionRatio) + file.text(DCM_BurnedInAnnotation);
  };
  for (const auto& [lossy, ratio, burned, of_image, of_map] :
       {std::tuple("", "", "", "", "00NO"), std::tuple("00", "", "NO", "00NO", "00NO"), std::tuple("01", "9.5", "YES", "019.5YES", "019.5YES")}) {
    PhantomSpec spec;
    spec.change = [lossy = lossy, ratio = ratio, burned = burned](DcmDataset& d, int) {
      for (const auto& [tag, value] : {std::pair{DCM_LossyImageCompression, lossy}, {DCM_LossyImageCompressionRatio, ratio}, {DCM_BurnedInAnnotation, burned}})
        if (*value) d.putAndInsertString(tag, value);
    };
    const DicomSource source = source_of(spec);
    for (const auto& [how, image, map] : {std::tuple(made(true, true), of_image, of_map), std::tuple(made(true, false), "", "00NO"), std::tuple(made(false, false), "00NO", "00NO")}) {
      series(source, volume_of(source, 1.0), "out", how);
      write_parametric_map(folder_ / "map.dcm", source, volume_of(source, 1.0, DerivedQuantity::kStandardDeviation), how);
      EXPECT_EQ(said("out/0001.dcm"), image) << lossy;
      EXPECT_EQ(said("map.dcm"), map) << lossy;
    }
  }
}

TEST_F(DicomWrite, ALossyTransferSyntaxIsHistoryToo) {
  for (const auto& [syntax, says, method] : {std::tuple(EXS_JPEGProcess1, "", "ISO_10918_1"), std::tuple(EXS_JPEGLSLossy, "00", "ISO_14495_1"), std::tuple(EXS_JPEG2000, "01", "ISO_15444_1"),
                                             std::tuple(EXS_JPEG2000, "00", ""), std::tuple(EXS_JPEGLSLossless, "00", "")}) {
    PhantomSpec spec;
    spec.slices = 1;
    spec.rows = 170;
    spec.columns = 190;
    spec.change = [says = says](DcmDataset& d, int) { d.putAndInsertString(DCM_LossyImageCompression, says); };
    const DicomSource source = source_of(spec);
    pretend_compressed(source.files.front(), syntax, 6460);  // a tenth of 170 x 190 pixels of 16 bits
    series(source, volume_of(source, 1.0));
    write_parametric_map(folder_ / "map.dcm", source, volume_of(source, 1.0, DerivedQuantity::kStandardDeviation), derivation());
    for (const char* name : {"out/0001.dcm", "map.dcm"}) {
      Loaded file(folder_ / name);
      EXPECT_EQ(file.text(DCM_LossyImageCompression), *method ? "01" : "00") << syntax;
      EXPECT_EQ(file.text(DCM_LossyImageCompressionMethod), method) << syntax;
      EXPECT_NEAR(std::atof(file.text(DCM_LossyImageCompressionRatio).c_str()), *method ? 10.0 : 0.0, 0.15) << syntax;
      expect_valid(name);
    }
  }
}

TEST_F(DicomWrite, AContrastAgentThatIsACodeIsKeptAsItsMeaning) {
  const auto agent_of = [&](const std::string& agent, const std::vector<std::string>& meanings) -> std::string {
    PhantomSpec spec;
    spec.slices = 1;
    spec.change = [&](DcmDataset& d, int) {
      if (!agent.empty()) d.putAndInsertString(DCM_ContrastBolusAgent, agent.c_str());
      for (const auto& meaning : meanings) {
        DcmItem* code = nullptr;
        d.findOrCreateSequenceItem(DCM_ContrastBolusAgentSequence, code, -2);
        code->putAndInsertString(DCM_CodeMeaning, meaning.c_str());
      }
    };
    const DicomSource source = source_of(spec);
    Loaded file(series(source, volume_of(source, 1.0)));
    return file.d().tagExists(DCM_ContrastBolusAgent) ? file.text(DCM_ContrastBolusAgent) : "none";
  };
  EXPECT_EQ(agent_of("", {"Gadobutrol", "Mannitol"}), "Gadobutrol, Mannitol");
  EXPECT_EQ(agent_of("Omnipaque", {"Iohexol"}), "Omnipaque");
  EXPECT_EQ(agent_of("", {std::string(40, 'a'), std::string(40, 'b'), "c"}), std::string(40, 'a') + ", c") << "what one text has room for";
  EXPECT_EQ(agent_of("", {""}), "") << "an agent that is not known";
  EXPECT_EQ(agent_of("", {}), "none");
}

TEST_F(DicomWrite, OfALongDescriptionTheWarningStays) {
  const DicomSource source = source_of();
  DerivedVolume volume = volume_of(source, 1.0);
  volume.title = "Untrusted probability above 0.000123457";
  EXPECT_EQ(Loaded(series(source, volume)).text(DCM_SeriesDescription), "Untrusted probability above 0.0..., SIMULATED, research use only");
}

TEST_F(DicomWrite, ASeriesNumberThatCannotBeOneIsNone) {
  for (const auto& [number, derived] : {std::pair("7", "701"), std::pair("2147483647", "2147483647"), std::pair("99999999999", "1"), std::pair("9999999999999999999", "1"), std::pair("-3", "1"), std::pair("", "1")}) {
    PhantomSpec spec;
    spec.slices = 1;
    spec.change = [number = number](DcmDataset& d, int) { d.putAndInsertString(DCM_SeriesNumber, number); };
    const DicomSource source = source_of(spec);
    EXPECT_EQ(Loaded(series(source, volume_of(source, 1.0))).text(DCM_SeriesNumber), derived) << number;
  }
}

TEST_F(DicomWrite, StaleAttributesAreDropped) {
  PhantomSpec spec;
  spec.change = [](DcmDataset& d, int) {
    d.putAndInsertUint16(DCM_SmallestImagePixelValue, 3);
    d.putAndInsertUint16(DCM_PixelPaddingValue, 3);
    d.putAndInsertString(DCM_WindowCenter, "77777");
    d.putAndInsertString(DCM_WindowCenterWidthExplanation, "LUNG");
    d.putAndInsertString(DcmTag(0x0029, 0x0010, EVR_LO), "PRIVATE");
    d.putAndInsertString(DCM_ConvolutionKernel, "B30");
    d.putAndInsertString(DCM_ClinicalTrialProtocolID, "T1");
    d.putAndInsertString(DCM_ClinicalTrialSeriesID, "B");
    d.putAndInsertString(DCM_ClinicalTrialSeriesDescription, "baseline");
  };
  const DicomSource source = source_of(spec);
  Loaded file(series(source, volume_of(source, 1.0)));
  for (const DcmTagKey& tag : {DCM_SmallestImagePixelValue, DCM_PixelPaddingValue, DCM_WindowCenterWidthExplanation, DcmTagKey(0x0029, 0x0010), DCM_ConvolutionKernel,
                               DCM_ClinicalTrialSeriesID, DCM_ClinicalTrialSeriesDescription})
    EXPECT_FALSE(file.d().tagExists(tag)) << tag.toString();
  EXPECT_EQ(file.text(DCM_ClinicalTrialProtocolID), "T1");
  EXPECT_NE(file.text(DCM_WindowCenter), "77777");
  EXPECT_EQ(file.text(DCM_VOILUTFunction), "LINEAR_EXACT");  // the default forbids widths below 1, which probabilities have
}

TEST_F(DicomWrite, ParametricMapHoldsTheFloatsOfEachSlice) {
  const DicomSource source = source_of(mr());
  DerivedVolume volume = volume_of(source, 0.37, DerivedQuantity::kStandardDeviation);
  volume.title = "Posterior standard deviation";
  volume.pixels = volume.pixels.index_select(0, at::tensor({0, 2}, at::kLong));
  volume.source_slices = {0, 2};
  write_parametric_map(folder_ / "map.dcm", source, volume, derivation());
  Loaded file(folder_ / "map.dcm");
  EXPECT_EQ(file.text(DCM_SOPClassUID), UID_ParametricMapStorage);
  EXPECT_EQ(file.text(DCM_NumberOfFrames), "2");
  EXPECT_EQ(file.text(DCM_ImageType), "DERIVED\\PRIMARY\\VOLUME\\QUANTITY");
  EXPECT_EQ(file.text(DCM_ContentQualification), "RESEARCH");
  EXPECT_EQ(file.text(DCM_StudyInstanceUID), "1.2.3");
  EXPECT_EQ(file.text(DCM_FrameOfReferenceUID), "1.2.3.9");
  const Float32* pixels = nullptr;
  unsigned long n = 0;
  ASSERT_TRUE(file.d().findAndGetFloat32Array(DCM_FloatPixelData, pixels, &n).good());
  ASSERT_EQ(n, static_cast<unsigned long>(volume.pixels.numel()));
  EXPECT_EQ(std::memcmp(pixels, volume.pixels.data_ptr<float>(), n * sizeof(float)), 0);
  for (int frame = 0; frame < 2; ++frame) {
    DcmItem& groups = file.item(DCM_PerFrameFunctionalGroupsSequence, frame);
    DcmItem* position = nullptr;
    ASSERT_TRUE(groups.findAndGetSequenceItem(DCM_PlanePositionSequence, position).good());
    const auto expected = place_mm(oblique(), 0, 0, 2 * frame);
    for (unsigned i = 0; i < 3; ++i) {
      Float64 value = 0;
      ASSERT_TRUE(position->findAndGetFloat64(DCM_ImagePositionPatient, value, i).good());
      EXPECT_NEAR(value, expected[i], 1e-6);
    }
    OFString reference;
    ASSERT_TRUE(groups.findAndGetOFString(DCM_ReferencedSOPInstanceUID, reference, 0, true).good());
    EXPECT_EQ(reference, ("1.2.3.4." + std::to_string(2 * frame + 1)).c_str());
  }
  DcmItem *mapping = nullptr, *quantity = nullptr, *code = nullptr;
  ASSERT_TRUE(file.item(DCM_SharedFunctionalGroupsSequence).findAndGetSequenceItem(DCM_RealWorldValueMappingSequence, mapping).good());
  ASSERT_TRUE(mapping->findAndGetSequenceItem(DCM_QuantityDefinitionSequence, quantity).good());
  ASSERT_TRUE(quantity->findAndGetSequenceItem(DCM_ConceptCodeSequence, code).good());
  EXPECT_EQ(text_of(*code, DCM_CodeValue), "113061");
  ASSERT_TRUE(mapping->findAndGetSequenceItem(DCM_MeasurementUnitsCodeSequence, code).good());
  EXPECT_EQ(text_of(*code, DCM_CodeValue), "1");
  EXPECT_EQ(text_of(file.item(DCM_ReferencedSeriesSequence), DCM_SeriesInstanceUID), "1.2.3.4");
  EXPECT_NEAR(spacing_of(folder_ / "map.dcm"), 2 * oblique().spacing_mm[2], 1e-6);
}

// Slices whose uncertainty is withheld leave gaps.
TEST_F(DicomWrite, SlicesAreAsFarApartAsThoseThatAreThere) {
  PhantomSpec spec = mr();
  spec.slices = 5;
  const DicomSource source = source_of(spec);
  const double step = oblique().spacing_mm[2];
  for (const auto& [slices, spacing] : std::vector<std::pair<std::vector<std::int64_t>, double>>{{{1, 2, 3}, step}, {{0, 2, 4}, 2 * step}, {{0, 2, 3}, 0.0}, {{3}, step}}) {
    DerivedVolume volume = volume_of(source, 1.0);
    volume.pixels = volume.pixels.index_select(0, at::tensor(slices, at::kLong));
    volume.source_slices = slices;
    series(source, volume);
    write_parametric_map(folder_ / "map.dcm", source, volume, derivation());
    for (const char* name : {"out/0001.dcm", "map.dcm"}) {
      EXPECT_NEAR(spacing_of(folder_ / name), spacing, 1e-6) << name << " " << slices.size();
      expect_valid(name);
    }
  }
}

TEST_F(DicomWrite, ASourceThatWasStrippedOfItsUidsStillGivesAStudy) {
  PhantomSpec spec;
  spec.change = [](DcmDataset& d, int) {
    for (const DcmTagKey& tag : {DCM_StudyInstanceUID, DCM_SeriesInstanceUID, DCM_FrameOfReferenceUID}) d.putAndInsertString(tag, "");
  };
  const DicomSource source = source_of(spec);
  series(source, volume_of(source, 1.0));
  Loaded one(folder_ / "out" / "0001.dcm"), two(folder_ / "out" / "0002.dcm");
  EXPECT_TRUE(valid_uid(one.text(DCM_StudyInstanceUID)));
  EXPECT_EQ(one.text(DCM_StudyInstanceUID), two.text(DCM_StudyInstanceUID));
  EXPECT_EQ(one.text(DCM_FrameOfReferenceUID), two.text(DCM_FrameOfReferenceUID));
}

TEST_F(DicomWrite, AUidOfTheSourceThatIsNoneIsNotReferenced) {
  PhantomSpec spec;
  spec.change = [](DcmDataset& d, int) { d.putAndInsertString(DCM_SOPClassUID, "../x"); };
  const DicomSource source = source_of(spec);
  Loaded file(series(source, volume_of(source, 1.0)));
  EXPECT_FALSE(file.d().tagExists(DCM_SourceImageSequence));
}

TEST_F(DicomWrite, TheSourceMustBeOnTheGridOfTheResult) {
  const DicomSource source = source_of(mr());
  ImageGeometry grid = oblique();
  EXPECT_EQ(first_source_slice(source, grid, 3, 17, 19), 0);
  const auto second = place_mm(oblique(), 0, 0, 1);
  grid.origin_mm = second;
  EXPECT_EQ(first_source_slice(source, grid, 2, 17, 19), 1);
  EXPECT_EQ(first_source_slice(source, grid, 1, 17, 19), 1);
  expect_error(ErrorKind::kUsage, {"3 slices"}, [&] { first_source_slice(source, grid, 3, 17, 19); });
  expect_error(ErrorKind::kUsage, {"17x19", "19x17"}, [&] { first_source_slice(source, grid, 1, 19, 17); });
  grid.origin_mm[0] += 0.0005;
  EXPECT_EQ(first_source_slice(source, grid, 2, 17, 19), 1);
  grid.origin_mm[0] += 0.001;
  expect_error(ErrorKind::kUsage, {"0.0015 mm"}, [&] { first_source_slice(source, grid, 2, 17, 19); });
  grid = oblique();
  grid.spacing_mm[0] += 0.0002;  // 18 pixels: 0.0036 mm
  expect_error(ErrorKind::kUsage, {"mm apart"}, [&] { first_source_slice(source, grid, 3, 17, 19); });
}

TEST_F(DicomWrite, OnlyGrayCtAndMr) {
  PhantomSpec spec;
  spec.modality = "PT";
  write_phantom_series(folder_ / "pet", spec);
  expect_error(ErrorKind::kUsage, {"neither CT nor MR"}, [&] { read_dicom_source(folder_ / "pet"); });
}

// Read as an image 1 mm and the identity stand in; written they would pass for what the scanner said.
TEST_F(DicomWrite, ASourceWithoutAPlaceIsRefused) {
  for (const DcmTagKey& tag : {DCM_ImagePositionPatient, DCM_ImageOrientationPatient, DCM_PixelSpacing}) {
    PhantomSpec spec = mr();
    spec.slices = 1;
    spec.change = [&](DcmDataset& d, int) { d.findAndDeleteElement(tag); };
    write_phantom_series(folder_ / "placeless", spec);
    EXPECT_FALSE(read_scan(folder_ / "placeless").warnings.empty());
    expect_error(ErrorKind::kBadData, {"placeless'", "ImagePositionPatient, ImageOrientationPatient or PixelSpacing", "derived DICOM objects"}, [&] { read_dicom_source(folder_ / "placeless"); });
  }
}

TEST_F(DicomWrite, OneSliceHasTheSpacingThatItsSourceSays) {
  for (const char* spacing : {"", "4.5"}) {
    PhantomSpec spec = mr();
    spec.slices = 1;
    spec.change = [&](DcmDataset& d, int) {
      if (*spacing) d.putAndInsertString(DCM_SpacingBetweenSlices, spacing);
    };
    const DicomSource source = source_of(spec);
    const DerivedVolume volume = volume_of(source, 1.0);
    write_parametric_map(folder_ / "map.dcm", source, volume, derivation());
    Loaded image(series(source, volume)), map(folder_ / "map.dcm");
    OFString of_map;
    map.d().findAndGetOFString(DCM_SpacingBetweenSlices, of_map, 0, OFTrue);
    EXPECT_EQ(image.text(DCM_SpacingBetweenSlices), spacing);
    EXPECT_EQ(std::string(of_map.c_str()), spacing);
    EXPECT_EQ(image.d().tagExists(DCM_SpacingBetweenSlices), *spacing != 0);
    for (const char* name : {"out/0001.dcm", "map.dcm"}) expect_valid(name);
  }
}

TEST_F(DicomWrite, NotANumberIsRefused) {
  const DicomSource source = source_of();
  DerivedVolume volume = volume_of(source, 1.0);
  volume.pixels[1][0][2][3] = std::nanf("");
  expect_error(ErrorKind::kNumerical, {"Posterior mean"}, [&] { series(source, volume); });
  expect_error(ErrorKind::kNumerical, {"Posterior mean"}, [&] { write_parametric_map(folder_ / "m.dcm", source, volume, derivation()); });
  EXPECT_FALSE(fs::exists(folder_ / "m.dcm"));
}

TEST_F(DicomWrite, ASourceThatHasGoneIsNamedByNothingOfItsOwn) {
  const DicomSource source = source_of();
  fs::remove(source.files[1]);
  const Error error = expect_error(ErrorKind::kNoInput, {"0002.dcm", "cannot be read again"}, [&] { series(source, volume_of(source, 1.0)); });
  EXPECT_EQ(std::string(error.what()).find(kCanary), std::string::npos);
}

TEST_F(DicomWrite, AHeaderThatIsTooLargeForTheMemoryIsNotCalledGone) {
  const DicomSource source = source_of();
  swell_header(source.files[1], 1500000000);
  expect_error(ErrorKind::kOutOfMemory, {"0002.dcm", "memory"}, [&] { series(source, volume_of(source, 1.0)); });
  EXPECT_FALSE(fs::exists(folder_ / "out" / "0002.dcm"));
}

// The same run done again makes its objects at another time; everything else must be what it was, or one UID would stand for two.
TEST_F(DicomWrite, OneUidIsOneObjectButForItsTimes) {
  const DicomSource source = source_of();
  DerivedVolume volume = volume_of(source, 1.0);
  const auto make = [&](const std::string& name) {
    series(source, volume, name);
    write_parametric_map(folder_ / name / "map.dcm", source, volume, derivation());
  };
  make("a");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // times are in seconds
  make("b");
  for (const char* name : {"0001.dcm", "0003.dcm", "map.dcm"}) {
    const fs::path a = folder_ / "a" / name, b = folder_ / "b" / name;
    EXPECT_EQ(Loaded(a).text(DCM_SOPInstanceUID), Loaded(b).text(DCM_SOPInstanceUID));
    EXPECT_NE(data_set_sha256(a), data_set_sha256(b));
    EXPECT_TRUE(same_but_for_times(a, b)) << name;
  }
  EXPECT_FALSE(same_but_for_times(folder_ / "a/0001.dcm", folder_ / "a/0002.dcm"));
  volume.number = 2;  // the same map is the second one when another --threshold goes before it
  make("c");
  for (const char* name : {"0001.dcm", "map.dcm"}) EXPECT_NE(Loaded(folder_ / "a" / name).text(DCM_SOPInstanceUID), Loaded(folder_ / "c" / name).text(DCM_SOPInstanceUID)) << name;
  for (const DcmTagKey& tag : {DCM_PatientID, DCM_StudyDate, DCM_AcquisitionTime}) {
    DcmFileFormat file;
    ASSERT_TRUE(file.loadFile((folder_ / "a/0001.dcm").c_str()).good());
    file.getDataset()->putAndInsertString(tag, "20210101");
    ASSERT_TRUE(file.saveFile((folder_ / "other.dcm").c_str(), EXS_LittleEndianExplicit).good());
    EXPECT_FALSE(same_but_for_times(folder_ / "a/0001.dcm", folder_ / "other.dcm")) << tag.toString();
  }
}

TEST_F(DicomWrite, AFullDiskLeavesNoFile) {
  const DicomSource source = source_of();
  const DerivedVolume volume = volume_of(source, 1.0);
  write_parametric_map(folder_ / "whole.dcm", source, volume, derivation());
  series(source, volume, "whole");
  const auto map_bytes = fs::file_size(folder_ / "whole.dcm"), slice_bytes = fs::file_size(folder_ / "whole" / "0001.dcm");
  for (const std::uintmax_t room : {std::uintmax_t{0}, std::uintmax_t{100}, std::uintmax_t{1000}, slice_bytes - 1}) {
    const FullDisk full(room);
    expect_error(ErrorKind::kInputOutput, {"0001.dcm", "free space"}, [&] { series(source, volume, "full"); });
    EXPECT_TRUE(fs::is_empty(folder_ / "full")) << room;
  }
  const FullDisk full(map_bytes - 1);
  expect_error(ErrorKind::kInputOutput, {"full.dcm", "free space"}, [&] { write_parametric_map(folder_ / "full.dcm", source, volume, derivation()); });
  EXPECT_EQ(folder_.names(), (std::set<std::string>{"source", "whole", "whole.dcm", "full"}));
}

TEST_F(DicomWrite, Dicom3toolsFindsNoError) {
  if (shell("command -v dciodvfy && command -v dcentvfy").first != 0) GTEST_SKIP() << "dciodvfy and dcentvfy (Debian package dicom3tools) are not installed";
  for (const char* modality : {"CT", "MR"})
    for (const char* part : {"HEAD", "KNEE", ""}) {
      PhantomSpec spec;
      spec.modality = modality;
      spec.change = [&](DcmDataset& d, int) { d.putAndInsertString(DCM_BodyPartExamined, part); };
      fs::remove_all(folder_ / "source");
      const DicomSource source = source_of(spec);
      DerivedVolume volume = volume_of(source, 1.0);
      const fs::path out = folder_ / (std::string("out") + modality + part);
      write_derived_series(out / "mean", source, volume, derivation());
      for (const auto quantity : {DerivedQuantity::kStandardDeviation, DerivedQuantity::kProbability}) {
        volume.quantity = quantity;
        volume.number++;
        volume.title = quantity == DerivedQuantity::kProbability ? "Probability above 100" : "Posterior standard deviation";
        write_derived_series(out / std::to_string(volume.number), source, volume, derivation());
        write_parametric_map(out / (std::to_string(volume.number) + ".dcm"), source, volume, derivation());
      }
      std::string all;
      for (const auto& entry : fs::recursive_directory_iterator(out))
        if (entry.is_regular_file()) {
          all += " '" + entry.path().string() + "'";
          const auto [code, text] = shell("dciodvfy -new '" + entry.path().string() + "'");
          EXPECT_EQ(text.find("Error"), std::string::npos) << entry.path() << "\n" << text;
          EXPECT_EQ(code, 0) << text;
        }
      const auto [code, text] = shell("dcentvfy" + all + " '" + (folder_ / "source").string() + "'/*");
      EXPECT_EQ(text.find("Error"), std::string::npos) << text;
    }
}

}  // namespace
}  // namespace postrec::test
