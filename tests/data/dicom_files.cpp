#include "dicom_files.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <cmath>

#include "image_bytes.hpp"

namespace postrec::test {

namespace {

std::string decimals(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) {
    char number[32];
    std::snprintf(number, sizeof(number), "%.10g", value);
    text += (text.empty() ? "" : "\\") + std::string(number);
  }
  return text;
}

}  // namespace

void write_ct_slice(const fs::path& path, const ImageGeometry& g, const SliceSpec& spec) {
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  const auto text = [&](const DcmTagKey& tag, const std::string& value) { ASSERT_TRUE(d.putAndInsertString(tag, value.c_str()).good()); };
  const auto integer = [&](const DcmTagKey& tag, int value) { ASSERT_TRUE(d.putAndInsertUint16(tag, static_cast<Uint16>(value)).good()); };
  text(DCM_SOPClassUID, UID_CTImageStorage);
  text(DCM_SOPInstanceUID, spec.sop_uid.empty() ? spec.series_uid + "." + std::to_string(spec.index + 1) : spec.sop_uid);
  text(DCM_StudyInstanceUID, "1.2.3");
  text(DCM_SeriesInstanceUID, spec.series_uid);
  text(DCM_Modality, "CT");
  text(DCM_PatientName, std::string(kCanary).append("^Patient"));
  text(DCM_PatientID, std::string(kCanary).append("-ID"));
  text(DCM_PatientComments, kCanary);
  text(DCM_OtherPatientNames, kCanary);
  text(DCM_InstitutionName, kCanary);
  text(DCM_ReferringPhysicianName, kCanary);
  text(DCM_StudyDescription, kCanary);
  text(DCM_SeriesDescription, kCanary);
  text(DCM_InstanceNumber, std::to_string(spec.index + 1));
  const auto p = place_mm(g, 0, 0, spec.index);
  text(DCM_ImagePositionPatient, decimals({p[0], p[1], p[2]}));
  text(DCM_ImageOrientationPatient,
       decimals({g.direction[0], g.direction[3], g.direction[6], g.direction[1], g.direction[4], g.direction[7]}));
  text(DCM_PixelSpacing, decimals({g.spacing_mm[1], g.spacing_mm[0]}));
  text(DCM_SliceThickness, decimals({g.spacing_mm[2]}));
  integer(DCM_SamplesPerPixel, 1);
  text(DCM_PhotometricInterpretation, "MONOCHROME2");
  integer(DCM_Rows, kRows);
  integer(DCM_Columns, kColumns);
  integer(DCM_BitsAllocated, 16);
  integer(DCM_BitsStored, 16);
  integer(DCM_HighBit, 15);
  integer(DCM_PixelRepresentation, 1);
  text(DCM_RescaleSlope, decimals({spec.slope}));
  text(DCM_RescaleIntercept, decimals({spec.intercept}));
  text(DCM_RescaleType, "HU");
  std::vector<Uint16> pixels;
  for (int row = 0; row < kRows; ++row)
    for (int column = 0; column < kColumns; ++column) pixels.push_back(static_cast<Uint16>(stored_value(column, row, spec.index)));
  ASSERT_TRUE(d.putAndInsertUint16Array(DCM_PixelData, pixels.data(), pixels.size()).good());
  if (spec.change) spec.change(d);
  ASSERT_TRUE(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
}

void write_ct_series(const fs::path& folder, const ImageGeometry& geometry, int n, const std::function<void(SliceSpec&)>& change) {
  fs::create_directories(folder);
  for (int i = 0; i < n; ++i) {
    SliceSpec spec;
    spec.index = i;
    if (change) change(spec);
    // 0, 5, 10, 3, 8, ...: names do not follow the positions.
    write_ct_slice(folder / ("IM" + std::to_string(100 + i * 5 % 13)), geometry, spec);
  }
}

namespace {

void set_text(DcmDataset& d, const DcmTagKey& tag, const std::string& value) { ASSERT_TRUE(d.putAndInsertString(tag, value.c_str()).good()); }

void put_people(DcmDataset& d) {
  const std::string canary = std::string(kCanary) + "^PHI";
  for (const DcmTagKey& tag :
       {DCM_PatientName, DCM_PatientID, DCM_IssuerOfPatientID, DCM_RETIRED_OtherPatientIDs, DCM_OtherPatientNames, DCM_PatientBirthName, DCM_PatientMotherBirthName, DCM_PatientAddress,
        DCM_MilitaryRank, DCM_BranchOfService, DCM_CountryOfResidence, DCM_RegionOfResidence, DCM_PatientTelephoneNumbers, DCM_EthnicGroup, DCM_Occupation,
        DCM_AdditionalPatientHistory, DCM_PatientReligiousPreference, DCM_PatientComments, DCM_AccessionNumber, DCM_InstitutionName, DCM_InstitutionAddress,
        DCM_ReferringPhysicianName, DCM_PerformingPhysicianName, DCM_OperatorsName, DCM_StudyDescription, DCM_SeriesDescription, DCM_StationName, DCM_ProtocolName})
    set_text(d, tag, canary);
  set_text(d, DCM_PatientBirthDate, "19700102");
  set_text(d, DCM_PatientSex, "O");
}

void put_scanner(DcmDataset& d, const std::string& modality) {
  set_text(d, DCM_Manufacturer, "Scanners Ltd");
  set_text(d, DCM_ManufacturerModelName, "Tube 3");
  set_text(d, DCM_SoftwareVersions, "S1");
  set_text(d, DCM_DeviceSerialNumber, "77");
  set_text(d, DCM_BodyPartExamined, "HEAD");
  set_text(d, DCM_PatientPosition, "HFS");
  set_text(d, DCM_ImageType, modality == "CT" ? "ORIGINAL\\PRIMARY\\AXIAL" : "ORIGINAL\\PRIMARY\\OTHER");
  if (modality == "CT") return set_text(d, DCM_KVP, "120");
  set_text(d, DCM_ScanningSequence, "GR");
  set_text(d, DCM_SequenceVariant, "SP");
  set_text(d, DCM_MRAcquisitionType, "2D");
  set_text(d, DCM_RepetitionTime, "9.5");
  set_text(d, DCM_EchoTime, "4.6");
  set_text(d, DCM_EchoTrainLength, "1");
}

void put_study(DcmDataset& d, int slice) {
  set_text(d, DCM_SpecificCharacterSet, "ISO_IR 192");
  set_text(d, DCM_StudyInstanceUID, "1.2.3");
  set_text(d, DCM_SeriesInstanceUID, "1.2.3.4");
  set_text(d, DCM_SOPInstanceUID, "1.2.3.4." + std::to_string(slice + 1));
  set_text(d, DCM_FrameOfReferenceUID, "1.2.3.9");
  set_text(d, DCM_StudyDate, "20200304");
  set_text(d, DCM_StudyTime, "101112");
  set_text(d, DCM_StudyID, "S5");
  set_text(d, DCM_SeriesNumber, "7");
  set_text(d, DCM_AcquisitionNumber, "2");
  set_text(d, DCM_AcquisitionDate, "20200304");
  set_text(d, DCM_AcquisitionTime, "101530");
  set_text(d, DCM_InstanceNumber, std::to_string(slice + 1));
}

void put_picture(DcmDataset& d, const PhantomSpec& spec, int slice) {
  const bool ct = spec.modality == "CT";
  const ImageGeometry& g = spec.geometry;
  const auto p = place_mm(g, 0, 0, slice);
  set_text(d, DCM_ImagePositionPatient, decimals({p[0], p[1], p[2]}));
  set_text(d, DCM_ImageOrientationPatient, decimals({g.direction[0], g.direction[3], g.direction[6], g.direction[1], g.direction[4], g.direction[7]}));
  set_text(d, DCM_PixelSpacing, decimals({g.spacing_mm[1], g.spacing_mm[0]}));
  set_text(d, DCM_SliceThickness, decimals({g.spacing_mm[2]}));
  set_text(d, DCM_PhotometricInterpretation, "MONOCHROME2");
  for (const auto& [tag, value] : {std::pair<DcmTagKey, int>{DCM_SamplesPerPixel, 1}, {DCM_Rows, spec.rows}, {DCM_Columns, spec.columns}, {DCM_BitsAllocated, 16}, {DCM_BitsStored, 12},
                                   {DCM_HighBit, 11}, {DCM_PixelRepresentation, 0}})
    ASSERT_TRUE(d.putAndInsertUint16(tag, static_cast<Uint16>(value)).good());
  if (ct) {
    set_text(d, DCM_RescaleSlope, "1");
    set_text(d, DCM_RescaleIntercept, "-1024");
    set_text(d, DCM_RescaleType, "HU");
  }
  std::vector<Uint16> pixels;
  for (int row = 0; row < spec.rows; ++row)
    for (int column = 0; column < spec.columns; ++column) {
      const double radius = std::hypot(row - spec.rows / 2.0, column - spec.columns / 2.0) / spec.rows;
      const bool inside = radius < 0.3 + 0.02 * slice;
      const int texture = static_cast<int>(40 * std::sin(0.9 * column + slice) * std::cos(0.7 * row));
      pixels.push_back(static_cast<Uint16>(ct ? (inside ? 1064 + texture : 24) : (inside ? 700 + 3 * texture : 0)));
    }
  ASSERT_TRUE(d.putAndInsertUint16Array(DCM_PixelData, pixels.data(), static_cast<unsigned long>(pixels.size())).good());
}

}  // namespace

PhantomSpec::PhantomSpec() { geometry.spacing_mm = {1.25, 1.25, 3.0}; }

void write_phantom_series(const fs::path& folder, const PhantomSpec& spec) {
  fs::create_directories(folder);
  for (int slice = 0; slice < spec.slices; ++slice) {
    DcmFileFormat file;
    DcmDataset& d = *file.getDataset();
    set_text(d, DCM_SOPClassUID, spec.modality == "CT" ? UID_CTImageStorage : UID_MRImageStorage);
    set_text(d, DCM_Modality, spec.modality);
    put_study(d, slice);
    put_people(d);
    put_scanner(d, spec.modality);
    put_picture(d, spec, slice);
    if (spec.change) spec.change(d, slice);
    ASSERT_TRUE(file.saveFile((folder / (std::string(kCanary) + "^PHI " + std::to_string(slice) + ".dcm")).c_str(), EXS_LittleEndianExplicit).good());
  }
}

void truncate_middle_file(const fs::path& folder) {
  const fs::path file = folder / (std::string(kCanary) + "^PHI 1.dcm");
  fs::resize_file(file, fs::file_size(file) / 2);
}

void write_tilted_series(const fs::path& folder) {
  PhantomSpec spec;
  spec.change = [&](DcmDataset& d, int slice) { set_text(d, DCM_ImagePositionPatient, decimals({0, 3.0 * slice * std::tan(20 * 3.14159265 / 180), 3.0 * slice})); };
  write_phantom_series(folder, spec);
}

}  // namespace postrec::test
