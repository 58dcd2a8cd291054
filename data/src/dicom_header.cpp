// DICOM headers through DCMTK, which neither aborts on damaged files nor takes truncated ones, as GDCM does.
#include "dicom_header.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/oflog/oflog.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "child_process.hpp"
#include "dicom_child.hpp"
#include "dicom_ct_pd.hpp"
#include "dicom_groups.hpp"
#include "dicom_rle.hpp"
#include "postrec/sha256.hpp"

namespace postrec {

namespace {

static_assert(std::is_trivially_copyable_v<DicomHeader>);

void set_problem(DicomHeader& header, const char* text) {
  if (header.problem[0] == '\0') std::snprintf(header.problem, sizeof(header.problem), "%s", text);
}

template <std::size_t n>
void get_text(DcmItem& item, const DcmTagKey& tag, char (&out)[n]) {
  OFString value;
  if (item.findAndGetOFString(tag, value).good()) std::strncpy(out, value.c_str(), n - 1);
}

std::int64_t get_integer(DcmItem& item, const DcmTagKey& tag, std::int64_t otherwise) {
  Uint16 value = 0;
  return item.findAndGetUint16(tag, value).good() ? value : otherwise;
}

/// Whether a decimal string is one and nothing more. DCMTK takes the number that it begins with: 1 of "1,5".
bool is_decimal(const OFString& text) {
  const std::string value(text.c_str(), text.size());
  auto first = value.find_first_not_of(' ');
  const auto last = value.find_last_not_of(std::string(" \0", 2));
  if (first == std::string::npos || last == std::string::npos) return false;
  if (value[first] == '+' && value[++first] == '-') return false;
  double number = 0.0;
  const auto [end, error] = std::from_chars(value.data() + first, value.data() + last + 1, number);
  return error != std::errc::invalid_argument && end == value.data() + last + 1;
}

/// All n numbers of an element; false when it is absent or empty.
bool get_numbers(DcmItem& item, const DcmTagKey& tag, double* out, unsigned n, DicomHeader& header, const char* problem) {
  DcmElement* element = nullptr;
  if (item.findAndGetElement(tag, element).bad() || element == nullptr || element->getLength() == 0) return false;
  if (element->getVM() != n) set_problem(header, problem);
  OFString text;
  for (unsigned i = 0; i < n; ++i) {
    if (item.findAndGetFloat64(tag, out[i], i).bad() || !std::isfinite(out[i])) set_problem(header, problem);
    if (element->ident() == EVR_DS && (element->getOFString(text, i).bad() || !is_decimal(text))) set_problem(header, problem);
  }
  return true;
}

void read_geometry(DcmItem& item, DicomHeader& header) {
  header.has_position =
      get_numbers(item, DCM_ImagePositionPatient, header.position_mm, 3, header, "its ImagePositionPatient is not three finite numbers");
  header.has_orientation = get_numbers(item, DCM_ImageOrientationPatient, header.orientation, 6, header,
                                       "its ImageOrientationPatient is not six finite numbers");
  header.has_pixel_spacing =
      get_numbers(item, DCM_PixelSpacing, header.pixel_spacing_mm, 2, header, "its PixelSpacing is not two finite numbers");
  if (header.pixel_spacing_mm[0] <= 0.0 || header.pixel_spacing_mm[1] <= 0.0) set_problem(header, "its PixelSpacing is not above 0");
  double spacing = 0.0;
  for (const DcmTagKey& tag : {DCM_SliceThickness, DCM_SpacingBetweenSlices})
    if (get_numbers(item, tag, &spacing, 1, header, "its slice thickness or spacing is not a finite number") && spacing > 0.0)
      header.slice_spacing_mm = spacing;
}

void read_rescale(DcmItem& item, DicomHeader& header) {
  const char* problem = "its RescaleSlope or RescaleIntercept is not a finite number";
  const bool slope = get_numbers(item, DCM_RescaleSlope, &header.rescale_slope, 1, header, problem);
  const bool intercept = get_numbers(item, DCM_RescaleIntercept, &header.rescale_intercept, 1, header, problem);
  if (slope != intercept) set_problem(header, "it has only one of RescaleSlope and RescaleIntercept");
  if (header.rescale_slope == 0.0) set_problem(header, "its RescaleSlope is 0");
  header.has_rescale = slope && intercept;
  get_text(item, DCM_RescaleType, header.rescale_type);
}

void read_frame_count(DcmDataset& dataset, DicomHeader& header) {
  DcmElement* element = nullptr;
  OFString text;
  if (dataset.findAndGetElement(DCM_NumberOfFrames, element).bad() || element == nullptr || element->getLength() == 0) return;
  char* end = nullptr;
  if (element->getOFString(text, 0).good()) header.frames = std::strtoll(text.c_str(), &end, 10);
  while (end != nullptr && *end == ' ') ++end;
  if (element->getVM() != 1 || end == nullptr || end == text.c_str() || *end != '\0') set_problem(header, "its NumberOfFrames is not one whole number");
}

/// The first fragment of a compressed frame; `alone`: and the only one.
std::span<const std::uint8_t> first_fragment(DcmElement& pixels, bool alone) {
  auto* data = dynamic_cast<DcmPixelData*>(&pixels);
  if (data == nullptr) return {};
  E_TransferSyntax syntax = EXS_Unknown;
  const DcmRepresentationParameter* parameter = nullptr;
  DcmPixelSequence* sequence = nullptr;
  DcmPixelItem* fragment = nullptr;
  Uint8* bytes = nullptr;
  data->getOriginalRepresentationKey(syntax, parameter);
  if (data->getEncapsulatedRepresentation(syntax, parameter, sequence).bad() || sequence == nullptr || (alone && sequence->card() != 2)) return {};
  if (sequence->getItem(fragment, 1).bad() || fragment->getUint8Array(bytes).bad() || bytes == nullptr) return {};
  return {bytes, fragment->getLength()};
}

/// The bits of a sample that a JPEG frame header says; 0 without one.
int jpeg_precision(std::span<const std::uint8_t> jpeg) {
  for (std::size_t at = 2; at + 4 < jpeg.size() && jpeg[at] == 0xff; at += 2 + (std::size_t{jpeg[at + 2]} << 8 | jpeg[at + 3])) {
    const int marker = jpeg[at + 1];
    if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) return jpeg[at + 4];
  }
  return 0;
}

/// GDCM fills up what a damaged RLE frame lacks, and takes a JPEG of 12 bits for one of 8.
void check_compressed(DcmElement& pixels, E_TransferSyntax syntax, DicomHeader& header) {
  if (syntax == EXS_RLELossless) {
    const auto stripes = static_cast<std::size_t>(header.samples * header.bits_allocated / 8);
    const auto stripe_bytes = static_cast<std::size_t>(header.rows * header.columns);
    if (!is_whole_rle(first_fragment(pixels, true), stripes, stripe_bytes)) set_problem(header, "its RLE data are damaged or not one fragment");
  } else if (syntax == EXS_JPEGProcess1 || syntax == EXS_JPEGProcess2_4 || syntax == EXS_JPEGProcess14 || syntax == EXS_JPEGProcess14SV1) {
    if (jpeg_precision(first_fragment(pixels, false)) > header.bits_allocated) set_problem(header, "its JPEG data have more bits than its BitsAllocated");
  }
}

void read_pixel_layout(DcmDataset& dataset, DicomHeader& header) {
  header.rows = get_integer(dataset, DCM_Rows, 0);
  header.columns = get_integer(dataset, DCM_Columns, 0);
  header.samples = get_integer(dataset, DCM_SamplesPerPixel, 1);
  header.bits_allocated = get_integer(dataset, DCM_BitsAllocated, 0);
  header.bits_stored = get_integer(dataset, DCM_BitsStored, header.bits_allocated);
  header.high_bit = get_integer(dataset, DCM_HighBit, header.bits_stored - 1);
  if (get_integer(dataset, DCM_PixelRepresentation, 0) > 1) set_problem(header, "its PixelRepresentation is neither 0 nor 1");
  read_frame_count(dataset, header);
  header.compressed = DcmXfer(dataset.getOriginalXfer()).isEncapsulated();
  DcmElement* pixels = nullptr;
  if (dataset.findAndGetElement(DCM_PixelData, pixels).bad() || pixels == nullptr) return set_problem(header, "it has no PixelData");
  header.has_pixels = true;
  if (!header.compressed) header.pixel_bytes = pixels->getLength();
  else if (header.frames == 1) check_compressed(*pixels, dataset.getOriginalXfer(), header);
}

/// Writers do not agree whether the padding of signed pixels is US or SS; its 16 bits are the same. [PS3.3, C.7.5.1.1.2]
void read_padding(DcmDataset& dataset, DicomHeader& header) {
  const bool is_signed = get_integer(dataset, DCM_PixelRepresentation, 0) == 1;
  const auto stored = [&](const DcmTagKey& tag, std::int64_t& out) {
    Uint16 plain = 0;
    Sint16 with_sign = 0;
    if (dataset.findAndGetUint16(tag, plain).bad()) {
      if (dataset.findAndGetSint16(tag, with_sign).bad()) return false;
      plain = static_cast<Uint16>(with_sign);
    }
    out = is_signed ? static_cast<std::int64_t>(static_cast<Sint16>(plain)) : static_cast<std::int64_t>(plain);
    return true;
  };
  header.has_padding = stored(DCM_PixelPaddingValue, header.padding[0]);
  if (!stored(DCM_PixelPaddingRangeLimit, header.padding[1])) header.padding[1] = header.padding[0];
  if (header.padding[1] < header.padding[0]) std::swap(header.padding[0], header.padding[1]);
}

/// [PS3.3, C.8.2.1.1.1 and C.8.16.1.3]
bool says_localiser(DcmDataset& dataset) {
  OFString value;
  for (unsigned long i = 2; dataset.findAndGetOFString(DCM_ImageType, value, i).good(); ++i)
    if (value == "LOCALIZER") return true;
  return false;
}

/// The PatientID stays in the child.
void hash_patient(DcmItem& item, DicomHeader& header) {
  OFString id;
  if (item.findAndGetOFString(DCM_PatientID, id).good() && !id.empty())
    std::strncpy(header.patient_sha256, sha256_hex(id.data(), id.size()).c_str(), sizeof(header.patient_sha256) - 1);
}

void read_header(const std::filesystem::path& path, DicomHeader& header) {
  DcmFileFormat file;
  const OFCondition status = file.loadFile(path.c_str());
  DcmDataset& dataset = *file.getDataset();
  get_text(dataset, DCM_SeriesInstanceUID, header.series_uid);
  header.is_dicom = status.good() || dataset.card() > 0;
  if (status.bad()) return set_problem(header, "it is truncated or damaged");
  header.is_whole = true;
  get_text(dataset, DCM_SOPClassUID, header.sop_class);
  get_text(dataset, DCM_StudyInstanceUID, header.study_uid);
  get_text(dataset, DCM_FrameOfReferenceUID, header.frame_of_reference_uid);
  header.localiser = says_localiser(dataset);
  header.projection = holds_projection(dataset);
  get_text(dataset, DCM_SOPInstanceUID, header.sop_instance_uid);
  // Some anonymisers empty it and leave the copy in the file's meta header.
  if (header.sop_instance_uid[0] == '\0') get_text(*file.getMetaInfo(), DCM_MediaStorageSOPInstanceUID, header.sop_instance_uid);
  get_text(dataset, DCM_Modality, header.modality);
  hash_patient(dataset, header);
  OFString second;
  get_text(dataset, DCM_PhotometricInterpretation, header.photometric);
  if (dataset.findAndGetOFString(DCM_PhotometricInterpretation, second, 1).good()) set_problem(header, "it has two PhotometricInterpretations");
  header.enhanced = dataset.tagExists(DCM_PerFrameFunctionalGroupsSequence);
  get_text(dataset, DCM_ComplexImageComponent, header.component);
  if (header.component[0] == '\0' && dataset.findAndGetOFString(DCM_ImageType, second, 2).good()) std::strncpy(header.component, second.c_str(), sizeof(header.component) - 1);
  read_pixel_layout(dataset, header);
  read_padding(dataset, header);
  read_geometry(dataset, header);
  read_rescale(dataset, header);
}

void read_frame(DcmItem& dataset, DicomHeader& header) {
  for (const DcmTagKey& sequence : {DCM_PlanePositionSequence, DCM_PlaneOrientationSequence, DCM_PixelMeasuresSequence})
    if (DcmItem* item = group_item(dataset, header.frame, sequence)) {
      // Each holds one part of the geometry; what it lacks must not undo the others.
      DicomHeader part;
      read_geometry(*item, part);
      if (part.problem[0] != '\0') set_problem(header, part.problem);
      if (sequence == DCM_PlanePositionSequence && part.has_position) {
        header.has_position = true;
        std::copy(std::begin(part.position_mm), std::end(part.position_mm), header.position_mm);
      } else if (sequence == DCM_PlaneOrientationSequence && part.has_orientation) {
        header.has_orientation = true;
        std::copy(std::begin(part.orientation), std::end(part.orientation), header.orientation);
      } else if (sequence == DCM_PixelMeasuresSequence && part.has_pixel_spacing) {
        header.has_pixel_spacing = true;
        std::copy(std::begin(part.pixel_spacing_mm), std::end(part.pixel_spacing_mm), header.pixel_spacing_mm);
        header.slice_spacing_mm = part.slice_spacing_mm;
      }
    }
  if (DcmItem* item = group_item(dataset, header.frame, DCM_PixelValueTransformationSequence)) read_rescale(*item, header);
}

/// What a frame has of its file: all but geometry and rescale.
DicomHeader frame_of(const DicomHeader& whole, std::int64_t frame) {
  DicomHeader header = whole;
  header.frame = frame;
  header.frames = 1;
  header.pixel_bytes = whole.pixel_bytes / static_cast<std::uint64_t>(whole.frames);
  header.has_position = header.has_orientation = header.has_pixel_spacing = header.has_rescale = false;
  header.rescale_slope = 1.0;
  header.rescale_intercept = 0.0;
  header.rescale_type[0] = '\0';
  return header;
}

/// Marks what is wrong with the file as a whole in each of its frames.
void check_frames(const DicomHeader& whole, DicomHeader& header) {
  const auto bytes = static_cast<std::uint64_t>(whole.frames * whole.rows * whole.columns * whole.bits_allocated / 8);
  if (whole.compressed) set_problem(header, "its frames are compressed; only uncompressed multi-frame files are read");
  else if (std::strcmp(whole.photometric, "MONOCHROME2") != 0) set_problem(header, "only MONOCHROME2 is read of multi-frame files");
  else if (whole.bits_allocated != 8 && whole.bits_allocated != 16) set_problem(header, "only 8 and 16 bits are read of multi-frame files");
  else if (whole.pixel_bytes != bytes + bytes % 2) set_problem(header, "its PixelData is not as long as its frames need");
  else header.pixel_bytes = bytes / static_cast<std::uint64_t>(whole.frames) + (bytes / static_cast<std::uint64_t>(whole.frames)) % 2;  // as a file of its own
}

bool is_one_of(std::string_view sop_class, std::initializer_list<std::string_view> classes) { return std::find(classes.begin(), classes.end(), sop_class) != classes.end(); }

}  // namespace

std::string reason_to_leave_out(const DicomHeader& header) {
  if (is_one_of(header.sop_class, {UID_SecondaryCaptureImageStorage, UID_MultiframeSingleBitSecondaryCaptureImageStorage, UID_MultiframeGrayscaleByteSecondaryCaptureImageStorage,
                                   UID_MultiframeGrayscaleWordSecondaryCaptureImageStorage, UID_MultiframeTrueColorSecondaryCaptureImageStorage}))
    return "a secondary capture";
  if (is_one_of(header.sop_class, {UID_SegmentationStorage, UID_RTDoseStorage})) return "a segmentation or a dose map";
  if (!header.has_pixels) return "a DICOM object without an image";
  return header.localiser ? "a localiser" : "";
}

bool says_other_than_hu(const DicomHeader& header) { return header.rescale_type[0] != '\0' && std::strcmp(header.rescale_type, "HU") != 0; }

std::vector<DicomHeader> read_frame_headers(const std::filesystem::path& file, const DicomHeader& whole) {
  constexpr std::int64_t kMostFrames = 65536;
  if (whole.frames < 1 || whole.frames > kMostFrames || whole.problem[0] != '\0') return {whole};
  const auto n = static_cast<std::size_t>(whole.frames);
  const SharedMemory shared(n * sizeof(DicomHeader));
  auto* headers = static_cast<DicomHeader*>(shared.data());
  for (std::size_t i = 0; i < n; ++i) {
    headers[i] = frame_of(whole, static_cast<std::int64_t>(i) + 1);
    headers[i].was_read = false;
    check_frames(whole, headers[i]);
  }
  const ChildLimits limits{(std::uint64_t{512} << 20) + 4 * std::filesystem::file_size(file), static_cast<unsigned>(60 + n / 10)};
  const std::string death = run_in_child(
      [&] {
        ::unsetenv("DCMDICTPATH");
        OFLog::configure(OFLogger::OFF_LOG_LEVEL);
        DcmFileFormat content;
        if (content.loadFile(file.c_str()).bad()) return;
        for (std::size_t i = 0; i < n; ++i) {
          read_frame(*content.getDataset(), headers[i]);
          headers[i].was_read = true;
        }
      },
      limits);
  for (std::size_t i = 0; i < n; ++i)
    if (!headers[i].was_read) set_problem(headers[i], death.empty() ? "it is truncated or damaged" : ("the header reader died on it (" + death + ")").c_str());
  return {headers, headers + n};
}

std::vector<DicomHeader> read_dicom_headers(const std::vector<std::filesystem::path>& files) {
  std::uint64_t largest = 0;
  for (const auto& file : files) largest = std::max<std::uint64_t>(largest, std::filesystem::file_size(file));
  return read_each_in_child<DicomHeader>(files, (std::uint64_t{512} << 20) + 4 * largest, read_header, [](DicomHeader& header, const std::string& death) {
    header.is_dicom = true;
    set_problem(header, ("the header reader died on it (" + death + ")").c_str());
  });
}

}  // namespace postrec
