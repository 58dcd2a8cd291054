#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "plugin_test_support.hpp"

namespace postrec {
namespace {

using test::expect_error;
using test::plugin_folder;
using test::search_in;
using test::TemporaryFolder;

TEST(Registry, ListsWithoutLoading) {
  const PluginRegistry registry(search_in({plugin_folder("sdk-plugin")}));
  ASSERT_EQ(registry.plugins().size(), 1u);
  const PluginInfo& info = registry.plugins()[0];
  EXPECT_EQ(info.id, "test.postrec.sdk");
  EXPECT_EQ(info.version, "1.0.0");
  EXPECT_EQ(info.libtorch, "2.11.0");
  EXPECT_EQ(info.operators, (std::vector<std::string>{"test-diagonal", "test-misbehaving"}));
  EXPECT_EQ(registry.plugin_of("test-misbehaving").id, "test.postrec.sdk");
}

TEST(Registry, LoadsOnFirstUse) {
  const TemporaryFolder folder;
  folder.copy_plugin("raw-good");
  PluginRegistry registry(search_in({folder.path()}));
  const auto is_loaded = [&] { return test::read_text("/proc/self/maps").find(folder.path().string()) != std::string::npos; };
  EXPECT_FALSE(is_loaded());
  registry.operator_type("raw-good");
  EXPECT_TRUE(is_loaded());
}

TEST(Registry, UnknownOperatorNamesTheNearest) {
  PluginRegistry registry(search_in({plugin_folder("sdk-plugin"), plugin_folder("raw-good")}));
  expect_error(ErrorKind::kUnavailable, "no plugin offers the operator 'test-diagnal'; did you mean 'test-diagonal'?",
               [&] { registry.plugin_of("test-diagnal"); });
  expect_error(ErrorKind::kUnavailable, "did you mean 'raw-good'", [&] { registry.make("raw-god", {}); });
  PluginRegistry empty(search_in({}));
  expect_error(ErrorKind::kUnavailable, "there is none", [&] { empty.operator_type("x"); });
}

TEST(Registry, SameIdTwice) {
  const TemporaryFolder folder;
  folder.copy_plugin("raw-good");
  PluginRegistry registry(search_in({plugin_folder("raw-good"), folder.path()}));
  ASSERT_EQ(registry.plugins().size(), 1u);
  EXPECT_EQ(registry.plugins()[0].library, plugin_folder("raw-good") / "raw-good.so");
  ASSERT_EQ(registry.problems().size(), 1u);
  EXPECT_NE(registry.problems()[0].reason.find("'test.postrec.raw-good' was already found"), std::string::npos);
  EXPECT_NO_THROW(registry.make("raw-good", {}));
}

TEST(Registry, SameOperatorNameTwice) {
  const TemporaryFolder folder;
  folder.copy_plugin("raw-good");
  const auto manifest = folder.path() / "raw-good.postrec.json";
  folder.write("raw-good.postrec.json", test::replaced(test::read_text(manifest), "test.postrec.raw-good", "test.postrec.other"));
  const PluginRegistry registry(search_in({plugin_folder("raw-good"), folder.path()}));
  ASSERT_EQ(registry.plugins().size(), 1u);
  ASSERT_EQ(registry.problems().size(), 1u);
  EXPECT_NE(registry.problems()[0].reason.find("offers the operator 'raw-good' of 'test.postrec.raw-good'"), std::string::npos);
}

TEST(Registry, SingleFiles) {
  for (const char* suffix : {".so", ".postrec.json"}) {
    PluginSearch search;
    search.files = {plugin_folder("raw-good") / (std::string("raw-good") + suffix)};
    PluginRegistry registry(search);
    EXPECT_NO_THROW(registry.make("raw-good", {}));
  }
  PluginSearch search;
  search.files = {"/nowhere/thing.so"};
  EXPECT_EQ(PluginRegistry(search).problems().size(), 1u);
}

TEST(Registry, AllowFile) {
  const TemporaryFolder folder;
  PluginSearch search = search_in({plugin_folder("raw-good"), plugin_folder("sdk-plugin")});
  const std::string hash = PluginRegistry(search).plugins()[0].sha256;

  search.allow_file = folder.write("allow", "# what sha256sum prints\n\n" + hash + "  raw-good.so\n");
  PluginRegistry registry(search);
  ASSERT_EQ(registry.plugins().size(), 1u);
  EXPECT_NO_THROW(registry.make("raw-good", {}));
  ASSERT_EQ(registry.problems().size(), 1u);
  EXPECT_NE(registry.problems()[0].reason.find("is not in the allow file"), std::string::npos);

  search.allow_file = folder.write("empty", "");
  EXPECT_TRUE(PluginRegistry(search).plugins().empty());
  search.allow_file = folder.write("bad", hash + "\nnot-a-hash\n");
  expect_error(ErrorKind::kConfiguration, "line 2: 'not-a-hash'", [&] { PluginRegistry{search}; });
  search.allow_file = folder.path() / "missing";
  expect_error(ErrorKind::kNoInput, "allow file", [&] { PluginRegistry{search}; });
}

// A plugin whose manifest names an allowed hash and whose library is another one passes the list and stops at the library's own hash.
TEST(Registry, AllowFileCannotBeFooledByTheManifest) {
  const TemporaryFolder folder;
  folder.copy_plugin("raw-good");
  PluginSearch search = search_in({folder.path()});
  search.allow_file = folder.write("allow", PluginRegistry(search).plugins()[0].sha256 + "\n");
  std::ofstream(folder.path() / "raw-good.so", std::ios::app) << "tampered";
  PluginRegistry registry(search);
  expect_error(ErrorKind::kUnavailable, "the library has sha256", [&] { registry.make("raw-good", {}); });
}

TEST(Registry, MissingAndRelativeFoldersAreProblems) {
  const PluginRegistry registry(search_in({"/nowhere/plugins", "plugins"}));
  ASSERT_EQ(registry.problems().size(), 2u);
  EXPECT_NE(registry.problems()[0].reason.find("/nowhere/plugins"), std::string::npos);
  EXPECT_NE(registry.problems()[1].reason.find("is relative"), std::string::npos);
}

TEST(Registry, SearchOrder) {
  setenv("POSTREC_PLUGIN_PATH", "/from/environment::relative", 1);
  const auto folders = PluginSearch::default_folders({"/from/option", "beside"});
  unsetenv("POSTREC_PLUGIN_PATH");
  ASSERT_EQ(folders.size(), 5u);
  EXPECT_EQ(folders[0], "/from/option");
  EXPECT_EQ(folders[1], std::filesystem::current_path() / "beside");  // asked for by name
  EXPECT_EQ(folders[2], "/from/environment");
  EXPECT_EQ(folders[3], "relative");  // which the registry refuses; the empty entry, that is the working directory, is gone
  EXPECT_EQ(folders[4], std::filesystem::path(POSTREC_BINARY_DIR) / "lib/postrec/plugins");
}

}  // namespace
}  // namespace postrec
