#include "small_disk.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace postrec {
namespace fs = std::filesystem;
namespace {

constexpr const char* kBallast = ".ballast";   // one page: a file system of none cannot be had

}  // namespace

bool SmallDisk::permitted() {
  static const bool done = ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  return done;
}

SmallDisk::SmallDisk(fs::path folder) : folder_(std::move(folder)) { fs::create_directories(folder_); }

SmallDisk::~SmallDisk() { unmount(); }

void SmallDisk::unmount() {
  if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  mounted_ = false;
}

std::string SmallDisk::size_of(std::int64_t pages) const { return "size=" + std::to_string((pages + 1) * kPage) + ",nr_inodes=65536"; }

void SmallDisk::make(std::int64_t pages) {
  unmount();
  if (::mount("tmpfs", folder_.c_str(), "tmpfs", 0, size_of(pages).c_str()) != 0) throw std::runtime_error("cannot mount a tmpfs");
  mounted_ = true;
  std::ofstream(folder_ / kBallast) << std::string(kPage, 'x');
}

void SmallDisk::resize(std::int64_t pages) const {
  if (::mount(nullptr, folder_.c_str(), nullptr, MS_REMOUNT, size_of(pages).c_str()) != 0) throw std::runtime_error("cannot resize a tmpfs");
}

void SmallDisk::forbid_new_files(std::int64_t but) const {
  struct statvfs disk = {};
  const auto names = [&] { return "nr_inodes=" + std::to_string(static_cast<std::int64_t>(disk.f_files - disk.f_ffree) + but); };
  if (::statvfs(folder_.c_str(), &disk) != 0 || ::mount(nullptr, folder_.c_str(), nullptr, MS_REMOUNT, names().c_str()) != 0)
    throw std::runtime_error("cannot forbid files of a tmpfs");
}

std::map<std::string, std::string> SmallDisk::files() const {
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (!entry.is_regular_file() || entry.path().filename() == kBallast) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    found[entry.path().lexically_relative(folder_).generic_string()] = {std::istreambuf_iterator<char>(file), {}};
  }
  return found;
}

}  // namespace postrec
