#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include "plugin_test_support.hpp"
#include "postrec/sha256.hpp"

namespace postrec {
namespace {

using test::expect_error;
using test::plugin_folder;
using test::search_in;
using test::TemporaryFolder;

/// A library with this defect is listed, refused on first use and on the second, and told of once in problems().
void expect_refused_on_use(const std::string& defect, const std::string& reason) {
  SCOPED_TRACE(defect);
  PluginRegistry registry(search_in({plugin_folder("raw-" + defect)}));
  ASSERT_EQ(registry.plugins().size(), 1u);
  EXPECT_TRUE(registry.problems().empty());
  for (int use = 0; use < 2; ++use) expect_error(ErrorKind::kUnavailable, reason, [&] { registry.operator_type("raw-" + defect); });
  ASSERT_EQ(registry.problems().size(), 1u);
  EXPECT_NE(registry.problems()[0].reason.find(reason), std::string::npos) << registry.problems()[0].reason;
}

TEST(BadPlugin, WrongVersions) {
  expect_refused_on_use("wrong-major", "ABI version 2.0");
  expect_refused_on_use("newer-minor", "ABI version 1.1");
  expect_refused_on_use("other-libtorch", "LibTorch '2.15.0'");
}

TEST(BadPlugin, LibraryAndManifestDiffer) {
  expect_refused_on_use("wrong-id", "id 'test.postrec.somebody-else'");
  expect_refused_on_use("wrong-version", "version '9.9.9'");
  expect_refused_on_use("wrong-operators", "offers other operators");
}

TEST(BadPlugin, BrokenDescriptors) {
  expect_refused_on_use("missing-symbol", "does not export postrec_plugin_v1");
  expect_refused_on_use("null-descriptor", "the descriptor is null");
  expect_refused_on_use("null-types", "operator types are null");
  expect_refused_on_use("null-function", "has no function 'forward'");
  expect_refused_on_use("small-struct", "has 16 bytes");
  expect_refused_on_use("no-device", "no known device");
  expect_refused_on_use("bad-default", "'number' cannot be 'many'");
  expect_refused_on_use("twice-declared", "declares 'how' twice");
  expect_refused_on_use("nan-range", "NaN in its range");
}

TEST(BadPlugin, EntryThatThrowsOrFails) {
  expect_refused_on_use("throws-on-entry", "threw an exception across the plugin boundary");
  expect_refused_on_use("fails-on-entry", "no licence for this machine");
}

class RawOperator : public testing::Test {
 protected:
  std::shared_ptr<const Operator> make(const std::string& how) {
    Parameters p;
    p.set("how", how);
    return registry_.make("raw-good", p);
  }

  PluginRegistry registry_{search_in({plugin_folder("raw-good")})};
  at::Tensor x_ = at::arange(30, at::kFloat).view({2, 1, 3, 5});
};

TEST_F(RawOperator, WorksWell) {
  const auto op = make("well");
  EXPECT_TRUE(op->forward(x_).equal(2 * x_));
  EXPECT_TRUE(op->normal(x_).equal(4 * x_));  // the plugin has no `normal`: the host made it of the two halves
  EXPECT_EQ(op->norm_bound(), 2.0);
}

TEST_F(RawOperator, UsesTheServicesOfTheHost) { EXPECT_TRUE(make("uses-services")->forward(x_).equal(2 * x_)); }

// AddressSanitizer tells when memory that was given is freed twice, early or never.
TEST_F(RawOperator, GivesItsOwnMemory) {
  for (const char* how : {"gives", "gives-twice"}) {
    at::Tensor y;
    {
      const auto op = make(how);
      y = op->forward(x_);
    }
    EXPECT_TRUE(y.equal(2 * x_)) << how;
  }
  expect_error(ErrorKind::kNumerical, "failed after giving", [&] { make("gives-and-fails")->forward(x_); });
  expect_error(ErrorKind::kUnavailable, "gave its input as its result", [&] { make("gives-its-input")->forward(x_); });
  expect_error(ErrorKind::kUnavailable, "gave its input as its result", [&] { make("gives-its-point")->adjoint(x_, 3 * x_); });
}

TEST_F(RawOperator, PromisesToGiveAndDoesNot) {
  PluginRegistry registry(search_in({plugin_folder("raw-gives-nothing")}));
  expect_error(ErrorKind::kUnavailable, "gave no result", [&] { registry.make("raw-gives-nothing", {})->forward(x_); });
}

TEST_F(RawOperator, CreateThatGoesWrong) {
  expect_error(ErrorKind::kUnavailable, "threw an exception", [&] { make("create-throws"); });
  expect_error(ErrorKind::kUnavailable, "threw an exception", [&] { make("create-throws-int"); });
  expect_error(ErrorKind::kUnavailable, "made nothing", [&] { make("create-nothing"); });
  expect_error(ErrorKind::kConfiguration, "operator 'raw-good': line one line two", [&] { make("create-fails"); });
  expect_error(ErrorKind::kInternal, "a status of its own", [&] { make("unknown-status"); });
  expect_error(ErrorKind::kBadData, "xxxxxxxx", [&] { make("fills-the-buffer"); });
}

TEST_F(RawOperator, LiesAboutShapes) {
  expect_error(ErrorKind::kUnavailable, "domain has 99 axes", [&] { make("many-axes"); });
  expect_error(ErrorKind::kUnavailable, "domain has 0 axes", [&] { make("no-axes"); });
  expect_error(ErrorKind::kUnavailable, "unknown type 77", [&] { make("unknown-dtype"); });
  expect_error(ErrorKind::kUnavailable, "domain is [-1, 3, 5]", [&] { make("negative-size"); });
  expect_error(ErrorKind::kUnavailable, "domain is [1, 4611686018427387904", [&] { make("huge-size"); });
  expect_error(ErrorKind::kUnavailable, "threw an exception", [&] { make("domain-throws"); });
  expect_error(ErrorKind::kUnavailable, "wrote past the end", [&] { make("writes-past-the-end")->forward(x_); });
}

TEST_F(RawOperator, PromisesWhatItHasNot) {
  expect_error(ErrorKind::kUnavailable, "promises normal_solve", [&] { make("promises-a-solve"); });
  expect_error(ErrorKind::kUnavailable, "promises pseudo_inverse", [&] { make("promises-an-inverse"); });
}

TEST_F(RawOperator, NormsThatCannotBe) {
  for (const char* how : {"nan-norm", "infinite-norm", "negative-norm"})
    expect_error(ErrorKind::kUnavailable, "its norm_bound is", [&] { make(how)->norm_bound(); });
}

TEST_F(RawOperator, CallsThatGoWrong) {
  expect_error(ErrorKind::kUnavailable, "threw an exception", [&] { make("call-throws")->forward(x_); });
  expect_error(ErrorKind::kUnavailable, "threw an exception", [&] { make("call-throws-int")->adjoint(x_); });
  expect_error(ErrorKind::kNumerical, "it diverged; this is a test", [&] { make("call-fails")->forward(x_); });
}

TEST_F(RawOperator, LogsAndIsCancelled) {
  std::string logged;
  PluginSearch search = search_in({plugin_folder("raw-good")});
  search.hooks.log = [&](int level, const std::string& text) { logged = std::to_string(level) + text; };
  search.hooks.cancelled = [] { return true; };
  PluginRegistry registry(search);
  Parameters p;
  p.set("how", std::string("waits"));
  const auto op = registry.make("raw-good", p);
  EXPECT_EQ(logged, "1made");
  expect_error(ErrorKind::kInterrupted, "stopped", [&] { op->forward(x_); });
}

TEST_F(RawOperator, HooksThatThrowAreHarmless) {
  PluginSearch search = search_in({plugin_folder("raw-good")});
  search.hooks.log = [](int, const std::string&) { throw std::runtime_error("log"); };
  search.hooks.cancelled = []() -> bool { throw 7; };
  PluginRegistry registry(search);
  EXPECT_TRUE(registry.make("raw-good", {})->forward(x_).equal(2 * x_));
}

// ---- Files that are not what their manifest says
// -----------------------------------------------------------------------------------------

class BadFile : public testing::Test {
 protected:
  void SetUp() override { folder_.copy_plugin("raw-good"); }

  /// Puts `content` in place of the library, with its right hash in the manifest.
  void replace_library(const std::string& content) {
    const std::string old_hash = PluginRegistry(search_in({folder_.path()})).plugins().at(0).sha256;
    folder_.write("raw-good.so", content);
    rewrite(old_hash, sha256_hex(content.data(), content.size()));
  }

  void rewrite(const std::string& from, const std::string& to) {
    folder_.write("raw-good.postrec.json", test::replaced(test::read_text(folder_.path() / "raw-good.postrec.json"), from, to));
  }

  void expect_refused(const std::string& reason) {
    PluginRegistry registry(search_in({folder_.path()}));
    expect_error(ErrorKind::kUnavailable, reason, [&] { registry.make("raw-good", {}); });
  }

  /// Not even listed.
  void expect_skipped(const std::string& reason) {
    const PluginRegistry registry(search_in({folder_.path()}));
    EXPECT_TRUE(registry.plugins().empty());
    ASSERT_EQ(registry.problems().size(), 1u);
    EXPECT_NE(registry.problems()[0].reason.find(reason), std::string::npos) << registry.problems()[0].reason;
  }

  TemporaryFolder folder_;
};

TEST_F(BadFile, GoodAsCopied) { EXPECT_NO_THROW(PluginRegistry(search_in({folder_.path()})).make("raw-good", {})); }

TEST_F(BadFile, HashMismatch) {
  std::ofstream(folder_.path() / "raw-good.so", std::ios::app | std::ios::binary) << 'x';
  expect_refused("the library has sha256");
}

TEST_F(BadFile, NotAnElf) {
  replace_library("#!/bin/sh\necho hello\n");
  expect_refused("cannot load");
}

TEST_F(BadFile, EmptyLibrary) {
  replace_library("");
  expect_refused("cannot load");
}

TEST_F(BadFile, TruncatedLibrary) {
  const std::string whole = test::read_text(folder_.path() / "raw-good.so");
  replace_library(whole.substr(0, 100));
  expect_refused("cannot load");
}

TEST_F(BadFile, MissingLibrary) {
  std::filesystem::remove(folder_.path() / "raw-good.so");
  expect_skipped("raw-good.so");
}

TEST_F(BadFile, GarbageManifest) {
  folder_.write("raw-good.postrec.json", "garbage");
  expect_skipped("is not JSON");
}

TEST_F(BadFile, EmptyManifest) {
  folder_.write("raw-good.postrec.json", "");
  expect_skipped("is not JSON");
}

TEST_F(BadFile, ManifestIsAFolder) {
  std::filesystem::remove(folder_.path() / "raw-good.postrec.json");
  std::filesystem::create_directory(folder_.path() / "raw-good.postrec.json");
  expect_skipped("cannot open the manifest");
}

TEST_F(BadFile, ManifestOfAnotherLibTorch) {
  rewrite("\"libtorch\": \"\"", "\"libtorch\": \"2.15.0\"");
  expect_skipped("was built with LibTorch 2.15.0; rebuild it with 2.11.0");
}

TEST_F(BadFile, ManifestOfAnotherAbi) {
  for (const char* abi : {"2.0", "1.1", "0.9", "1", "one", "1.0x", ""}) {
    SCOPED_TRACE(abi);
    folder_.copy_plugin("raw-good");
    rewrite("\"abi\": \"1.0\"", std::string("\"abi\": \"") + abi + "\"");
    expect_skipped("is for ABI version");
  }
}

TEST_F(BadFile, OneBadPluginDoesNotHideAGoodOne) {
  folder_.write("aaa.postrec.json", "garbage");
  PluginRegistry registry(search_in({folder_.path()}));
  EXPECT_EQ(registry.problems().size(), 1u);
  EXPECT_NO_THROW(registry.make("raw-good", {}));
}

TEST_F(BadFile, WritableByEverybody) {
  std::filesystem::permissions(folder_.path(), std::filesystem::perms::others_write, std::filesystem::perm_options::add);
  expect_skipped("is writable by everybody");
  std::filesystem::permissions(folder_.path(), std::filesystem::perms::others_write, std::filesystem::perm_options::remove);
  std::filesystem::permissions(folder_.path() / "raw-good.so", std::filesystem::perms::others_write, std::filesystem::perm_options::add);
  expect_skipped("raw-good.so' is writable by everybody");
}

TEST_F(BadFile, OwnedBySomebodyElse) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  ASSERT_EQ(chown((folder_.path() / "raw-good.so").c_str(), 65534, 65534), 0);
  expect_skipped("belongs to user 65534");
}

}  // namespace
}  // namespace postrec
