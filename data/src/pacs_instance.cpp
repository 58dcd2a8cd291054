#include "pacs_instance.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcostrmb.h>
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "dicom_child.hpp"
#include "dicom_scan.hpp"
#include "dicom_uid.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "postrec/sha256.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

bool get_uid(DcmItem& item, const DcmTagKey& tag, char (&out)[65]) {
  OFString value;
  if (item.findAndGetOFString(tag, value).bad() || !valid_uid(value.c_str())) return false;
  std::strncpy(out, value.c_str(), sizeof(out) - 1);
  return true;
}

void read_header(const fs::path& path, InstanceHeader& header) {
  DcmFileFormat file;
  // Values above 4 kB stay in the file, but their lengths are followed to its end.
  if (file.loadFile(path.c_str()).bad()) return;
  DcmDataset& dataset = *file.getDataset();
  header.usable = get_uid(dataset, DCM_SOPClassUID, header.sop_class) && get_uid(dataset, DCM_SOPInstanceUID, header.sop_instance) &&
                  get_uid(dataset, DCM_SeriesInstanceUID, header.series) && get_uid(dataset, DCM_StudyInstanceUID, header.study) &&
                  get_uid(*file.getMetaInfo(), DCM_TransferSyntaxUID, header.transfer_syntax);
}

/// False when the file cannot be read whole.
bool load_without_times(const fs::path& path, DcmFileFormat& file) {
  if (file.loadFile(path.c_str()).bad() || file.loadAllDataIntoMemory().bad()) return false;
  DcmDataset& dataset = *file.getDataset();
  for (const DcmTagKey& tag : {DCM_InstanceCreationDate, DCM_InstanceCreationTime, DCM_SeriesDate, DCM_SeriesTime, DCM_ContentDate, DCM_ContentTime})
    dataset.findAndDeleteElement(tag);
  DcmItem* equipment = nullptr;
  for (long i = 0; dataset.findAndGetSequenceItem(DCM_ContributingEquipmentSequence, equipment, i).good(); ++i) equipment->findAndDeleteElement(DCM_ContributionDateTime);
  return true;
}

/// The data set in implicit VR, in which private elements are the same bytes whether their VR is known or not; empty when that fails.
std::string implicit_bytes(DcmDataset& dataset) {
  constexpr E_TransferSyntax kSyntax = EXS_LittleEndianImplicit;
  dataset.computeGroupLengthAndPadding(EGL_withoutGL, EPD_withoutPadding, kSyntax, EET_ExplicitLength);
  std::string bytes(dataset.calcElementLength(kSyntax, EET_ExplicitLength), '\0');
  DcmOutputBufferStream stream(bytes.data(), static_cast<offile_off_t>(bytes.size()));
  dataset.transferInit();
  const bool good = dataset.write(stream, kSyntax, EET_ExplicitLength, nullptr).good();
  dataset.transferEnd();
  return good ? bytes : "";
}

bool same_values(DcmDataset& left, DcmDataset& right) {
  const E_TransferSyntax a = left.getOriginalXfer(), b = right.getOriginalXfer();
  const bool native = !DcmXfer(a).isEncapsulated() && !DcmXfer(b).isEncapsulated();
  if (a != b && !native) return false;
  if (left.compare(right) == 0) return true;
  const std::string bytes = native ? implicit_bytes(left) : "";
  return !bytes.empty() && bytes == implicit_bytes(right);
}

bool same_data_set(const fs::path& left, const fs::path& right) {
  ::unsetenv("DCMDICTPATH");
  OFLog::configure(OFLogger::OFF_LOG_LEVEL);
  DcmFileFormat a, b;
  return load_without_times(left, a) && load_without_times(right, b) && same_values(*a.getDataset(), *b.getDataset());
}

}  // namespace

std::vector<InstanceHeader> read_instance_headers(const std::vector<fs::path>& files) {
  if (files.empty()) return {};
  return read_each_in_child<InstanceHeader>(files, std::uint64_t{512} << 20, read_header, [](InstanceHeader&, const std::string&) {});
}

std::vector<fs::path> dicom_files_below(const fs::path& folder) {
  std::error_code failure;
  if (!fs::is_directory(folder, failure)) throw Error(ErrorKind::kNoInput, quoted_path(folder) + " is not a folder", "give the folder that holds the DICOM files");
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure))
    if (!entry->is_symlink() && entry->is_regular_file() && entry->path().filename() != "DICOMDIR") files.push_back(entry->path());
  if (failure) throw Error(ErrorKind::kNoInput, "a folder below " + quoted_path(folder) + " cannot be read: " + failure.message(), "check its permissions");
  std::sort(files.begin(), files.end());
  for (std::size_t i = 0; i < files.size(); ++i)
    if (::access(files[i].c_str(), R_OK) != 0)
      throw Error(ErrorKind::kNoInput, "file number " + std::to_string(i + 1) + " below " + quoted_path(folder) + " cannot be opened", "check its permissions");
  files.erase(std::remove_if(files.begin(), files.end(), [](const fs::path& file) { return !has_dicom_mark(file); }), files.end());
  return files;
}

std::string data_set_sha256(const fs::path& path) {
  constexpr std::size_t kMetaLength = 140, kMetaStart = 144;  // value of (0002,0000) behind preamble, mark and its own tag, VR and length
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorKind::kNoInput, "a received instance cannot be opened again");
  char head[kMetaStart] = {};
  std::uint32_t meta = 0;
  if (file.read(head, sizeof head)) std::memcpy(&meta, head + kMetaLength, sizeof meta);
  if (!file || fs::file_size(path) < kMetaStart + meta) throw Error(ErrorKind::kBadData, "a received instance has no file meta header");
  return sha256_file(path, kMetaStart + meta);
}

bool same_but_for_times(const fs::path& left, const fs::path& right) {
  const SharedMemory shared(sizeof(bool));
  auto& same = *static_cast<bool*>(shared.data());
  const ChildLimits limits{(std::uint64_t{512} << 20) + 4 * (fs::file_size(left) + fs::file_size(right))};
  run_in_child([&] { same = same_data_set(left, right); }, limits);
  return same;
}

}  // namespace postrec
