#pragma once

#include <filesystem>

namespace postrec {

/// The pair of files that a name with or without extension stands for.
struct CflFiles {
  std::filesystem::path cfl;
  std::filesystem::path hdr;
};
CflFiles cfl_files(const std::filesystem::path& path);

}  // namespace postrec
