#include "postrec/atomic_file.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "postrec/error.hpp"

namespace postrec {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const fs::path& path, const std::string& what, int error) {
  throw Error(write_error_kind(error), quoted_path(path) + " cannot be " + what + ": " + std::strerror(error),
              write_error_kind(error) == ErrorKind::kInputOutput ? "check the free space" : "check that the folder exists and can be written");
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  int fd_;
};

/// A new empty file beside `path`, removed unless it was renamed away. What a killed process of the same number left is passed over.
struct Temporary {
  explicit Temporary(const fs::path& named) {
    static std::atomic<unsigned> counter{0};
    const fs::path folder = named.has_parent_path() ? named.parent_path() : fs::path(".");
    for (;;) {
      path = folder / (".part-" + std::to_string(::getpid()) + "-" + std::to_string(counter++) + "-" + named.filename().string());
      // Made here, because only here the reason of a failure is known.
      if (Descriptor(path, O_WRONLY | O_CREAT | O_EXCL).valid()) return;
      if (errno != EEXIST) fail(named, "created", errno);
    }
  }
  ~Temporary() { ::unlink(path.c_str()); }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  fs::path path;
};

/// Libraries that write do not say why they failed.
bool is_full(const fs::path& folder) {
  struct statvfs disk = {};
  return ::statvfs(folder.c_str(), &disk) == 0 && disk.f_bavail == 0;
}

}  // namespace

ErrorKind write_error_kind(int error) {
  return error == ENOSPC || error == EDQUOT || error == EIO || error == EFBIG ? ErrorKind::kInputOutput : ErrorKind::kCannotCreate;
}

void sync_to_disk(const fs::path& path, const fs::path& named) {
  const Descriptor file(path, O_RDONLY);
  // EINVAL: a file system that cannot sync folders.
  if (!file.valid() || (::fsync(file.get()) != 0 && errno != EINVAL)) fail(named, "written", errno);
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), std::min<std::size_t>(text.size(), 1 << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

std::string quoted_path(const fs::path& path) {
  std::string text = path.string();
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  // What turns the direction of writing can make one name look like another: U+202A to U+202E, U+2066 to U+2069.
  for (std::size_t i = 0; i + 2 < text.size(); ++i) {
    const auto third = static_cast<unsigned char>(text[i + 2]);
    if ((text.compare(i, 2, "\xe2\x80") == 0 && third >= 0xaa && third <= 0xae) ||
        (text.compare(i, 2, "\xe2\x81") == 0 && third >= 0xa6 && third <= 0xa9)) text.replace(i, 3, "?");
  }
  return "'" + text + "'";
}

void write_atomically(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) throw Error(ErrorKind::kCannotCreate, quoted_path(path) + " is a folder", "give the name of a file");
  const Temporary temporary(path);
  try {
    write(temporary.path);
  } catch (const Error& error) {
    // The user knows the final name only.
    std::string message = error.message();
    const std::string shown = quoted_path(temporary.path);
    if (const auto at = message.find(shown); at != std::string::npos) message.replace(at, shown.size(), quoted_path(path));
    const std::string reason = std::strerror(ENOSPC);
    if (error.kind() == ErrorKind::kInputOutput && is_full(folder) && message.find(reason) == std::string::npos) message += ": " + reason;
    throw Error(error.kind(), message, error.hint());
  }
  sync_to_disk(temporary.path, path);
  if (::rename(temporary.path.c_str(), path.c_str()) != 0) fail(path, "created", errno);
  sync_to_disk(folder, path);
}

void write_text_atomically(const fs::path& path, const std::string& text) {
  write_atomically(path, [&](const fs::path& temporary) { write_bytes(temporary, text.data(), text.size()); });
}

void write_bytes(const fs::path& path, const void* data, std::size_t n_bytes) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file.valid()) fail(path, "created", errno);
  if (!write_all(file.get(), {static_cast<const char*>(data), n_bytes})) fail(path, "written", errno);
}

}  // namespace postrec
