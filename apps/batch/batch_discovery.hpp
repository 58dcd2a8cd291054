#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace postrec {

/// One input that `postrec reconstruct` can read, before it has an id.
struct FoundCase {
  std::filesystem::path path;                  ///< relative to BatchInput::root (absolute where a list says so); "." is the root itself
  std::string label;                           ///< a name that may be shown: that of BIDS, or the one that a list gives; empty: none
  std::string participant;                     ///< BIDS label without "sub-"; empty outside of BIDS
  std::string series_uid{};                    ///< of a DICOM series, which may lie in several folders and share them with others: `path` is that of its first file
  std::vector<std::filesystem::path> files{};  ///< of a DICOM series, as `path` is, markers of receptions last; otherwise empty: files_of_case knows them
};

/// Which series in the folder of a postrec pacs listen are taken.
enum class Receptions {
  kComplete,                                   ///< those with a marker that fits; it is a file of the case, so that a series that grows later is not what was planned
  kAll,
};

/// Which DICOM series are cases; the others are counted among what was skipped.
enum class DicomKind {
  kAll,
  kImages,                                     ///< what --simulate measures
  kProjections,                                ///< DICOM-CT-PD: what is reconstructed without it
};

struct DiscoveryOptions {
  Receptions receptions = Receptions::kComplete;
  DicomKind kind = DicomKind::kAll;
};

/// What an input folder or list holds.
struct BatchInput {
  std::filesystem::path root;                  ///< absolute
  std::vector<FoundCase> cases;                ///< in the order of their paths
  std::map<std::string, std::int64_t> skipped; ///< reason -> how many files or folders
};

/// Finds the cases of `input`, which is
///   a measurement folder (it holds measurement.json): one case;
///   a BIDS tree (it holds sub-*): each sub-X/[ses-Y/]anat/*.nii.gz and *.nii, masks and label maps apart;
///   another folder: below it every measurement folder, every DICOM series (sort_dicom_files), and every .cfl, .h5, .hdf5, .mrd, .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd file;
///   a list (.txt, .csv, .tsv): one path a line, or a table whose first line names the columns: `path`, and if there is one `case`.
/// Only reads. Symbolic links to folders are not followed, but for those of a BIDS tree. A series that a listener has not marked as complete is left out by its name, which is a digest. Throws Error: kNoInput (missing, or without any case), kBadData (a list that cannot be right).
BatchInput find_cases(const std::filesystem::path& input, const DiscoveryOptions& options = {});

/// The files whose content a case depends on, relative to it as `path` is: the file (with its .hdr, or with the data of a detached header), or the files of the folder, hidden ones apart that its measurement.json does not name (a desktop leaves some there).
std::vector<std::filesystem::path> files_of_case(const std::filesystem::path& root, const std::filesystem::path& path);

/// The ending, in small letters, by which a file is a scan or a measurement; "" if it is none.
std::string scan_ending(const std::filesystem::path& file);

}  // namespace postrec
