#pragma once

#include <filesystem>
#include <string>

#include "postrec/data/scan.hpp"

namespace postrec {

/// The last name of a path, also of a folder given as "scan/".
std::string name_of_scan(const std::filesystem::path& path);

/// Whose scan a file is, by its name: of BIDS names the part "sub-XX", else what stands before the first "_study", "_session", "_ses", "_T1", "_T2", "_FLAIR",
/// "_PD", "_DWI" or "_run" (in any case), else the name without its extension. "patient01_study2_T1W.nii.gz" -> "patient01".
std::string subject_of_name(const std::filesystem::path& path);

/// Whose scan this is: a hash of the PatientID where DICOM has one, else by the name of its file. To tell persons apart in memory; never to be shown or kept.
std::string subject_of(const Scan& scan, const std::filesystem::path& path);

}  // namespace postrec
