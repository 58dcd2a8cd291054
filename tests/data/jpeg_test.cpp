// JPEG: read as it decodes, refused when it does not decode whole.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>
// jpeglib.h uses FILE and size_t without including them.
#include <jpeglib.h>

#include <cstdlib>

#include "files.hpp"
#include "postrec/data/scan.hpp"

namespace postrec::test {
namespace {

struct JpegOptions {
  int components = 3;
  bool progressive = false;
  bool dots_per_inch = false;
  int restart_rows = 0;
};

constexpr int kWidth = 37, kHeight = 29;

/// A smooth picture, [H, W, components].
at::Tensor picture(int components) {
  const at::Tensor y = at::arange(kHeight, at::kFloat).view({-1, 1, 1}) / kHeight, x = at::arange(kWidth, at::kFloat).view({1, -1, 1}) / kWidth;
  const at::Tensor c = at::arange(components, at::kFloat).view({1, 1, -1});
  return (127 + 90 * at::sin(3 * x + c) * at::cos(4 * y - c)).round();
}

std::string jpeg_bytes(const JpegOptions& how) {
  jpeg_compress_struct encoder;
  jpeg_error_mgr errors;
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long n_bytes = 0;
  jpeg_mem_dest(&encoder, &bytes, &n_bytes);
  encoder.image_width = kWidth;
  encoder.image_height = kHeight;
  encoder.input_components = how.components;
  encoder.in_color_space = how.components == 1 ? JCS_GRAYSCALE : how.components == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, 95, TRUE);
  for (int i = 0; i < encoder.num_components; ++i) encoder.comp_info[i].h_samp_factor = encoder.comp_info[i].v_samp_factor = 1;
  if (how.progressive) jpeg_simple_progression(&encoder);
  if (how.dots_per_inch) {
    encoder.density_unit = 1;
    encoder.X_density = encoder.Y_density = 96;
  }
  encoder.restart_in_rows = how.restart_rows;
  jpeg_start_compress(&encoder, TRUE);
  const at::Tensor rows = picture(how.components).to(at::kByte).contiguous();
  while (encoder.next_scanline < encoder.image_height) {
    JSAMPROW row = rows.data_ptr<unsigned char>() + static_cast<std::size_t>(encoder.next_scanline) * kWidth * how.components;
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  const std::string result(reinterpret_cast<char*>(bytes), n_bytes);
  std::free(bytes);
  return result;
}

TEST(Jpeg, GrayAndColourAreReadAsTheyDecode) {
  const TempFolder folder;
  for (const JpegOptions& how : {JpegOptions{1}, {3}, {3, true}, {1, true}, {3, false, true}, {3, false, false, 1}}) {
    write_bytes_to(folder / "a.JPG", jpeg_bytes(how));
    const Scan scan = read_scan(folder / "a.JPG");
    ASSERT_EQ(scan.image.pixels.sizes(), at::IntArrayRef({1, how.components, kHeight, kWidth}));
    // Quality 95 without subsampling: a few grey levels of quantisation on a smooth picture. Swapped channels or axes miss by tens.
    const at::Tensor expected = picture(how.components).permute({2, 0, 1}).unsqueeze(0);
    EXPECT_LT((scan.image.pixels - expected).abs().max().item<double>(), 8.0);
    EXPECT_EQ(scan.image.unit, IntensityUnit::kArbitrary);
    // The dots per inch of a print say nothing about the object.
    EXPECT_EQ(scan.image.geometry.spacing_mm, (std::array<double, 3>{1.0, 1.0, 1.0}));
  }
}

TEST(Jpeg, TruncationAtEveryOffsetIsAnError) {
  const TempFolder folder;
  for (const JpegOptions& how : {JpegOptions{3}, {1, true}}) {
    const std::string whole = jpeg_bytes(how);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      write_bytes_to(folder / "a.jpeg", whole.substr(0, length));
      expect_error(ErrorKind::kBadData, {"a.jpeg"}, [&] { read_scan(folder / "a.jpeg"); });
    }
  }
}

TEST(Jpeg, PictureDataThatDoNotFillThePictureAreAnError) {
  const TempFolder folder;
  const std::string whole = jpeg_bytes({3});
  // Cut in the middle of the data, with the end mark put back: libjpeg would fill up with grey and only warn.
  write_bytes_to(folder / "a.jpg", whole.substr(0, whole.size() * 3 / 4) + "\xff\xd9");
  expect_error(ErrorKind::kBadData, {"a.jpg", "do not fill"}, [&] { read_scan(folder / "a.jpg"); });
  // A header that promises more rows than there are.
  std::string taller = whole;
  const auto frame = taller.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  taller[frame + 5] = 4;  // 1024 rows and more
  write_bytes_to(folder / "a.jpg", taller);
  expect_error(ErrorKind::kBadData, {"a.jpg", "do not fill"}, [&] { read_scan(folder / "a.jpg"); });
}

TEST(Jpeg, KindsThatAreNotRead) {
  const TempFolder folder;
  const auto refused = [&](const std::string& words, const std::string& bytes) {
    write_bytes_to(folder / "a.jpg", bytes);
    expect_error(ErrorKind::kBadData, {"a.jpg", words}, [&] { read_scan(folder / "a.jpg"); });
  };
  refused("4 values", jpeg_bytes({4}));
  std::string bytes = jpeg_bytes({3});
  const auto frame = bytes.find("\xff\xc0");
  bytes[frame + 1] = '\xc9';  // arithmetic
  refused("rare kind", bytes);
  bytes[frame + 1] = '\xc0';
  bytes[frame + 4] = 12;      // 12 bit
  refused("rare kind", bytes);
  bytes[frame + 4] = 8;
  bytes[frame + 7] = bytes[frame + 8] = 0;  // no column
  refused("is 0", bytes);
  refused("begin", "\x89PNG\r\n\x1a\n and so on");
  refused("truncated", "\xff\xd8\xff\xd9");
}

TEST(Jpeg, TwoHundredDamagedFilesGiveAnErrorOrAnImage) {
  const TempFolder folder;
  const std::string whole = jpeg_bytes({3, true});
  std::uint32_t state = 99;  // a fixed sequence: the same damage every time
  const auto next = [&] { return state = state * 1664525u + 1013904223u, state >> 8; };
  int n_errors = 0;
  for (int i = 0; i < 200; ++i) {
    std::string damaged = whole;
    for (int j = 0; j < 3; ++j) damaged[next() % damaged.size()] = static_cast<char>(next());
    write_bytes_to(folder / "a.jpg", damaged);
    try {
      const Scan scan = read_scan(folder / "a.jpg");
      EXPECT_EQ(scan.image.pixels.size(0), 1);
    } catch (const Error& error) {
      EXPECT_TRUE(error.kind() == ErrorKind::kBadData) << error.what();
      ++n_errors;
    }
  }
  EXPECT_GT(n_errors, 50);
}

}  // namespace
}  // namespace postrec::test
