#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace postrec {

/// What a transfer needs to know of a DICOM file: whose UIDs, what kind, which encoding. Plain data, because a child process fills it in shared memory. UIDs are checked.
struct InstanceHeader {
  bool was_read = false;
  bool usable = false;  ///< whole, and all UIDs are UIDs
  char sop_class[65] = {};
  char sop_instance[65] = {};
  char series[65] = {};
  char study[65] = {};
  char transfer_syntax[65] = {};
};

/// Reads them with DCMTK in a child process with limited memory; a file that kills it is not usable.
std::vector<InstanceHeader> read_instance_headers(const std::vector<std::filesystem::path>& files);

/// The regular files with the DICM mark below a folder, sorted; symbolic links are not followed. Throws Error(kNoInput) when something cannot be read, without its name (names hold
/// patients' names).
std::vector<std::filesystem::path> dicom_files_below(const std::filesystem::path& folder);

/// SHA-256 of the data set of a DICOM file, without the file meta header, which tells who wrote the file and not what is in it. Throws Error(kNoInput, kBadData, kInputOutput).
std::string data_set_sha256(const std::filesystem::path& file);

/// Whether two DICOM files hold the same data set but for the times when it was made, since a run that is done again makes the same objects at another time, and of uncompressed ones
/// but for the encoding, which archives change at will. Read in a child process; false when that dies.
bool same_but_for_times(const std::filesystem::path& left, const std::filesystem::path& right);

}  // namespace postrec
