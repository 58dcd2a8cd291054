// DICOM-CT-PD files through DCMTK. Tags: Moen et al., Med. Phys. 48 (2021) 902, table IV. Their private elements often come as UN, because no dictionary of a reader knows them.
#include "dicom_ct_pd.hpp"

#include <ATen/ATen.h>
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "child_process.hpp"
#include "dicom_child.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"

namespace postrec {

namespace {

static_assert(std::is_trivially_copyable_v<CtPdHeader>);
static_assert(std::endian::native == std::endian::little, "elements of unknown type are taken as little endian");

const DcmTagKey kDetectorRows(0x7029, 0x1010), kDetectorColumns(0x7029, 0x1011), kColumnSpacing(0x7029, 0x1002), kRowSpacing(0x7029, 0x1006), kShape(0x7029, 0x100b);
const DcmTagKey kAngle(0x7031, 0x1001), kAxial(0x7031, 0x1002), kRadial(0x7031, 0x1003), kFocalToDetector(0x7031, 0x1031), kCentralElement(0x7031, 0x1033);
const DcmTagKey kAngleShift(0x7033, 0x100b), kAxialShift(0x7033, 0x100c), kRadialShift(0x7033, 0x100d), kFlyingFocalSpot(0x7033, 0x100e), kSpectra(0x7033, 0x1061);
const DcmTagKey kPhotonStatistics(0x7033, 0x1065), kScan(0x7037, 0x1009), kBeam(0x7037, 0x100a), kLogFlag(0x7039, 0x1009), kWater(0x7041, 0x1001);

void set_problem(CtPdHeader& header, const std::string& text) {
  if (header.problem[0] == '\0') std::snprintf(header.problem, sizeof(header.problem), "%s", text.c_str());
}

/// The type of an element that the file calls UN.
enum class UnknownAs { kFloat, kShort };

std::size_t bytes_of(UnknownAs type) { return type == UnknownAs::kFloat ? 4 : 2; }

bool is_unknown(const DcmElement& element) {
  const DcmEVR type = const_cast<DcmElement&>(element).getVR();
  return type == EVR_UN || type == EVR_UNKNOWN || type == EVR_OB;  // EVR_UNKNOWN: from a file with implicit types
}

DcmElement* find(DcmItem& item, const DcmTagKey& tag) {
  DcmElement* element = nullptr;
  return item.findAndGetElement(tag, element).good() && element != nullptr && element->getLength() > 0 ? element : nullptr;
}

std::size_t count_of(DcmElement& element, UnknownAs type) { return is_unknown(element) ? element.getLength() / bytes_of(type) : element.getVM(); }

bool parse_decimal(const OFString& text, double& out) {
  std::string value(text.c_str(), text.size());
  value.erase(value.find_last_not_of(std::string(" \0", 2)) + 1);
  value.erase(0, std::min(value.find_first_not_of(" +"), value.size()));
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  return error == std::errc() && end == value.data() + value.size();
}

/// Number `i` of an element, whatever its type.
bool number_at(DcmElement& element, unsigned long i, UnknownAs type, double& out) {
  if (is_unknown(element)) {
    Uint8* bytes = nullptr;
    if (element.getUint8Array(bytes).bad() || bytes == nullptr || element.getLength() < (i + 1) * bytes_of(type)) return false;
    if (type == UnknownAs::kShort) {
      std::uint16_t value = 0;
      std::memcpy(&value, bytes + 2 * i, 2);
      out = value;
    } else {
      float value = 0.0f;
      std::memcpy(&value, bytes + 4 * i, 4);
      out = value;
    }
    return std::isfinite(out);
  }
  Float32 narrow = 0.0f;
  Uint16 small = 0;
  Uint32 large = 0;
  OFString text;
  // DCMTK takes the number that a text begins with: 1 of "1,5".
  if (DcmVR(element.getVR()).isaString()) return element.getOFString(text, i).good() && parse_decimal(text, out) && std::isfinite(out);
  if (element.getFloat64(out, i).good()) return std::isfinite(out);
  if (element.getFloat32(narrow, i).good()) out = narrow;
  else if (element.getUint16(small, i).good()) out = small;
  else if (element.getUint32(large, i).good()) out = large;
  else return false;
  return std::isfinite(out);
}

/// `n` numbers. Marks the file when they are there and wrong, or missing and `required`.
bool get_numbers(DcmItem& item, const DcmTagKey& tag, UnknownAs type, double* out, unsigned n, const char* name, bool required, CtPdHeader& header) {
  DcmElement* element = find(item, tag);
  if (element == nullptr) {
    if (required) set_problem(header, std::string("it has no ") + name + " " + tag.toString().c_str());
    return false;
  }
  bool good = count_of(*element, type) == n;
  for (unsigned i = 0; i < n && good; ++i) good = number_at(*element, i, type, out[i]);
  if (!good) set_problem(header, std::string("its ") + name + " " + tag.toString().c_str() + " is not " + (n == 1 ? "a finite number" : "two finite numbers"));
  return good;
}

void get_integer(DcmItem& item, const DcmTagKey& tag, std::int64_t& out, const char* name, CtPdHeader& header) {
  double value = 0.0;
  if (get_numbers(item, tag, UnknownAs::kShort, &value, 1, name, true, header)) out = static_cast<std::int64_t>(value);
}

template <std::size_t n>
void get_text(DcmItem& item, const DcmTagKey& tag, char (&out)[n]) {
  DcmElement* element = find(item, tag);
  if (element == nullptr) return;
  std::string text;
  Uint8* bytes = nullptr;
  OFString value;
  if (is_unknown(*element)) {
    if (element->getUint8Array(bytes).good() && bytes != nullptr) text.assign(reinterpret_cast<const char*>(bytes), std::min<std::size_t>(element->getLength(), n - 1));
  } else if (element->getOFString(value, 0).good()) {
    text.assign(value.c_str(), value.size());
  }
  text.erase(std::find(text.begin(), text.end(), '\0'), text.end());
  text.erase(text.find_last_not_of(' ') + 1);
  std::strncpy(out, text.c_str(), n - 1);
}

std::int64_t plain_integer(DcmItem& item, const DcmTagKey& tag, std::int64_t otherwise) {
  Uint16 value = 0;
  return item.findAndGetUint16(tag, value).good() ? value : otherwise;
}

void read_picture(DcmDataset& dataset, CtPdHeader& header) {
  header.rows = plain_integer(dataset, DCM_Rows, 0);
  header.columns = plain_integer(dataset, DCM_Columns, 0);
  const DcmXfer syntax(dataset.getOriginalXfer());
  OFString frames;
  if (dataset.findAndGetOFString(DCM_NumberOfFrames, frames).good() && frames != "1") set_problem(header, "it has several frames; DICOM-CT-PD has one file a view");
  if (syntax.isEncapsulated() || syntax.isBigEndian()) set_problem(header, "it is compressed or big endian; only uncompressed little endian files are read");
  if (plain_integer(dataset, DCM_BitsAllocated, 0) != 16 || plain_integer(dataset, DCM_PixelRepresentation, 0) != 0 || plain_integer(dataset, DCM_SamplesPerPixel, 1) != 1)
    set_problem(header, "its pixels are not unsigned numbers of 16 bits, one a pixel");
  DcmElement* pixels = find(dataset, DCM_PixelData);
  const auto bytes = static_cast<std::uint64_t>(2 * header.rows * header.columns);
  if (pixels == nullptr || bytes == 0 || pixels->getLength() != bytes) set_problem(header, "its PixelData is not as long as Rows and Columns say");
  const bool along_rows = header.rows == header.n_detector_columns && header.columns == header.n_detector_rows;
  const bool along_columns = header.rows == header.n_detector_rows && header.columns == header.n_detector_columns;
  if (!along_rows && !along_columns) set_problem(header, "its Rows and Columns are not the NumberofDetectorColumns and NumberofDetectorRows");
  for (const auto& [tag, out] : {std::pair{DCM_RescaleSlope, &header.slope}, std::pair{DCM_RescaleIntercept, &header.intercept}})
    get_numbers(dataset, tag, UnknownAs::kFloat, out, 1, tag == DCM_RescaleSlope ? "RescaleSlope" : "RescaleIntercept", true, header);
  if (header.slope == 0.0) set_problem(header, "its RescaleSlope is 0");
}

void read_detector(DcmDataset& dataset, CtPdHeader& header) {
  const auto required = [&](const DcmTagKey& tag, double& out, const char* name) { get_numbers(dataset, tag, UnknownAs::kFloat, &out, 1, name, true, header); };
  const auto optional = [&](const DcmTagKey& tag, double& out, const char* name) { get_numbers(dataset, tag, UnknownAs::kFloat, &out, 1, name, false, header); };
  get_integer(dataset, kDetectorRows, header.n_detector_rows, "NumberofDetectorRows", header);
  get_integer(dataset, kDetectorColumns, header.n_detector_columns, "NumberofDetectorColumns", header);
  required(kColumnSpacing, header.column_mm, "DetectorElementTransverseSpacing");
  required(kRowSpacing, header.row_mm, "DetectorElementAxialSpacing");
  required(kAngle, header.angle_rad, "DetectorFocalCenterAngularPosition");
  required(kAxial, header.axial_mm, "DetectorFocalCenterAxialPosition");
  required(kRadial, header.radial_mm, "DetectorFocalCenterRadialDistance");
  required(kFocalToDetector, header.focal_to_detector_mm, "ConstantRadialDistance");
  get_numbers(dataset, kCentralElement, UnknownAs::kFloat, header.central_element, 2, "DetectorCentralElement", true, header);
  optional(kAngleShift, header.source_shift[0], "SourceAngularPositionShift");
  optional(kAxialShift, header.source_shift[1], "SourceAxialPositionShift");
  optional(kRadialShift, header.source_shift[2], "SourceRadialDistanceShift");
  for (const double length : {header.column_mm, header.row_mm, header.radial_mm, header.focal_to_detector_mm})
    if (!(length > 0.0)) set_problem(header, "a length of its detector or its focal centre is not above 0");
}

/// WaterAttenuationCoefficient is a decimal string, also where the file calls it UN.
void read_water(DcmDataset& dataset, CtPdHeader& header) {
  char text[17] = {};
  get_text(dataset, kWater, text);
  if (text[0] != '\0' && (!parse_decimal(text, header.water_mu_per_mm) || !std::isfinite(header.water_mu_per_mm)))
    set_problem(header, "its WaterAttenuationCoefficient is not a finite number");
}

void read_header(const std::filesystem::path& path, CtPdHeader& header) {
  DcmFileFormat file;
  if (file.loadFile(path.c_str()).bad()) return set_problem(header, "it is truncated or damaged");
  DcmDataset& dataset = *file.getDataset();
  if (!holds_projection(dataset)) return set_problem(header, "it is not DICOM-CT-PD: it has no private groups 7029 and 7031");
  get_text(dataset, DCM_SOPInstanceUID, header.sop_instance_uid);
  double number = 0.0;
  if (get_numbers(dataset, DCM_InstanceNumber, UnknownAs::kShort, &number, 1, "InstanceNumber", false, header)) header.instance_number = static_cast<std::int64_t>(number);
  read_detector(dataset, header);
  read_picture(dataset, header);
  get_text(dataset, kShape, header.shape);
  get_text(dataset, kFlyingFocalSpot, header.flying_focal_spot);
  get_text(dataset, kScan, header.scan);
  get_text(dataset, kBeam, header.beam);
  get_text(dataset, kLogFlag, header.log_flag);
  get_text(dataset, DCM_PatientPosition, header.patient_position);
  read_water(dataset, header);
  get_numbers(dataset, DCM_DataCollectionDiameter, UnknownAs::kFloat, &header.diameter_mm, 1, "DataCollectionDiameter", false, header);
  double spectra = 1.0;
  if (get_numbers(dataset, kSpectra, UnknownAs::kShort, &spectra, 1, "NumberofSpectra", false, header) && spectra > 1.0)
    set_problem(header, "it is of a scan with several spectra; give the files of one of them with NumberofSpectra 1");
  DcmElement* photons = find(dataset, kPhotonStatistics);
  header.n_photon_statistics = photons == nullptr ? 0 : static_cast<std::int64_t>(count_of(*photons, UnknownAs::kFloat));
}

/// False when the values are not there.
bool read_row(const std::filesystem::path& path, const CtPdHeader& header, std::int64_t row, float* values, float* photons) {
  DcmFileFormat file;
  if (file.loadFile(path.c_str()).bad()) return false;
  DcmDataset& dataset = *file.getDataset();
  const Uint16* stored = nullptr;
  unsigned long n = 0;
  if (dataset.findAndGetUint16Array(DCM_PixelData, stored, &n).bad() || stored == nullptr || n < static_cast<unsigned long>(header.rows * header.columns)) return false;
  // The format keeps a detector column as a row of the picture; a writer that does it the other way round is understood where the sizes tell.
  const bool along_rows = header.rows == header.n_detector_columns && header.columns == header.n_detector_rows;
  for (std::int64_t column = 0; column < header.n_detector_columns; ++column)
    values[column] = static_cast<float>(stored[along_rows ? column * header.columns + row : row * header.columns + column] * header.slope + header.intercept);
  if (header.n_photon_statistics == 0) return true;
  DcmElement* element = find(dataset, kPhotonStatistics);
  for (std::int64_t column = 0; column < header.n_detector_columns; ++column) {
    double number = 0.0;
    if (element == nullptr || !number_at(*element, header.n_photon_statistics == 1 ? 0 : static_cast<unsigned long>(column), UnknownAs::kFloat, number)) return false;
    photons[column] = static_cast<float>(number);
  }
  return true;
}

std::uint64_t memory_for(const std::vector<std::filesystem::path>& files) {
  std::uint64_t largest = 0;
  for (const auto& file : files) largest = std::max<std::uint64_t>(largest, std::filesystem::file_size(file));
  return (std::uint64_t{512} << 20) + 4 * largest;
}

}  // namespace

bool holds_projection(DcmDataset& dataset) { return find(dataset, kDetectorColumns) != nullptr || find(dataset, kAngle) != nullptr; }

std::vector<CtPdHeader> read_ct_pd_headers(const std::vector<std::filesystem::path>& files) {
  return read_each_in_child<CtPdHeader>(files, memory_for(files), read_header,
                                        [](CtPdHeader& header, const std::string& death) { set_problem(header, "the header reader died on it (" + death + ")"); });
}

CtPdRow read_ct_pd_row(const std::vector<std::filesystem::path>& files, const std::vector<CtPdHeader>& headers, std::int64_t row, const std::filesystem::path& folder) {
  const std::int64_t n_files = static_cast<std::int64_t>(files.size()), n_columns = headers.front().n_detector_columns;
  const auto n = static_cast<std::size_t>(n_files * n_columns);
  const auto memory = std::make_shared<SharedMemory>(sizeof(std::uint64_t) + 2 * n * sizeof(float));
  auto& n_done = *static_cast<std::uint64_t*>(memory->data());
  auto* values = reinterpret_cast<float*>(&n_done + 1);
  float* photons = values + n;
  const std::string death = run_in_child(
      [&] {
        ::unsetenv("DCMDICTPATH");
        OFLog::configure(OFLogger::OFF_LOG_LEVEL);
        for (; n_done < files.size(); ++n_done) {
          const std::size_t at = n_done * static_cast<std::size_t>(n_columns);
          if (!read_row(files[n_done], headers[n_done], row, values + at, photons + at)) return;
        }
      },
      {memory_for(files), static_cast<unsigned>(60 + files.size() / 10)});
  if (n_done < files.size())
    throw Error(ErrorKind::kBadData, "DICOM file " + std::to_string(n_done + 1) + " of " + quoted_path(folder) + ": its values cannot be read" + (death.empty() ? "" : " (" + death + ")"),
                "the file is damaged; copy it again");
  const auto tensor = [&](float* data) { return at::from_blob(data, {n_files, n_columns}, at::kFloat).clone(); };
  return {tensor(values), headers.front().n_photon_statistics > 0 ? tensor(photons) : at::Tensor()};
}

}  // namespace postrec
