// What a derived DICOM object keeps of its source and what it says of itself. The table of attributes is in data/README.md.
#include "derived_object.hpp"

#include <ATen/ATen.h>
#include <dcmtk/oflog/oflog.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <new>
#include <stdexcept>

#include "child_process.hpp"
#include "dicom_groups.hpp"
#include "dicom_uid.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxText = 64;           // VR LO
constexpr std::size_t kMaxDescription = 1024;  // VR ST
constexpr std::int64_t kMaxSeriesNumber = 2147483647;
constexpr const char* kManufacturer = "PostRec";

const DcmTagKey kKeptStudy[] = {DCM_SpecificCharacterSet,       DCM_TimezoneOffsetFromUTC,     DCM_StudyInstanceUID,
                                DCM_StudyDate,                  DCM_StudyTime,                 DCM_StudyID,
                                DCM_AccessionNumber,            DCM_IssuerOfAccessionNumberSequence, DCM_ReferringPhysicianName,
                                DCM_StudyDescription,           DCM_ProcedureCodeSequence,     DCM_ConsultingPhysicianName,
                                DCM_PhysiciansOfRecord,         DCM_NameOfPhysiciansReadingStudy, DCM_AdmittingDiagnosesDescription,
                                DCM_ReferencedStudySequence,    DCM_LongitudinalTemporalInformationModified};
const DcmTagKey kKeptPlace[] = {DCM_FrameOfReferenceUID, DCM_PositionReferenceIndicator, DCM_PatientPosition, DCM_BodyPartExamined};
const DcmTagKey kKeptAcquisition[] = {DCM_AcquisitionDate,
                                      DCM_AcquisitionTime,
                                      DCM_AcquisitionDateTime,
                                      DCM_AcquisitionNumber,
                                      DCM_ProtocolName,
                                      DCM_ContrastBolusAgent,
                                      DCM_ContrastBolusRoute,
                                      DCM_RecognizableVisualFeatures};
const DcmTagKey kKeptCompression[] = {DCM_LossyImageCompressionRatio, DCM_LossyImageCompressionMethod};
const DcmTagKey kScanner[] = {DCM_Manufacturer,          DCM_InstitutionName,      DCM_InstitutionAddress, DCM_StationName,
                              DCM_InstitutionalDepartmentName, DCM_ManufacturerModelName, DCM_DeviceSerialNumber, DCM_SoftwareVersions};

/// Parts of the body of which there is one, in the words of PS3.16, annex L. Of others a scan should say which one it shows.
const char* const kUnpairedParts[] = {"ABDOMEN", "ABDOMENPELVIS", "AORTA",  "BLADDER",  "BRAIN",     "CEREBELLUM",  "CHEST",   "CHESTABDOMEN", "CHESTABDPELVIS", "COCCYX",
                                      "COLON",   "CSPINE",        "CTSPINE", "DUODENUM", "ESOPHAGUS", "FACE",        "GALLBLADDER", "HEAD",     "HEADNECK",       "HEART",
                                      "JAW",     "JEJUNUM",       "LARYNX", "LIVER",    "LSPINE",    "LSSPINE",     "MAXILLA", "MEDIASTINUM",  "MOUTH",          "NECK",
                                      "NECKCHEST", "NOSE",        "PANCREAS", "PELVIS", "PENIS",     "PHARYNX",     "PROSTATE", "RECTUM",      "SKULL",          "SPINE",
                                      "SPLEEN",  "SSPINE",        "STERNUM", "STOMACH", "THYROID",   "TLSPINE",     "TONGUE",  "TRACHEA",      "TSPINE",         "UTERUS",
                                      "VAGINA",  "WHOLEBODY"};

std::string text_of(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  return item.findAndGetOFStringArray(tag, value).good() ? std::string(value.c_str()) : std::string();
}

void keep_one(DcmItem& source, DcmItem& target, const DcmTagKey& tag) { keep(source, target, {&tag, 1}); }

/// Patient, patient's study, clinical trial and de-identification: groups 0010 and 0012, but for what a trial calls the source's series.
bool is_of_patient(const DcmTagKey& tag) {
  const Uint16 group = tag.getGroup(), element = tag.getElement();
  const bool of_series = group == 0x0012 && element >= 0x0071 && element <= 0x0073;
  return (group == 0x0010 || group == 0x0012) && element != 0x0000 && !of_series;
}

void keep_patient(DcmItem& source, DcmItem& target) {
  for (unsigned long i = 0; i < source.card(); ++i) {
    const DcmElement* element = source.getElement(i);
    if (is_of_patient(element->getTag())) require_good(target.insert(static_cast<DcmElement*>(element->clone()), true));
  }
  require_elements(target, {DCM_PatientName, DCM_PatientID, DCM_PatientBirthDate, DCM_PatientSex});
}

void keep_study(DcmItem& source, DcmItem& target, const DicomSource& series) {
  keep(source, target, kKeptStudy);
  require_elements(target, {DCM_StudyDate, DCM_StudyTime, DCM_StudyID, DCM_AccessionNumber, DCM_ReferringPhysicianName});
  // A source that was stripped of it gets one study for all that is derived from it.
  if (!valid_uid(text_of(target, DCM_StudyInstanceUID))) put_text(target, DCM_StudyInstanceUID, derived_uid("study of " + series.identity));
}

std::string side_of(SourceHeader& source) {
  DcmItem& anatomy = source.part(DCM_FrameAnatomySequence);
  const std::string side = text_of(anatomy, DCM_FrameLaterality);
  return side.empty() ? text_of(anatomy, DCM_ImageLaterality) : side;
}

/// Which side of the body it is must not get lost: of the series, the image or the frame. A map may hold images of both.
void keep_laterality(std::vector<SourceHeader>& sources, DcmItem& target) {
  DcmDataset& first = sources.front().dataset();
  std::string side;
  for (auto& source : sources)
    if (const std::string other = side_of(source); !other.empty()) side = side.empty() || side == other ? other : "B";
  if (!side.empty()) put_text(target, DCM_ImageLaterality, side);
  if (!text_of(first, DCM_Laterality).empty()) keep_one(first, target, DCM_Laterality);
  const std::string part = text_of(first, DCM_BodyPartExamined);
  const bool unpaired = std::find(std::begin(kUnpairedParts), std::end(kUnpairedParts), part) != std::end(kUnpairedParts);
  if (!unpaired && side.empty()) require_elements(target, {DCM_Laterality});
}

void keep_place(std::vector<SourceHeader>& sources, DcmItem& target, const DicomSource& series) {
  keep(sources.front().dataset(), target, kKeptPlace);
  keep_one(sources.front().part(DCM_FrameAnatomySequence), target, DCM_AnatomicRegionSequence);
  if (!valid_uid(text_of(target, DCM_FrameOfReferenceUID))) put_text(target, DCM_FrameOfReferenceUID, derived_uid("frame of reference of " + series.identity));
  require_elements(target, {DCM_PositionReferenceIndicator, DCM_PatientPosition});
  keep_laterality(sources, target);
}

/// An enhanced source has its agents as codes, for which a single-frame image has one text.
void keep_contrast(DcmItem& source, DcmItem& target) {
  DcmItem* agent = nullptr;
  std::string meanings;
  for (long i = 0; source.findAndGetSequenceItem(DCM_ContrastBolusAgentSequence, agent, i).good(); ++i) {
    const std::string meaning = text_of(*agent, DCM_CodeMeaning), more = meanings.empty() || meaning.empty() ? meaning : ", " + meaning;
    if (meanings.size() + more.size() <= kMaxText) meanings += more;
  }
  if (source.tagExistsWithValue(DCM_ContrastBolusAgentSequence)) put_text_if_empty(target, DCM_ContrastBolusAgent, meanings);
}

void put_equipment(DcmItem& target, const Derivation& derivation) {
  put_text(target, DCM_Manufacturer, kManufacturer);
  put_text(target, DCM_ManufacturerModelName, "postrec");
  put_text(target, DCM_SoftwareVersions, derivation.software_version + "\\" + derivation.model_sha256);
}

/// Those who had a hand in the source, then its scanner, then us.
void put_contributing_equipment(DcmItem& source, DcmItem& target, const Derivation& derivation, const std::string& date_time) {
  keep_one(source, target, DCM_ContributingEquipmentSequence);
  DcmItem* scanner = nullptr;
  require_good(target.findOrCreateSequenceItem(DCM_ContributingEquipmentSequence, scanner, -2));
  put_code(*scanner, DCM_PurposeOfReferenceCodeSequence, {"109101", "DCM", "Acquisition Equipment"});
  keep(source, *scanner, kScanner);
  if (text_of(*scanner, DCM_Manufacturer).empty()) put_text(*scanner, DCM_Manufacturer, "unknown");
  DcmItem* us = nullptr;
  require_good(target.findOrCreateSequenceItem(DCM_ContributingEquipmentSequence, us, -2));
  put_code(*us, DCM_PurposeOfReferenceCodeSequence, {"109102", "DCM", "Processing Equipment"});
  put_equipment(*us, derivation);
  put_text(*us, DCM_ContributionDateTime, date_time);
  put_text(*us, DCM_ContributionDescription, "Posterior sampling reconstruction, research use only");
}

struct DateAndTime {
  std::string date, time;
};

/// A time at the offset from UTC that the source's times have, else at this machine's.
DateAndTime local_time(std::time_t now, DcmItem& source) {
  const std::string offset = text_of(source, DCM_TimezoneOffsetFromUTC);
  std::tm parts{};
  int hours = 0, minutes = 0;
  char sign = 0;
  if (std::sscanf(offset.c_str(), "%c%2d%2d", &sign, &hours, &minutes) == 3 && (sign == '+' || sign == '-')) {
    now += (sign == '+' ? 60 : -60) * (60 * hours + minutes);
    gmtime_r(&now, &parts);
  } else {
    localtime_r(&now, &parts);
  }
  char date[16], time[16];
  std::strftime(date, sizeof date, "%Y%m%d", &parts);
  std::strftime(time, sizeof time, "%H%M%S", &parts);
  return {date, time};
}

/// 0 when the source has none, or one that VR IS, of 32 bits, does not allow.
std::int64_t series_number(DcmItem& source) {
  const std::int64_t number = std::strtol(text_of(source, DCM_SeriesNumber).c_str(), nullptr, 10);
  return number >= 0 && number <= kMaxSeriesNumber ? number : 0;
}

void put_series(DcmItem& source, DcmItem& target, const DerivedSeries& series, const DateAndTime& now) {
  put_text(target, DCM_Modality, series.source->modality);
  put_text(target, DCM_SeriesInstanceUID, series.uid);
  put_text(target, DCM_SeriesDescription, series.description());
  put_text(target, DCM_SeriesDate, now.date);
  put_text(target, DCM_SeriesTime, now.time);
  put_text(target, DCM_SeriesNumber, std::to_string(std::min(series_number(source) * 100 + series.volume->number, kMaxSeriesNumber)));
}

bool says(SourceHeader& source, const DcmTagKey& tag, const std::string& value) { return text_of(source.dataset(), tag) == value; }

/// What DICOM calls the lossy compression of a transfer syntax; empty of others. JPEG 2000 may have been lossless under this one. [PS3.3, C.7.6.1.1.5.1]
std::string lossy_method(E_TransferSyntax syntax) {
  switch (syntax) {
    case EXS_JPEGProcess1:
    case EXS_JPEGProcess2_4:
      return "ISO_10918_1";
    case EXS_JPEGLSLossy:
      return "ISO_14495_1";
    case EXS_JPEG2000:
      return "ISO_15444_1";
    default:
      return {};
  }
}

bool was_lossy(SourceHeader& source) {
  const E_TransferSyntax syntax = source.dataset().getOriginalXfer();
  return says(source, DCM_LossyImageCompression, "01") || (syntax != EXS_JPEG2000 && !lossy_method(syntax).empty());
}

std::uint64_t written_bytes(DcmFileFormat& file) {
  return file.getMetaInfo()->calcElementLength(EXS_LittleEndianExplicit, EET_ExplicitLength) +  // with the preamble
         file.getDataset()->calcElementLength(EXS_LittleEndianExplicit, EET_ExplicitLength);
}

/// About: what the header does not take of a file is its pixels.
std::string compression_ratio(SourceHeader& source) {
  Uint16 rows = 0, columns = 0, bits = 0;
  for (const auto& [tag, value] : {std::pair{DCM_Rows, &rows}, {DCM_Columns, &columns}, {DCM_BitsAllocated, &bits}}) require_good(source.dataset().findAndGetUint16(tag, *value));
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", rows * columns * (bits / 8.0) / static_cast<double>(source.file_bytes - written_bytes(*source.file)));
  return text;
}

/// How the source was compressed: in its own words, else as its file is.
void put_compression(SourceHeader& source, DcmItem& target) {
  put_text(target, DCM_LossyImageCompression, "01");
  keep(source.dataset(), target, kKeptCompression);
  const std::string method = lossy_method(source.dataset().getOriginalXfer());
  if (method.empty()) return;
  put_text_if_empty(target, DCM_LossyImageCompressionMethod, method);
  put_text_if_empty(target, DCM_LossyImageCompressionRatio, compression_ratio(source));
}

/// Burned-in text and lossy compression: one source is enough for the bad news, the good news takes all.
void put_past_of_sources(DcmItem& target, std::vector<SourceHeader>& sources) {
  const auto all_say = [&](const DcmTagKey& tag, const char* value) {
    return std::all_of(sources.begin(), sources.end(), [&](SourceHeader& source) { return says(source, tag, value); });
  };
  const auto burned = [](SourceHeader& source) { return says(source, DCM_BurnedInAnnotation, "YES"); };
  if (std::any_of(sources.begin(), sources.end(), burned)) put_text(target, DCM_BurnedInAnnotation, "YES");
  else if (all_say(DCM_BurnedInAnnotation, "NO")) put_text(target, DCM_BurnedInAnnotation, "NO");
  const auto lossy = std::find_if(sources.begin(), sources.end(), was_lossy);
  if (lossy != sources.end()) put_compression(*lossy, target);
  else if (all_say(DCM_LossyImageCompression, "00")) put_text(target, DCM_LossyImageCompression, "00");
}

/// A measurement comes from no image, and of a simulated one that is not the source nothing is known.
void put_past(DcmItem& target, const Derivation& derivation, std::vector<SourceHeader>& sources) {
  if (derivation.from_source) return put_past_of_sources(target, sources);
  if (derivation.simulated) return;
  put_text(target, DCM_BurnedInAnnotation, "NO");
  put_text(target, DCM_LossyImageCompression, "00");
}

void put_history(DcmItem& target, const DerivedSeries& series, std::vector<SourceHeader>& sources) {
  put_text(target, DCM_DerivationDescription, series.derivation->description.substr(0, kMaxDescription));
  put_code(target, DCM_DerivationCodeSequence, kIterativeReconstruction);
  put_past(target, *series.derivation, sources);
  put_text(target, DCM_ContentQualification, "RESEARCH");
}

/// What a child process comes to, in the order in which it comes to it.
enum Stage : int { kStarted, kSourcesRead, kBuilt, kSaved, kChecked };

void save(DcmFileFormat& file, const fs::path& path) {
  require_good(file.validateMetaInfo(EXS_LittleEndianExplicit));
  DcmMetaInfo& meta = *file.getMetaInfo();
  put_text(meta, DCM_ImplementationClassUID, derived_uid("implementation"));
  put_text(meta, DCM_ImplementationVersionName, "POSTREC");
  require_good(meta.computeGroupLengthAndPadding(EGL_recalcGL, EPD_withoutPadding, EXS_LittleEndianExplicit, EET_ExplicitLength));
  require_good(file.saveFile(path.c_str(), EXS_LittleEndianExplicit, EET_ExplicitLength, EGL_noChange, EPD_withoutPadding, 0, 0, EWM_dontUpdateMeta));
}

/// DCMTK reads float pixels into another class than it writes them from, which its comparison takes for a difference.
bool same_floats(DcmItem& a, DcmItem& b) {
  const Float32 *left = nullptr, *right = nullptr;
  unsigned long n_left = 0, n_right = 0;
  return a.findAndGetFloat32Array(DCM_FloatPixelData, left, &n_left).good() && b.findAndGetFloat32Array(DCM_FloatPixelData, right, &n_right).good() && n_left == n_right &&
         std::memcmp(left, right, n_left * sizeof(Float32)) == 0;
}

bool same_content(DcmDataset& a, DcmDataset& b) {
  if (a.card() != b.card()) return false;
  for (unsigned long i = 0; i < a.card(); ++i) {
    const DcmElement &left = *a.getElement(i), &right = *b.getElement(i);
    if (left.getTag() != right.getTag()) return false;
    if (left.getTag() == DCM_FloatPixelData ? !same_floats(a, b) : left.compare(right) != 0) return false;
  }
  return true;
}

void check(DcmFileFormat& file, const fs::path& path) {
  DcmFileFormat again;
  require_good(again.loadFile(path.c_str()));
  require_good(again.loadAllDataIntoMemory());
  if (fs::file_size(path) != written_bytes(file)) throw std::runtime_error("length");
  if (!same_content(*file.getDataset(), *again.getDataset())) throw std::runtime_error("content");
}

/// False when one cannot be read. Frames share their file, so that memory does not grow with the square of their number.
bool load_sources(const DicomSource& series, const std::vector<std::int64_t>& slices, std::vector<SourceHeader>& sources) {
  std::map<fs::path, SourceHeader> loaded;
  for (const auto slice : slices) {
    const auto i = static_cast<std::size_t>(slice);
    const auto [header, is_new] = loaded.try_emplace(series.files[i]);
    if (is_new && !load_source_header(header->first, header->second)) return false;
    sources.push_back(header->second);
    sources.back().frame = series.frames[i];
  }
  return true;
}

/// DCMTK says with a status that it has no memory.
bool is_good(const OFCondition& status) {
  if (status == EC_MemoryExhausted) throw std::bad_alloc();
  return status.good();
}

}  // namespace

void require_good(const OFCondition& status) {
  if (!is_good(status)) throw std::runtime_error(status.text());
}

void keep(DcmItem& source, DcmItem& target, std::span<const DcmTagKey> tags) {
  for (const auto& tag : tags) {
    DcmElement* element = nullptr;
    if (source.findAndGetElement(tag, element).good() && element != nullptr) require_good(target.insert(static_cast<DcmElement*>(element->clone()), true));
  }
}

void require_elements(DcmItem& target, std::initializer_list<DcmTagKey> tags) {
  for (const auto& tag : tags)
    if (!target.tagExists(tag)) require_good(target.insertEmptyElement(tag));
}

bool load_source_header(const fs::path& path, SourceHeader& header) {
  header.file = std::make_shared<DcmFileFormat>();
  DcmFileFormat& file = *header.file;
  if (!is_good(file.loadFileUntilTag(path.c_str(), EXS_Unknown, EGL_noChange, DCM_MaxReadLength, ERM_autoDetect, DCM_PixelData))) return false;
  if (!is_good(file.loadAllDataIntoMemory())) return false;
  header.file_bytes = fs::file_size(path);
  header.sop_class = text_of(*file.getDataset(), DCM_SOPClassUID);
  header.sop_instance = text_of(*file.getDataset(), DCM_SOPInstanceUID);
  if (!valid_uid(header.sop_class)) header.sop_class = text_of(*file.getMetaInfo(), DCM_MediaStorageSOPClassUID);
  if (!valid_uid(header.sop_instance)) header.sop_instance = text_of(*file.getMetaInfo(), DCM_MediaStorageSOPInstanceUID);
  if (!valid_uid(header.sop_class) || !valid_uid(header.sop_instance)) header.sop_class = header.sop_instance = {};
  return true;
}

DcmItem& SourceHeader::part(const DcmTagKey& group) {
  DcmItem* item = frame > 0 ? group_item(dataset(), frame, group) : nullptr;
  return item != nullptr ? *item : dataset();
}

std::string DerivedSeries::instance_uid(std::int64_t instance) const { return derived_uid("instance " + std::to_string(instance) + " of " + uid); }

std::string DerivedSeries::description() const {
  const std::string warning = std::string(derivation->simulated ? ", SIMULATED" : "") + ", research use only";
  const std::size_t room = kMaxText - warning.size();
  return (volume->title.size() <= room ? volume->title : volume->title.substr(0, room - 3) + "...") + warning;
}

DicomCode DerivedSeries::unit() const {
  if (volume->quantity != DerivedQuantity::kProbability && source->modality == "CT") return {"[hnsf'U]", "UCUM", "Hounsfield unit"};
  return {"1", "UCUM", "no units"};
}

DicomCode DerivedSeries::quantity() const {
  switch (volume->quantity) {
    case DerivedQuantity::kStandardDeviation:
      return {"113061", "DCM", "Standard Deviation"};
    case DerivedQuantity::kProbability:
      return {"122157", "DCM", "Probability"};
    default:
      return {"", "", ""};
  }
}

DerivedSeries make_derived_series(const DicomSource& source, const DerivedVolume& volume, const Derivation& derivation, const char* kind) {
  const at::Tensor pixels = volume.pixels.detach().to(at::kCPU, at::kFloat).contiguous();
  for (std::int64_t slice = 0; slice < pixels.size(0); ++slice)
    if (!at::isfinite(pixels[slice]).all().item<bool>())
      throw Error(ErrorKind::kNumerical, "the " + volume.title + " has values that are not finite", "look at what made it");
  // What an object says of itself must be in it, or one UID could stand for two objects.
  std::string name = "series ";
  name.append(kind).append("\n" + source.identity + "\n" + std::to_string(volume.number) + " " + volume.title + "\n" + derivation.run + "\n");
  name.append(derivation.simulated ? "simulated" : "measured").append(derivation.from_source ? " from the source\n" : "\n");
  for (const auto slice : volume.source_slices) name += std::to_string(slice) + " ";
  name += sha256_hex(pixels.data_ptr(), static_cast<std::size_t>(pixels.numel()) * sizeof(float));
  return {&source, &volume, &derivation, derived_uid(name), std::time(nullptr)};
}

void put_text(DcmItem& item, const DcmTagKey& tag, const std::string& value) { require_good(item.putAndInsertString(tag, value.c_str())); }

void put_text_if_empty(DcmItem& item, const DcmTagKey& tag, const std::string& value) {
  if (!item.tagExistsWithValue(tag)) put_text(item, tag, value);
}

void put_code(DcmItem& item, const DcmTagKey& sequence, const DicomCode& code) {
  DcmItem* inner = nullptr;
  require_good(item.findOrCreateSequenceItem(sequence, inner, 0));
  put_text(*inner, DCM_CodeValue, code.value);
  put_text(*inner, DCM_CodingSchemeDesignator, code.scheme);
  put_text(*inner, DCM_CodeMeaning, code.meaning);
}

void put_source_references(DcmItem& target, const DcmTagKey& sequence, std::vector<SourceHeader>& sources) {
  for (const auto& source : sources) {
    if (source.sop_instance.empty()) continue;
    DcmItem* item = nullptr;
    require_good(target.findOrCreateSequenceItem(sequence, item, -2));
    put_text(*item, DCM_ReferencedSOPClassUID, source.sop_class);
    put_text(*item, DCM_ReferencedSOPInstanceUID, source.sop_instance);
    if (source.frame > 0) put_text(*item, DCM_ReferencedFrameNumber, std::to_string(source.frame));
    if (sequence != DCM_SourceImageSequence) continue;
    put_code(*item, DCM_PurposeOfReferenceCodeSequence, kSourceImage);
    put_text(*item, DCM_SpatialLocationsPreserved, "YES");
  }
}

void put_derived_header(DcmDataset& target, const DerivedSeries& series, std::vector<SourceHeader>& sources, const std::string& sop_class, std::int64_t instance) {
  DcmDataset& first = sources.front().dataset();
  const DateAndTime now = local_time(series.made_at, first);
  keep_patient(first, target);
  keep_study(first, target, *series.source);
  keep_place(sources, target, *series.source);
  keep(first, target, kKeptAcquisition);
  keep_contrast(first, target);
  put_equipment(target, *series.derivation);
  put_contributing_equipment(first, target, *series.derivation, now.date + now.time);
  put_series(first, target, series, now);
  put_history(target, series, sources);
  put_text(target, DCM_SOPClassUID, sop_class);
  put_text(target, DCM_SOPInstanceUID, series.instance_uid(instance));
  put_text(target, DCM_InstanceNumber, std::to_string(instance));
  for (const auto& tag : {DCM_ContentDate, DCM_InstanceCreationDate}) put_text(target, tag, now.date);
  for (const auto& tag : {DCM_ContentTime, DCM_InstanceCreationTime}) put_text(target, tag, now.time);
}

std::string decimals(const std::vector<double>& values) {
  constexpr int kMaxDigits = 16;
  std::string all;
  for (const double value : values) {
    char text[40];
    int digits = kMaxDigits;
    do std::snprintf(text, sizeof text, "%.*g", digits--, value);
    while (std::string_view(text).size() > 16);
    if (!all.empty()) all += '\\';
    all += text;
  }
  return all;
}

std::string position_of(const ImageGeometry& g, std::int64_t slice) {
  std::vector<double> position(g.origin_mm.begin(), g.origin_mm.end());
  for (int i = 0; i < 3; ++i) position[i] += g.direction[3 * i + 2] * g.spacing_mm[2] * static_cast<double>(slice);
  return decimals(position);
}

std::string orientation_of(const ImageGeometry& g) {
  return decimals({g.direction[0], g.direction[3], g.direction[6], g.direction[1], g.direction[4], g.direction[7]});
}

std::string pixel_spacing_of(const ImageGeometry& g) { return decimals({g.spacing_mm[1], g.spacing_mm[0]}); }

std::string slice_spacing_of(const DerivedSeries& series, SourceHeader& source) {
  if (series.source->files.size() == 1) return text_of(source.part(DCM_PixelMeasuresSequence), DCM_SpacingBetweenSlices);
  const auto& slices = series.volume->source_slices;
  const std::int64_t step = slices.size() > 1 ? slices[1] - slices[0] : 1;
  for (std::size_t i = 1; i < slices.size(); ++i)
    if (slices[i] - slices[i - 1] != step) return {};
  return decimals({static_cast<double>(step) * series.source->geometry.spacing_mm[2]});
}

std::string slice_thickness_of(SourceHeader& source) { return text_of(source.part(DCM_PixelMeasuresSequence), DCM_SliceThickness); }

void write_derived_object(const fs::path& path, const DerivedSeries& series, const std::vector<std::int64_t>& source_slices,
                          const std::function<void(DcmDataset&, std::vector<SourceHeader>&)>& build) {
  const SharedMemory shared(sizeof(int));
  auto& stage = *static_cast<int*>(shared.data());
  const auto pixel_bytes = static_cast<std::uint64_t>(series.volume->pixels.numel()) * sizeof(float);
  const ChildLimits limits{(std::uint64_t{1} << 30) + 8 * pixel_bytes, static_cast<unsigned>(60 + source_slices.size() / 10)};
  write_atomically(path, [&](const fs::path& temporary) {
    stage = kStarted;
    const std::string death = run_in_child(
        [&] {
          ::unsetenv("DCMDICTPATH");
          OFLog::configure(OFLogger::OFF_LOG_LEVEL);
          std::vector<SourceHeader> sources;
          if (!load_sources(*series.source, source_slices, sources)) return;
          stage = kSourcesRead;
          DcmFileFormat file;
          build(*file.getDataset(), sources);
          stage = kBuilt;
          save(file, temporary);
          stage = kSaved;
          check(file, temporary);
          stage = kChecked;
        },
        limits);
    if (death == "out of memory")
      throw Error(ErrorKind::kOutOfMemory, "there is not enough memory to make the DICOM object " + quoted_path(temporary) + " with the headers of its source",
                  "reconstruct fewer slices at once, or write an image series instead of a map");
    const std::string how = death.empty() || death == "an exception" ? "" : " (" + death + ")";
    switch (stage) {
      case kChecked:
        return;
      case kStarted:
        throw Error(ErrorKind::kNoInput, "the DICOM source of " + quoted_path(temporary) + " cannot be read again" + how, "leave the source in its place during the run");
      case kSourcesRead:
        throw Error(ErrorKind::kInternal, "the DICOM object " + quoted_path(temporary) + " cannot be made from its source" + how);
      case kBuilt:
        throw Error(ErrorKind::kInputOutput, quoted_path(temporary) + " cannot be written" + how, "check the free space");
      default:
        throw Error(ErrorKind::kInputOutput, quoted_path(temporary) + " does not read back as it was written" + how, "check the free space and the disk");
    }
  });
}

}  // namespace postrec
