#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "expect_error.hpp"
#include "postrec/random.hpp"
#include "postrec/sha256.hpp"
#include "sha256_blocks.hpp"
#include "temp_folder.hpp"

namespace postrec::test {
namespace {

// Known answers of FIPS 180-4's examples; lengths around the block size of 64 bytes and its padding limit of 56.
TEST(Sha256, KnownAnswers) {
  const auto hash = [](const std::string& text) { return sha256_hex(text.data(), text.size()); };
  EXPECT_EQ(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hash(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// Where the processor has no SHA instructions both are the same function.
TEST(Sha256, InstructionsGiveWhatThePortableCodeGives) {
  const at::Tensor bytes = (RandomStreams(1, 0, 1).uniform(0, {5 * 64}) * 256.0).to(at::kByte).contiguous();
  for (const std::size_t n_blocks : {0, 1, 2, 5}) {
    Sha256State fast = {1, 2, 3, 4, 0xfffffffb, 6, 7, 8}, portable = fast;
    sha256_blocks(fast, bytes.const_data_ptr<std::uint8_t>(), n_blocks);
    sha256_blocks_portable(portable, bytes.const_data_ptr<std::uint8_t>(), n_blocks);
    EXPECT_EQ(fast, portable) << n_blocks;
  }
}

TEST(Sha256, FileIsItsContent) {
  const TempFolder folder;
  const auto path = folder / "content";
  const std::string text = "head" + std::string(3 << 20, 'x');
  std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(sha256_file(path), sha256_hex(text.data(), text.size()));
  EXPECT_EQ(sha256_file(path, 4), sha256_hex(text.data() + 4, text.size() - 4));
  EXPECT_EQ(sha256_file(path, text.size()), sha256_hex("", 0));
  std::filesystem::remove(path);
  expect_error(ErrorKind::kNoInput, path.string(), [&] { sha256_file(path); });
}

}  // namespace
}  // namespace postrec::test
