#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

#include "files.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/data/cfl.hpp"
#include "postrec/data/measurement_file.hpp"
#include "postrec/data/write_image.hpp"

namespace postrec::test {
namespace {

TEST(AtomicFile, WritesReplacesAndLeavesNothingElse) {
  const TempFolder folder;
  write_text_atomically(folder / "a.txt", "one");
  write_text_atomically(folder / "a.txt", "two");
  EXPECT_EQ(read_bytes(folder / "a.txt"), "two");
  EXPECT_EQ(folder.names(), std::set<std::string>{"a.txt"});
}

// In a container the next process has the number of the one that was killed.
TEST(AtomicFile, PassesOverWhatAKilledProcessLeft) {
  const TempFolder folder;
  const auto left = [&](int i) { return folder / (".part-" + std::to_string(::getpid()) + "-" + std::to_string(i) + "-a.txt"); };
  constexpr int kMany = 1000;                  // more than this program has written yet
  for (int i = 0; i < kMany; ++i) write_bytes_to(left(i), "half");
  write_text_atomically(folder / "a.txt", "one");
  EXPECT_EQ(read_bytes(folder / "a.txt"), "one");
  for (int i = 0; i < kMany; ++i) EXPECT_TRUE(fs::exists(left(i))) << i;
}

TEST(AtomicFile, TheTemporaryIsBesideItWithTheSameEnding) {
  const TempFolder folder;
  write_atomically(folder / "a.nii.gz", [&](const fs::path& temporary) {
    EXPECT_EQ(temporary.parent_path(), folder.path());
    EXPECT_EQ(temporary.filename().string().substr(temporary.filename().string().size() - 8), "a.nii.gz");
    EXPECT_NE(temporary.filename(), "a.nii.gz");
    EXPECT_FALSE(fs::exists(folder / "a.nii.gz"));
    write_bytes_to(temporary, "x");
  });
  EXPECT_EQ(read_bytes(folder / "a.nii.gz"), "x");
}

TEST(AtomicFile, AFailureKeepsTheOldFileAndNoOther) {
  const TempFolder folder;
  write_text_atomically(folder / "a.txt", "old");
  const auto fail = [&](const fs::path& temporary) {
    write_bytes_to(temporary, "half");
    throw Error(ErrorKind::kInputOutput, "'" + temporary.string() + "' is half written", "x");
  };
  const Error error = expect_error(ErrorKind::kInputOutput, {"a.txt' is half"}, [&] { write_atomically(folder / "a.txt", fail); });
  EXPECT_EQ(std::string(error.what()).find(".part-"), std::string::npos);
  EXPECT_THROW(write_atomically(folder / "a.txt", [](const fs::path&) { throw std::runtime_error("x"); }), std::runtime_error);
  EXPECT_EQ(read_bytes(folder / "a.txt"), "old");
  EXPECT_EQ(folder.names(), std::set<std::string>{"a.txt"});
}

TEST(AtomicFile, MissingFolderAndFolderInTheWay) {
  const TempFolder folder;
  expect_error(ErrorKind::kCannotCreate, {"none/a.txt", "No such file"}, [&] { write_text_atomically(folder / "none" / "a.txt", "x"); });
  fs::create_directory(folder / "a.txt");
  expect_error(ErrorKind::kCannotCreate, {"a.txt", "is a folder"}, [&] { write_text_atomically(folder / "a.txt", "x"); });
  EXPECT_EQ(folder.names(), std::set<std::string>{"a.txt"});
}

// ---- every writer, where it cannot write ----

const at::Tensor& large_image() {
  static const at::Tensor image = at::rand({8, 1, 256, 256});  // 2 MiB, and noise does not compress
  return image;
}

const at::Tensor& large_picture() {
  static const at::Tensor picture = at::rand({1, 2048, 1024});  // 2 MiB at 8 bit
  return picture;
}

struct Writer {
  const char* name;
  std::function<void(const fs::path&)> write;
};

const std::vector<Writer>& writers() {
  static const std::vector<Writer> all = {
      {"a.nii",
       [](const fs::path& path) {
         write_nifti(path, {large_image(), {}, IntensityUnit::kArbitrary});
       }},
      {"a.nii.gz",
       [](const fs::path& path) {
         write_nifti(path, {large_image(), {}, IntensityUnit::kArbitrary});
       }},
      {"samples.nii", [](const fs::path& path) { write_nifti_samples(path, large_image().unsqueeze(0), {}); }},
      {"a.png", [](const fs::path& path) { write_png(path, large_picture(), 0.0, 1.0); }},
      {"a.cfl",
       [](const fs::path& path) {
         write_cfl(path, at::complex(large_image(), large_image()).reshape({1, 8, 256, 256}));
       }},
      {"a.txt", [](const fs::path& path) { write_text_atomically(path, std::string(2 << 20, 'x')); }},
      {"measurement", [](const fs::path& path) {
         Measurement m;
         m.y = large_image().squeeze(1);
         write_measurement(path, m);
       }}};
  return all;
}

/// Runs `body` in a child of its own (it changes mounts or user) and hands its text back; empty when all went well.
std::string in_child(const std::function<std::string()>& body) {
  int channel[2];
  if (::pipe(channel) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string text = body();
    if (::write(channel[1], text.data(), text.size()) < 0) ::_exit(1);
    ::_exit(0);
  }
  ::close(channel[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(channel[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  ::close(channel[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? text : text + " (the child ended with status " + std::to_string(status) + ")";
}

/// "" when `writer` fails with `kind` and leaves `folder` as it was.
std::string failure_of(const Writer& writer, const fs::path& folder, ErrorKind kind) {
  const std::string name = std::string(writer.name) + ": ";
  try {
    writer.write(folder / writer.name);
    return name + "nothing was thrown; ";
  } catch (const Error& error) {
    if (error.exit_code() != static_cast<int>(kind)) return name + error.what() + "; ";
  } catch (const std::exception& error) {
    return name + "another exception: " + error.what() + "; ";
  }
  return fs::is_empty(folder) ? "" : name + "left something behind; ";
}

/// Room for each of these many KiB: from nothing to just too little.
constexpr int kDiskSizes_KiB[] = {4, 64, 1024, 1536};

TEST(EveryWriter, OnAFullDisk) {
  large_image(), large_picture();  // not for the first time in a forked child
  const TempFolder folder;
  constexpr const char* kNoMount = "no mount";
  const std::string result = in_child([&]() -> std::string {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return kNoMount;
    std::string failures;
    for (const int size : kDiskSizes_KiB) {
      if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, ("size=" + std::to_string(size) + "k").c_str()) != 0) return kNoMount;
      for (const auto& writer : writers()) failures += failure_of(writer, folder.path(), ErrorKind::kInputOutput);
      ::umount(folder.path().c_str());
    }
    return failures;
  });
  if (result == kNoMount) GTEST_SKIP() << "this user may not mount a small tmpfs";
  EXPECT_EQ(result, "");
}

TEST(EveryWriter, WithoutPermission) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  large_image(), large_picture();  // not for the first time in a forked child
  const TempFolder folder;
  fs::permissions(folder.path(),
                  fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read | fs::perms::others_exec);
  const std::string result = in_child([&]() -> std::string {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return "cannot become another user";
    std::string failures;
    for (const auto& writer : writers()) failures += failure_of(writer, folder.path(), ErrorKind::kCannotCreate);
    return failures;
  });
  EXPECT_EQ(result, "");
}

TEST(EveryWriter, WithoutAFolder) {
  const TempFolder folder;
  for (const auto& writer : writers()) {
    expect_error(ErrorKind::kCannotCreate, {"none"}, [&] { writer.write(folder / "none" / writer.name); });
    EXPECT_TRUE(folder.names().empty());
  }
}

TEST(EveryWriter, Writes) {
  const TempFolder folder;
  for (const auto& writer : writers()) EXPECT_NO_THROW(writer.write(folder / writer.name)) << writer.name;
  EXPECT_EQ(folder.names(), (std::set<std::string>{"a.nii", "a.nii.gz", "samples.nii", "a.png", "a.cfl", "a.hdr", "a.txt", "measurement"}));
}

}  // namespace
}  // namespace postrec::test
