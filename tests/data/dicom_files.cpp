#include "dicom_files.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

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
  const auto p = place(g, 0, 0, spec.index);
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

}  // namespace postrec::test
