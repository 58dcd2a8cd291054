#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>

#include "files.hpp"
#include "postrec/data/cfl.hpp"

namespace postrec::test {
namespace {

at::Tensor numbered(at::IntArrayRef shape) {
  const at::Tensor n = at::arange(c10::multiply_integers(shape), at::kFloat).reshape(shape);
  return at::complex(n, -n - 0.5);
}

void write_pair(const TempFolder& folder, const std::string& dims, std::size_t n_values) {
  write_bytes_to(folder / "a.hdr", "# Dimensions\n" + dims + "\n");
  std::vector<float> values;
  for (std::size_t i = 0; i < n_values; ++i) values.insert(values.end(), {static_cast<float>(i), 0.5f});
  write_bytes_to(folder / "a.cfl", bytes_of(values));
}

TEST(Cfl, ReturnsWhatWasWritten) {
  const TempFolder folder;
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{3, 2, 5, 7}, {1, 1, 5, 7}, {1, 4, 1, 7}, {1, 4, 5, 1}, {1, 1, 1, 1}})
    for (const char* name : {"a", "a.cfl", "a.hdr", "b.with.dots"}) {
      SCOPED_TRACE(name + at::str(shape));
      const at::Tensor data = numbered(shape);
      write_cfl(folder / name, data);
      EXPECT_TRUE(at::equal(read_cfl(folder / name), data));
    }
  EXPECT_EQ(folder.names(), (std::set<std::string>{"a.cfl", "a.hdr", "b.with.dots.cfl", "b.with.dots.hdr"}));
  const at::Tensor strided = numbered({1, 2, 7, 5}).transpose(2, 3).conj();
  write_cfl(folder / "a", strided);
  EXPECT_TRUE(at::equal(read_cfl(folder / "a"), strided.resolve_conj()));
}

TEST(Cfl, TheLowerDimensionOfThePlaneIsKx) {
  const TempFolder folder;
  // BART: the first dimension is the fastest in memory, so value = position in memory.
  write_pair(folder, "7 5 1 2", 70);
  at::Tensor data = read_cfl(folder / "a");
  ASSERT_EQ(data.sizes(), (at::IntArrayRef{1, 2, 5, 7}));
  EXPECT_EQ(at::real(data)[0][1][3][2].item<float>(), 35 * 1 + 7 * 3 + 2);

  write_pair(folder, "1 7 5 2 1", 70);
  data = read_cfl(folder / "a");
  ASSERT_EQ(data.sizes(), (at::IntArrayRef{1, 2, 5, 7}));
  EXPECT_EQ(at::real(data)[0][1][3][2].item<float>(), 35 * 1 + 7 * 3 + 2);
  EXPECT_EQ(at::imag(data)[0][1][3][2].item<float>(), 0.5f);

  write_pair(folder, "7 5 1 2 1 1 1 1 1 1 1 1 1 3 1 1", 210);
  data = read_cfl(folder / "a");
  ASSERT_EQ(data.sizes(), (at::IntArrayRef{3, 2, 5, 7}));
  EXPECT_EQ(at::real(data)[2][1][3][2].item<float>(), 70 * 2 + 35 * 1 + 7 * 3 + 2);
}

TEST(Cfl, BadPairs) {
  const TempFolder folder;
  const auto refused = [&](ErrorKind kind, const std::vector<std::string>& texts) {
    expect_error(kind, texts, [&] { read_cfl(folder / "a"); });
  };
  refused(ErrorKind::kNoInput, {"a.hdr"});
  write_bytes_to(folder / "a.hdr", "# Dimensions\n7 5\n");
  refused(ErrorKind::kNoInput, {"a.cfl"});
  for (const std::size_t n : {34, 36}) {
    write_pair(folder, "7 5", n);
    refused(ErrorKind::kBadData, {"a.cfl", std::to_string(8 * n), "280"});
  }
  for (const char* dims : {"", "seven 5", "7 -5", "7 0", "7.5 2", "7 5 99999999999999999999999", "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2"}) {
    write_pair(folder, dims, 35);
    refused(ErrorKind::kBadData, {"a.hdr", "dimension"});
  }
  write_bytes_to(folder / "a.hdr", std::string(5000, '\xff'));
  refused(ErrorKind::kBadData, {"a.hdr", "no dimensions"});
  write_pair(folder, "4000000000 4000000000 1 4000000000", 1);
  refused(ErrorKind::kBadData, {"multiply"});
  write_pair(folder, "3 5 7", 105);
  refused(ErrorKind::kBadData, {"3-D acquisition", "3x5x7", "bart slice"});
  write_pair(folder, "7 5 1 1 2", 70);
  refused(ErrorKind::kBadData, {"size 2 in dimension 4"});
  write_pair(folder, "7 5", 35);
  std::string bytes = read_bytes(folder / "a.cfl");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + 8 * 9 + 4, &nan, 4);
  write_bytes_to(folder / "a.cfl", bytes);
  refused(ErrorKind::kBadData, {"1 values", "[0, 0, 1, 2]"});
}

TEST(Cfl, BartReadsWhatWeWrite) {
  if (std::system("command -v bart >/dev/null 2>&1") != 0) GTEST_SKIP() << "the program 'bart' is not installed";
  const TempFolder folder;
  const at::Tensor data = numbered({1, 2, 5, 7}) / 100;
  write_cfl(folder / "k", data);
  const std::string at = "cd '" + folder.path().string() + "' && ";
  ASSERT_EQ(std::system((at + "bart show -d 0 k > d0 && bart show -d 1 k > d1 && bart show -d 3 k > d3").c_str()), 0);
  EXPECT_EQ(read_bytes(folder / "d0"), "7\n");
  EXPECT_EQ(read_bytes(folder / "d1"), "5\n");
  EXPECT_EQ(read_bytes(folder / "d3"), "2\n");
  // BART's centred unitary FFT over its dimensions 0 and 1 is ours over kx and ky.
  ASSERT_EQ(std::system((at + "bart fft -u 3 k x >/dev/null").c_str()), 0);
  const at::Tensor expected =
      at::fft_fftshift(at::fft_fft2(at::fft_ifftshift(data, at::IntArrayRef{2, 3}), c10::nullopt, {2, 3}, "ortho"), at::IntArrayRef{2, 3});
  // 35 values of size about 1 in float32.
  EXPECT_LT((read_cfl(folder / "x") - expected).abs().max().item<float>(), 1e-5f);
}

}  // namespace
}  // namespace postrec::test
