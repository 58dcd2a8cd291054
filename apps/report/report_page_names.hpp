#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace postrec {

/// The name of an input as a report may show it: the file's name without its folder. Empty for DICOM, and for whatever is not known to be another format,
/// because there names of files and folders are often those of patients.
std::string reported_name(const std::filesystem::path& input);

/// A message as a report may show it: paths are cut to their last part, and `inputs` are called by their reported name, or "the input".
std::string without_paths(const std::string& text, const std::vector<std::filesystem::path>& inputs);

}  // namespace postrec
