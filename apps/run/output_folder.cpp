#include "run/output_folder.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace fs = std::filesystem;
namespace {

std::string quoted(const fs::path& path) { return "'" + path.string() + "'"; }

/// Without a trailing slash, so that its parent and its name are what they seem to be.
fs::path plain(const fs::path& path) {
  const fs::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

bool is_within(const fs::path& inner, const fs::path& outer) {
  const auto mismatch = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return mismatch.first == outer.end();
}

fs::path resolved(const fs::path& path) {
  std::error_code failure;
  const fs::path canonical = fs::weakly_canonical(fs::absolute(path), failure);
  return plain(failure ? fs::absolute(path) : canonical);
}

void require_replaceable(const fs::path& path, OnExisting on_existing, const std::vector<std::string>& marker_files) {
  std::error_code failure;
  if (!fs::exists(fs::symlink_status(path, failure))) return;
  if (on_existing == OnExisting::kFail)
    throw Error(ErrorKind::kCannotCreate, "--output " + quoted(path) + " exists", "give another name or --on-existing overwrite");
  const bool folder = fs::is_directory(path, failure);
  const bool ours = folder && (fs::is_empty(path, failure) || std::any_of(marker_files.begin(), marker_files.end(), [&](const auto& name) {
                                 return fs::exists(path / name);
                               }));
  if (!ours)
    throw Error(ErrorKind::kCannotCreate, "--output " + quoted(path) + " exists and is not a result of postrec", "it is not overwritten; give another name");
}

/// As fs::rename, but never over an empty folder, where the file system can do that.
void rename_to_nothing(const fs::path& from, const fs::path& to, std::error_code& failure) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return;
  if (errno != ENOSYS && errno != EINVAL) failure.assign(errno, std::generic_category());
  else fs::rename(from, to, failure);
}

}  // namespace

void require_separate_output(const fs::path& output, const std::vector<fs::path>& inputs) {
  if (output.empty()) throw Error(ErrorKind::kUsage, "--output is empty", "give the name of a folder to write");
  const fs::path out = resolved(output);
  for (const auto& input : inputs) {
    const fs::path in = resolved(input);
    if (is_within(out, in) || is_within(in, out))
      throw Error(ErrorKind::kUsage, "--output " + quoted(output) + " and the input " + quoted(input) + " are in the same place",
                  "write to a folder outside of the input, which is never changed");
  }
}

OutputFolder::OutputFolder(fs::path final_path, OnExisting on_existing, const std::vector<fs::path>& inputs,
                           const std::vector<std::string>& marker_files)
    : on_existing_(on_existing), marker_files_(marker_files) {
  require_separate_output(final_path, inputs);
  final_ = plain(final_path);
  std::error_code failure;
  if (fs::is_symlink(final_, failure) && fs::is_directory(final_, failure)) final_ = fs::canonical(final_);  // the link stays
  require_replaceable(final_, on_existing, marker_files);
  const fs::path parent = final_.has_parent_path() ? final_.parent_path() : fs::path(".");
  for (fs::path missing = fs::absolute(parent); !fs::exists(missing, failure) && missing.has_relative_path(); missing = missing.parent_path())
    created_parents_.insert(created_parents_.begin(), missing);
  failure.clear();
  fs::create_directories(parent, failure);
  std::string pattern = (parent / ("." + final_.filename().string() + ".partial-XXXXXX")).string();
  if (failure || mkdtemp(pattern.data()) == nullptr) {
    const int reason = failure ? failure.value() : errno;
    remove_created_parents();
    throw Error(write_error_kind(reason), "cannot create --output " + quoted(final_) + ": " + std::strerror(reason), "give a folder that you may write to and that has room");
  }
  temporary_ = pattern;
  // mkdtemp makes it private; the result gets what the user's umask says.
  const mode_t mask = umask(0);
  umask(mask);
  chmod(temporary_.c_str(), 0777 & ~mask);
}

OutputFolder::~OutputFolder() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
  remove_created_parents();
}

void OutputFolder::remove_created_parents() {
  std::error_code ignored;
  for (auto parent = created_parents_.rbegin(); parent != created_parents_.rend(); ++parent) fs::remove(*parent, ignored);
}

void OutputFolder::commit() {
  for (const auto& entry : fs::directory_iterator(temporary_)) sync_to_disk(entry.path(), final_ / entry.path().filename());
  sync_to_disk(temporary_, final_);
  std::error_code failure, ignored;
  const fs::path old = temporary_.string() + ".old";
  require_replaceable(final_, on_existing_, marker_files_);  // somebody may have put something there meanwhile
  const bool replaces = fs::exists(fs::symlink_status(final_, ignored));
  if (replaces) fs::rename(final_, old, failure);
  if (!failure) rename_to_nothing(temporary_, final_, failure);
  if (failure) {
    if (replaces && fs::exists(old, ignored)) fs::rename(old, final_, ignored);
    throw Error(ErrorKind::kCannotCreate, "cannot rename the finished result to " + quoted(final_) + ": " + failure.message(), "was it changed meanwhile?");
  }
  committed_ = true;
  fs::remove_all(old, ignored);
  sync_to_disk(final_.has_parent_path() ? final_.parent_path() : fs::path("."), final_);
}

}  // namespace postrec
