#include "ct_pd_files.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

namespace postrec::test {

namespace {

constexpr double kSlope = 1e-4, kIntercept = -0.05;

void insert(DcmDataset& dataset, std::unique_ptr<DcmElement> element) { ASSERT_TRUE(dataset.insert(element.release(), OFTrue).good()); }

void put_bytes(DcmDataset& dataset, const DcmTagKey& tag, const void* bytes, std::size_t n) {
  std::string even(static_cast<const char*>(bytes), n);
  if (n % 2) even += ' ';
  auto element = std::make_unique<DcmOtherByteOtherWord>(DcmTag(tag, EVR_UN));
  ASSERT_TRUE(element->putUint8Array(reinterpret_cast<const Uint8*>(even.data()), static_cast<unsigned long>(even.size())).good());
  insert(dataset, std::move(element));
}

double line_integral(const CtPdScan& scan, double phi, int column) {
  const double sx = -scan.radial_mm * std::sin(phi), sz = scan.radial_mm * std::cos(phi);
  const double along_x = std::sin(phi), along_z = -std::cos(phi);  // from the source to the isocentre
  const double column_x = std::cos(phi), column_z = std::sin(phi);
  const double u = (column + 1 - scan.central_column) * scan.column_mm;
  const double ahead = scan.shape == "FLAT" ? scan.focal_to_detector_mm : scan.focal_to_detector_mm * std::cos(u / scan.focal_to_detector_mm);
  const double aside = scan.shape == "FLAT" ? u : scan.focal_to_detector_mm * std::sin(u / scan.focal_to_detector_mm);
  const double dx = ahead * along_x + aside * column_x, dz = ahead * along_z + aside * column_z;
  const double distance = ((scan.x_mm - sx) * dz - (scan.z_mm - sz) * dx) / std::hypot(dx, dz);
  return std::abs(distance) < scan.radius_mm ? 2.0 * scan.mu_per_mm * std::sqrt(scan.radius_mm * scan.radius_mm - distance * distance) : 0.0;
}

void put_projection(DcmDataset& d, const CtPdScan& scan, int view) {
  const double phi = -2.0 * M_PI * view / scan.views;  // a gantry that turns with the clock
  const auto text = [&](const DcmTagKey& tag, const std::string& value) { ASSERT_TRUE(d.putAndInsertString(tag, value.c_str()).good()); };
  const auto number = [&](const DcmTagKey& tag, int value) { ASSERT_TRUE(d.putAndInsertUint16(tag, static_cast<Uint16>(value)).good()); };
  text(DCM_SOPClassUID, UID_CTImageStorage);
  text(DCM_SOPInstanceUID, "1.2.3.4." + std::to_string(view + 1));
  text(DCM_SeriesInstanceUID, "1.2.3.4");
  text(DCM_Modality, "CT");
  for (const DcmTagKey& tag : {DCM_PatientName, DCM_PatientID, DCM_InstitutionName, DCM_ReferringPhysicianName, DCM_AccessionNumber}) text(tag, kProjectionCanary);
  text(DCM_InstanceNumber, std::to_string(view + 1));
  text(DCM_PatientPosition, scan.position);
  text(DCM_DataCollectionDiameter, "160");
  number(DCM_SamplesPerPixel, 1);
  text(DCM_PhotometricInterpretation, "MONOCHROME2");
  number(DCM_Rows, scan.transposed ? scan.rows : scan.columns);
  number(DCM_Columns, scan.transposed ? scan.columns : scan.rows);
  number(DCM_BitsAllocated, 16);
  number(DCM_BitsStored, 16);
  number(DCM_HighBit, 15);
  number(DCM_PixelRepresentation, 0);
  text(DCM_RescaleSlope, "1e-4");
  text(DCM_RescaleIntercept, "-0.05");
  put_private_text(d, 0x7029, 0x0010, "DetectorSystemArrangementModule");
  put_private_text(d, 0x7031, 0x0010, "DetectorDynamicsModule");
  put_private_text(d, 0x7033, 0x0010, "SourceDynamicsModule");
  put_private_text(d, 0x7037, 0x0010, "ProjectionDataDefinitions");
  put_private_text(d, 0x7039, 0x0010, "PreprocessingFlagsModule");
  put_private_text(d, 0x7041, 0x0010, "WaterAttenuationModule");
  const auto f = [&](unsigned short group, unsigned short element, std::vector<float> values) { put_private(d, group, element, values, scan.unknown); };
  put_private_short(d, 0x7029, 0x1010, static_cast<unsigned short>(scan.rows), scan.unknown);
  put_private_short(d, 0x7029, 0x1011, static_cast<unsigned short>(scan.columns), scan.unknown);
  f(0x7029, 0x1002, {static_cast<float>(scan.column_mm)});
  f(0x7029, 0x1006, {static_cast<float>(scan.row_mm)});
  put_private_text(d, 0x7029, 0x100b, scan.shape, scan.unknown);
  f(0x7031, 0x1001, {static_cast<float>(phi)});
  f(0x7031, 0x1002, {-70.0f});
  f(0x7031, 0x1003, {static_cast<float>(scan.radial_mm)});
  f(0x7031, 0x1031, {static_cast<float>(scan.focal_to_detector_mm)});
  f(0x7031, 0x1033, {static_cast<float>(scan.central_column), static_cast<float>(scan.central_row)});
  for (const unsigned short element : {0x100b, 0x100c, 0x100d}) f(0x7033, element, {0.0f});
  put_private_text(d, 0x7033, 0x100e, "FFSNONE", scan.unknown);
  if (scan.photons > 0) f(0x7033, 0x1065, std::vector<float>(static_cast<std::size_t>(scan.columns), static_cast<float>(scan.photons)));
  put_private_text(d, 0x7037, 0x1009, "AXIAL", scan.unknown);
  put_private_text(d, 0x7037, 0x100a, "FANBEAM", scan.unknown);
  put_private_text(d, 0x7039, 0x1009, "YES", scan.unknown);
  if (scan.water_mu_per_mm > 0) put_private_text(d, 0x7041, 0x1001, std::to_string(scan.water_mu_per_mm), scan.unknown);
  std::vector<Uint16> pixels(static_cast<std::size_t>(scan.columns * scan.rows));
  for (int column = 0; column < scan.columns; ++column)
    for (int row = 0; row < scan.rows; ++row) {
      // Other rows than the central one hold something else.
      const double pattern = scan.noise * std::sqrt(2.0) * std::sin(1.7 * column * column + 2.3 * view * view + 0.9 * view * column);
      const double value = line_integral(scan, phi, column) + pattern + 0.5 * std::abs(row + 1 - scan.central_row);
      pixels[static_cast<std::size_t>(scan.transposed ? row * scan.columns + column : column * scan.rows + row)] = static_cast<Uint16>(std::lround((value - kIntercept) / kSlope));
    }
  ASSERT_TRUE(d.putAndInsertUint16Array(DCM_PixelData, pixels.data(), static_cast<unsigned long>(pixels.size())).good());
}

}  // namespace

void put_private(DcmDataset& dataset, unsigned short group, unsigned short element, const std::vector<float>& values, bool unknown) {
  if (unknown) return put_bytes(dataset, {group, element}, values.data(), 4 * values.size());
  auto floats = std::make_unique<DcmFloatingPointSingle>(DcmTag({group, element}, EVR_FL));
  ASSERT_TRUE(floats->putFloat32Array(values.data(), static_cast<unsigned long>(values.size())).good());
  insert(dataset, std::move(floats));
}

void put_private_short(DcmDataset& dataset, unsigned short group, unsigned short element, unsigned short value, bool unknown) {
  if (unknown) return put_bytes(dataset, {group, element}, &value, 2);
  auto number = std::make_unique<DcmUnsignedShort>(DcmTag({group, element}, EVR_US));
  ASSERT_TRUE(number->putUint16(value).good());
  insert(dataset, std::move(number));
}

void put_private_text(DcmDataset& dataset, unsigned short group, unsigned short element, const std::string& value, bool unknown) {
  if (unknown) return put_bytes(dataset, {group, element}, value.data(), value.size());
  auto text = std::make_unique<DcmLongString>(DcmTag({group, element}, EVR_LO));
  ASSERT_TRUE(text->putString(value.c_str()).good());
  insert(dataset, std::move(text));
}

void write_ct_pd(const std::filesystem::path& folder, const CtPdScan& scan) {
  std::filesystem::create_directories(folder);
  for (int view = 0; view < scan.views; ++view) {
    DcmFileFormat file;
    put_projection(*file.getDataset(), scan, view);
    if (scan.change) scan.change(*file.getDataset(), view);
    const std::string name = std::string(kProjectionCanary) + "^" + std::to_string(1000 + view * 7 % scan.views) + ".dcm";
    ASSERT_TRUE(file.saveFile((folder / name).c_str(), scan.unknown ? EXS_LittleEndianImplicit : EXS_LittleEndianExplicit).good());
  }
}

}  // namespace postrec::test
