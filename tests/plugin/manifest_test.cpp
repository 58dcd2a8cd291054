#include "manifest.hpp"

#include <gtest/gtest.h>

#include "plugin_test_support.hpp"

namespace postrec {
namespace {

using test::expect_error;
using test::replaced;

const std::string kGood = R"({"id": "org.example.blur", "version": "1.2.3", "licence": "MIT", "abi": "1.0", "libtorch": "",
  "operators": ["gaussian-blur", "motion-blur"], "library": "blur.so",
  "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "later": {"members": "are ignored"}})";

TEST(Manifest, IsRead) {
  const PluginInfo info = parse_manifest(kGood, "/plugins/blur.postrec.json");
  EXPECT_EQ(info.id, "org.example.blur");
  EXPECT_EQ(info.version, "1.2.3");
  EXPECT_EQ(info.licence, "MIT");
  EXPECT_EQ(info.abi, "1.0");
  EXPECT_EQ(info.libtorch, "");
  EXPECT_EQ(info.operators, (std::vector<std::string>{"gaussian-blur", "motion-blur"}));
  EXPECT_EQ(info.library, "/plugins/blur.so");
  EXPECT_EQ(info.sha256.substr(0, 8), "ba7816bf");
}

TEST(Manifest, NamesWhatIsWrong) {
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& part) {
    expect_error(ErrorKind::kConfiguration, part, [&] { parse_manifest(replaced(kGood, from, to), "m.postrec.json"); });
  };
  refused("\"id\": \"org.example.blur\"", "\"id\": 7", "'id' is not a text");
  refused("\"id\": \"org.example.blur\", ", "", "'id' is missing");
  refused("org.example.blur", "blur", "reverse-domain");
  refused("org.example.blur", "Org.Example.Blur", "reverse-domain");
  refused("org.example.blur", "org..blur", "reverse-domain");
  refused("1.2.3", "", "'version' is empty");
  refused("MIT", "\\u001b[31m", "control characters");
  refused("blur.so", "../blur.so", "'library' is '../blur.so'");
  refused("blur.so", "/tmp/blur.so", "'library'");
  refused("\"blur.so\"", "\"\"", "'library'");
  refused("[\"gaussian-blur\", \"motion-blur\"]", "[]", "'operators'");
  refused("[\"gaussian-blur\", \"motion-blur\"]", "\"gaussian-blur\"", "'operators'");
  refused("\"motion-blur\"", "3", "'operators'");
  refused("motion-blur", "Motion Blur", "lower-hyphen");
  refused("motion-blur", "gaussian-blur", "listed twice");
  refused("ba7816bf", "BA7816BF", "hexadecimal");
  refused("ba7816bf", "", "hexadecimal");
}

TEST(Manifest, GarbageIsNotJson) {
  for (const std::string& text : {std::string(), std::string("{"),
                                  std::string("\x7f"
                                              "ELF\0\1",
                                              6),
                                  std::string("{\"id\": \"\xff\"}"), std::string("nul")})
    expect_error(ErrorKind::kConfiguration, "is not JSON", [&] { parse_manifest(text, "m.postrec.json"); });
  for (const char* text : {"[]", "7", "\"id\"", "null"})
    expect_error(ErrorKind::kConfiguration, "not a JSON object", [&] { parse_manifest(text, "m.postrec.json"); });
}

TEST(Manifest, DepthAndLengthAreBounded) {
  const std::string deep = std::string(30000, '[') + std::string(30000, ']');
  expect_error(ErrorKind::kConfiguration, "not a JSON object", [&] { parse_manifest(deep, "m.postrec.json"); });
  const test::TemporaryFolder folder;
  expect_error(ErrorKind::kConfiguration, "longer than 64 KiB",
               [&] { read_manifest(folder.write("m.postrec.json", std::string(1 << 17, ' '))); });
}

// Every prefix of a good manifest and every single wrong byte: refused with an Error or read, never anything else.
TEST(Manifest, SurvivesTruncationAndMutation) {
  for (std::size_t n = 0; n < kGood.size(); ++n)
    expect_error(ErrorKind::kConfiguration, "manifest", [&] { parse_manifest(kGood.substr(0, n), "m.postrec.json"); });
  int n_refused = 0;
  for (std::size_t i = 0; i < kGood.size(); ++i) {
    for (const char byte : {'\0', '"', '{', '\xff', '9'}) {
      std::string text = kGood;
      text[i] = byte;
      try {
        parse_manifest(text, "m.postrec.json");
      } catch (const Error&) {
        ++n_refused;
      }
    }
  }
  EXPECT_GT(n_refused, 1000);
}

TEST(Manifest, MissingFileIsNoInput) {
  expect_error(ErrorKind::kNoInput, "no-such.postrec.json", [] { read_manifest("/nowhere/no-such.postrec.json"); });
}

}  // namespace
}  // namespace postrec
