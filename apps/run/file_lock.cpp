#include "run/file_lock.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace fs = std::filesystem;
namespace {

struct flock whole_file() {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

/// Whether the name still is that of the open file.
bool is_there(int file, const fs::path& path) {
  struct stat mine = {}, there = {};
  return ::fstat(file, &mine) == 0 && ::stat(path.c_str(), &there) == 0 && mine.st_ino == there.st_ino;
}

}  // namespace

FileLock try_lock(const fs::path& path, int flags) {
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC | flags, 0666);
  if (file < 0) {
    if (errno == ENOENT || errno == EEXIST) return {-1, true};
    throw Error(write_error_kind(errno), quoted_path(path) + " cannot be made: " + std::strerror(errno), "check that the folder can be written and has room");
  }
  // Locks of the open file, not of the process: a child inherits its own, and no other descriptor of the file can drop it.
  struct flock lock = whole_file();
  const bool taken = ::fcntl(file, F_OFD_SETLK, &lock) == 0;
  const bool held = taken ? !is_there(file, path) : errno == EAGAIN || errno == EACCES;
  if (taken && !held) return {file, false};
  ::close(file);
  return {-1, held};
}

bool is_locked(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  struct flock lock = whole_file();
  const bool locked = ::fcntl(file, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
  ::close(file);
  return locked;
}

}  // namespace postrec
