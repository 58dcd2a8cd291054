#pragma once

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace postrec {

/// A file descriptor that closes itself; -1 is none.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  /// False when there is none or the disk failed. EINVAL: a file system that cannot sync folders.
  bool sync() const { return fd_ >= 0 && (::fsync(fd_) == 0 || errno == EINVAL); }

 private:
  int fd_;
};

}  // namespace postrec
