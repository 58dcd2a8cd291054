#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace postrec {

/// A file system in memory on a folder of its own: it really fills up. Seen by this process and its children alone, gone at the end.
class SmallDisk {
 public:
  static constexpr std::int64_t kPage = 4096;  ///< what a file takes at least, and in steps of which disks are made

  /// Whether this process may have one (root, or whoever may mount); from then on its mounts are its own.
  static bool permitted();

  explicit SmallDisk(std::filesystem::path folder);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  /// Empty again, with room for so many pages of files.
  void make(std::int64_t pages);
  /// As it is, but with that room.
  void resize(std::int64_t pages) const;
  /// No more files and folders than so many new ones, until it is resized: many file systems have room for so many only, and on others a folder takes blocks.
  void forbid_new_files(std::int64_t but = 0) const;

  const std::filesystem::path& folder() const { return folder_; }
  /// Every file by its path from the folder on, with its content.
  std::map<std::string, std::string> files() const;

 private:
  void unmount();
  std::string size_of(std::int64_t pages) const;

  std::filesystem::path folder_;
  bool mounted_ = false;
};

}  // namespace postrec
