#include "input_file.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "postrec/error.hpp"

namespace postrec {

namespace fs = std::filesystem;

bool ends_with(const fs::path& path, const std::string& lower_case_ending) {
  std::string name = path.filename().string();
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name.size() >= lower_case_ending.size() &&
         name.compare(name.size() - lower_case_ending.size(), std::string::npos, lower_case_ending) == 0;
}

FileFormat format_of(const fs::path& path) {
  static constexpr std::pair<const char*, FileFormat> kEndings[] = {
      {".nii", FileFormat::kNifti},     {".nii.gz", FileFormat::kNifti},  {".nrrd", FileFormat::kNrrd}, {".nhdr", FileFormat::kNrrd},
      {".mha", FileFormat::kMetaImage}, {".mhd", FileFormat::kMetaImage}, {".png", FileFormat::kPng},   {".jpg", FileFormat::kJpeg},
      {".jpeg", FileFormat::kJpeg},     {".cfl", FileFormat::kCfl},       {".hdr", FileFormat::kCfl},   {".txt", FileFormat::kText},
      {".csv", FileFormat::kText}};
  for (const auto& [ending, format] : kEndings)
    if (ends_with(path, ending)) return format;
  return FileFormat::kUnknown;
}

std::uint64_t check_input_file(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    throw Error(ErrorKind::kNoInput, quoted_path(path) + " cannot be opened: " + std::strerror(errno), "give an existing file or folder");
  if (S_ISDIR(status.st_mode)) throw Error(ErrorKind::kBadData, quoted_path(path) + " is a folder", "give a file");
  if (!S_ISREG(status.st_mode)) throw Error(ErrorKind::kBadData, quoted_path(path) + " is a device, pipe or socket", "give a regular file");
  if (!std::ifstream(path))
    throw Error(ErrorKind::kNoInput, quoted_path(path) + " cannot be opened: " + std::strerror(errno), "check its permissions");
  if (status.st_size == 0) throw Error(ErrorKind::kBadData, quoted_path(path) + " is empty (0 bytes)", "copy the file again");
  return static_cast<std::uint64_t>(status.st_size);
}

fs::path resolve_inside(const fs::path& folder, const std::string& name, const std::string& where) {
  const fs::path root = fs::weakly_canonical(folder.empty() ? fs::path(".") : folder);
  std::error_code error;
  const fs::path file = fs::weakly_canonical(root / name, error);
  if (error)
    throw Error(ErrorKind::kBadData, where + " names " + quoted_path(name.substr(0, 80)) + ", which cannot be a file: " + error.message(),
                "keep the data file beside the file that names it");
  const auto [end_of_root, ignored] = std::mismatch(root.begin(), root.end(), file.begin(), file.end());
  if (name.empty() || fs::path(name).is_absolute() || end_of_root != root.end())
    throw Error(ErrorKind::kBadData, where + " names " + quoted_path(name) + ", which is not inside its folder",
                "keep the data file beside the file that names it");
  return folder / name;
}

std::string read_head(const fs::path& path, std::size_t limit) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(limit, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(limit));
  if (file.bad()) throw Error(ErrorKind::kInputOutput, quoted_path(path) + " cannot be read", "check the disk");
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

std::uint64_t checked_product(const std::vector<std::int64_t>& factors, const std::string& what) {
  std::uint64_t product = 1;
  for (const std::int64_t factor : factors) {
    if (factor < 1) throw Error(ErrorKind::kBadData, what + " is " + std::to_string(factor), "sizes are at least 1");
    if (__builtin_mul_overflow(product, static_cast<std::uint64_t>(factor), &product) || product >> 62)
      throw Error(ErrorKind::kBadData, what + ": the sizes multiply to more than any file can hold", "the header is damaged");
  }
  return product;
}

}  // namespace postrec
