// NIfTI, NRRD, MetaImage and PNG, in and out.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "image_bytes.hpp"
#include "itk_axes.hpp"
#include "itk_file.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"

namespace postrec::test {
namespace {

constexpr double kGeometryTolerance_mm = 1e-4;  // headers hold float32: 1e-7 of a few hundred mm

at::Tensor expected_pixels() { return at::tensor(voxels()).reshape({kNz, 1, kNy, kNx}); }

Image oblique_image(std::int64_t channels) {
  Image image;
  image.pixels = at::arange(kNz * channels * kNy * kNx, at::kFloat).reshape({kNz, channels, kNy, kNx}) / 7 - 11;
  image.geometry = oblique();
  return image;
}

TEST(ItkAxes, ReversesSizesAndMovesComponents) {
  // Value = component + 10 x + 100 y + 1000 z, in ITK's order: component fastest, then x, y, z.
  std::vector<float> values;
  for (int z = 0; z < 2; ++z)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 5; ++x)
        for (int c = 0; c < 3; ++c) values.push_back(static_cast<float>(c + 10 * x + 100 * y + 1000 * z));
  const at::Tensor tensor = tensor_from_itk(at::tensor(values), {5, 3, 2}, 3);
  ASSERT_EQ(tensor.sizes(), (at::IntArrayRef{2, 3, 3, 5}));
  EXPECT_EQ(tensor[1][2][0][4].item<float>(), 1042.0f);
  EXPECT_EQ(tensor[0][1][2][3].item<float>(), 231.0f);
  EXPECT_TRUE(itk_from_tensor(tensor).flatten().equal(at::tensor(values)));
  EXPECT_EQ(itk_size(tensor), (std::vector<std::int64_t>{5, 3, 2}));
  EXPECT_EQ(tensor_from_itk(at::zeros({15}), {5, 3}, 1).sizes(), (at::IntArrayRef{1, 1, 3, 5}));
}

TEST(ReadScan, EveryFormatGivesTheSameVoxelsInTheSamePlace) {
  const TempFolder folder;
  for (const auto& sample : write_samples(folder, oblique())) {
    SCOPED_TRACE(sample.name);
    const Scan scan = read_scan(sample.main);
    EXPECT_TRUE(scan.image.pixels.equal(expected_pixels()));
    EXPECT_LT(corner_distance_mm(scan.image.geometry, oblique(), kNx, kNy, kNz), kGeometryTolerance_mm);
    EXPECT_EQ(scan.modality, "");
    EXPECT_EQ(scan.image.unit, IntensityUnit::kArbitrary);
  }
}

TEST(ReadScan, SaysWhenANiftiDoesNotSayWhereItLies) {
  const TempFolder folder;
  const auto warnings_with = [&](std::int16_t qform, std::int16_t sform) {
    std::string bytes = nifti_bytes(oblique());
    put<std::int16_t>(bytes, 252, qform);
    put<std::int16_t>(bytes, 254, sform);
    write_bytes_to(folder / "a.nii", bytes);
    std::string all;
    for (const auto& warning : read_scan(folder / "a.nii").warnings) all += warning + "\n";
    return all;
  };
  EXPECT_EQ(warnings_with(0, 1), "");
  EXPECT_NE(warnings_with(0, 0).find("neither a qform nor a sform"), std::string::npos);
  EXPECT_NE(warnings_with(1, 1).find("mm apart"), std::string::npos);  // its quaternion is 0
}

TEST(ReadScan, LeftHandedDirectionsStay) {
  ImageGeometry mirrored = oblique();
  for (int row = 0; row < 3; ++row) mirrored.direction[3 * row] *= -1.0;
  const TempFolder folder;
  for (const auto& sample : write_samples(folder, mirrored)) {
    SCOPED_TRACE(sample.name);
    EXPECT_LT(corner_distance_mm(read_scan(sample.main).image.geometry, mirrored, kNx, kNy, kNz), kGeometryTolerance_mm);
  }
}

TEST(ReadScan, OneSliceMovesTheOrigin) {
  const TempFolder folder;
  for (const auto& sample : write_samples(folder, oblique())) {
    SCOPED_TRACE(sample.name);
    ScanOptions options;
    options.slice = 2;
    const Scan scan = read_scan(sample.main, options);
    EXPECT_TRUE(scan.image.pixels.equal(expected_pixels().slice(0, 2, 3)));
    const auto expected = place_mm(oblique(), 0, 0, 2);
    for (int i = 0; i < 3; ++i) EXPECT_NEAR(scan.image.geometry.origin_mm[i], expected[i], kGeometryTolerance_mm);
    for (const std::int64_t wrong : {-1, 3}) {
      options.slice = wrong;
      expect_error(ErrorKind::kUsage, {"slice " + std::to_string(wrong), "0 to 2"}, [&] { read_scan(sample.main, options); });
    }
  }
}

TEST(ReadScan, IntegerVoxelsAreScaled) {
  const TempFolder folder;
  std::string bytes = nifti_bytes(oblique()).substr(0, 352);
  put<std::int16_t>(bytes, 70, 4);
  put<std::int16_t>(bytes, 72, 16);
  put<float>(bytes, 112, 0.5f);
  put<float>(bytes, 116, -3.0f);
  std::vector<std::int16_t> stored;
  for (int i = 0; i < kNx * kNy * kNz; ++i) stored.push_back(static_cast<std::int16_t>(37 * i - 1000));
  write_bytes_to(folder / "scaled.nii", bytes + bytes_of(stored));
  const at::Tensor expected = at::tensor(std::vector<float>(stored.begin(), stored.end())).mul(0.5).sub(3.0).reshape({kNz, 1, kNy, kNx});
  EXPECT_TRUE(read_scan(folder / "scaled.nii").image.pixels.equal(expected));
}

TEST(ReadScan, TwoDimensionsAndOneVolumeOfFour) {
  const TempFolder folder;
  // ITK keeps the in-plane part of the directions of a 2-D file, which must then be a rotation of its own.
  ImageGeometry in_plane;
  in_plane.direction = {0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1};
  in_plane.spacing_mm = {0.7, 1.1, 1.0};
  std::string flat = nifti_bytes(in_plane);
  put<std::int16_t>(flat, 40, 2);
  put<std::int16_t>(flat, 46, 1);
  write_bytes_to(folder / "flat.nii", flat.substr(0, 352 + 4 * kNx * kNy));
  const Scan flat_scan = read_scan(folder / "flat.nii");
  EXPECT_TRUE(flat_scan.image.pixels.equal(expected_pixels().slice(0, 0, 1)));
  EXPECT_LT(corner_distance_mm(flat_scan.image.geometry, in_plane, kNx, kNy, 1), kGeometryTolerance_mm);

  std::string four = nifti_bytes(oblique());
  put<std::int16_t>(four, 40, 4);
  write_bytes_to(folder / "four.nii", four);
  EXPECT_TRUE(read_scan(folder / "four.nii").image.pixels.equal(expected_pixels()));

  put<std::int16_t>(four, 48, 2);
  write_bytes_to(folder / "two_volumes.nii", four + bytes_of(voxels()));
  expect_error(ErrorKind::kBadData, {"two_volumes.nii", "4 dimensions", "size 2"}, [&] { read_scan(folder / "two_volumes.nii"); });
}

TEST(WriteNifti, ReturnsWhatWasWritten) {
  const TempFolder folder;
  for (const std::int64_t channels : {1, 3})
    for (const char* name : {"a.nii", "a.nii.gz"}) {
      SCOPED_TRACE(std::to_string(channels) + " " + name);
      const Image image = oblique_image(channels);
      write_nifti(folder / name, image);
      const Scan scan = read_scan(folder / name);
      EXPECT_TRUE(scan.image.pixels.equal(image.pixels));
      EXPECT_LT(corner_distance_mm(scan.image.geometry, image.geometry, kNx, kNy, kNz), kGeometryTolerance_mm);
    }
  EXPECT_EQ(folder.names(), (std::set<std::string>{"a.nii", "a.nii.gz"}));
}

TEST(WriteNifti, HeaderIsWhatTheFormatSays) {
  const TempFolder folder;
  const Image image = oblique_image(1);
  write_nifti(folder / "a.nii", image);
  const std::string bytes = read_bytes(folder / "a.nii");
  const auto number = [&](std::size_t offset) {
    float value;
    std::memcpy(&value, bytes.data() + offset, 4);
    return value;
  };
  // sform: RAS, so the first two rows change sign against LPS.
  for (int row = 0; row < 3; ++row) {
    const double ras = row < 2 ? -1.0 : 1.0;
    for (int axis = 0; axis < 3; ++axis)
      EXPECT_NEAR(number(280 + 16 * row + 4 * axis), ras * image.geometry.direction[3 * row + axis] * image.geometry.spacing_mm[axis],
                  1e-6);  // float32
    EXPECT_NEAR(number(292 + 16 * row), ras * image.geometry.origin_mm[row], 1e-4);
  }
  EXPECT_EQ(bytes.size(), 352u + 4 * kNx * kNy * kNz);
  EXPECT_EQ(number(352 + 4), image.pixels.flatten()[1].item<float>());
}

TEST(ReadNifti, PlacesScansInMetresAndMicrometres) {
  const TempFolder folder;
  write_nifti(folder / "a.nii", oblique_image(1));
  const std::string bytes = read_bytes(folder / "a.nii");
  for (const auto& [code, in_mm] : {std::pair{1, 1000.0f}, {2, 1.0f}, {3, 0.001f}}) {
    std::string changed = bytes;
    changed[123] = static_cast<char>((changed[123] & ~7) | code);
    const auto scale = [&](std::size_t offset) {
      float value;
      std::memcpy(&value, changed.data() + offset, 4);
      put(changed, offset, value / in_mm);
    };
    for (std::size_t offset = 80; offset < 92; offset += 4) scale(offset);    // pixdim
    for (std::size_t offset = 268; offset < 328; offset += 4) scale(offset);  // qoffset and the rows of the sform
    write_bytes_to(folder / "b.nii", changed);
    EXPECT_LT(corner_distance_mm(read_scan(folder / "b.nii").image.geometry, oblique(), kNx, kNy, kNz), kGeometryTolerance_mm) << code;
  }
}

// Two programs that look at different ones see the scan at different places.
TEST(ReadNifti, TellsOfAQformAndAnSformThatDisagree) {
  const TempFolder folder;
  write_nifti(folder / "a.nii", oblique_image(1));
  EXPECT_TRUE(read_scan(folder / "a.nii").warnings.empty());
  const std::string bytes = read_bytes(folder / "a.nii");
  for (const auto& [offset, value, apart] : {std::tuple{292, 40.0f, "mm apart"}, {256, 0.0f, "mm apart"}}) {  // the sform's x, the quaternion's b
    std::string changed = bytes;
    put(changed, static_cast<std::size_t>(offset), value);
    write_bytes_to(folder / "b.nii", changed);
    const Scan scan = read_scan(folder / "b.nii");
    ASSERT_EQ(scan.warnings.size(), 1u) << offset;
    EXPECT_NE(scan.warnings[0].find(apart), std::string::npos) << scan.warnings[0];
    for (const int code : {252, 254}) {        // where only one of them is said there is nothing to disagree
      std::string alone = changed;
      put(alone, static_cast<std::size_t>(code), std::int16_t{0});
      write_bytes_to(folder / "c.nii", alone);
      EXPECT_TRUE(read_scan(folder / "c.nii").warnings.empty()) << offset << " " << code;
    }
  }
}

// Registration writes affine matrices, and some programs nothing else.
TEST(ReadNifti, TellsWhyAnSformAloneIsNoGrid) {
  const TempFolder folder;
  write_nifti(folder / "a.nii", oblique_image(1));
  const auto refusal_with = [&](std::size_t offset, const auto& change, std::int16_t qform) -> std::string {
    std::string bytes = read_bytes(folder / "a.nii");
    float value;
    std::memcpy(&value, bytes.data() + offset, 4);
    put(bytes, offset, static_cast<float>(change(value)));
    put(bytes, 252, qform);
    write_bytes_to(folder / "b.nii", bytes);
    try {
      read_scan(folder / "b.nii");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kBadData);
      return error.what();
    }
    return {};
  };
  const auto same = [](float value) { return value; };
  const auto doubled = [](float value) { return 2 * value; };
  const auto sheared = [](float value) { return value + 0.1; };
  EXPECT_EQ(refusal_with(84, same, 0), "");
  EXPECT_NE(refusal_with(84, doubled, 0).find("along axis 2, where pixdim says"), std::string::npos);
  EXPECT_NE(refusal_with(280, sheared, 0).find("no qform, and its sform"), std::string::npos);
  EXPECT_EQ(refusal_with(280, sheared, 1), "");  // the qform counts
}

TEST(WriteNifti, OneSliceKeepsItsPlace) {
  const TempFolder folder;
  Image image = oblique_image(1);
  image.pixels = image.pixels.slice(0, 0, 1).contiguous();
  write_nifti(folder / "one.nii.gz", image);
  const Scan scan = read_scan(folder / "one.nii.gz");
  EXPECT_TRUE(scan.image.pixels.equal(image.pixels));
  EXPECT_LT(corner_distance_mm(scan.image.geometry, image.geometry, kNx, kNy, 1), kGeometryTolerance_mm);
}

TEST(WriteNifti, SamplesAreTheFourthAxis) {
  const TempFolder folder;
  const at::Tensor samples = at::arange(2 * kNz * kNy * kNx, at::kFloat).reshape({2, kNz, 1, kNy, kNx});
  write_nifti_samples(folder / "s.nii", samples, oblique());
  const std::string bytes = read_bytes(folder / "s.nii");
  std::int16_t dim[5];
  std::memcpy(dim, bytes.data() + 40, sizeof(dim));
  EXPECT_EQ(std::vector<int>(dim, dim + 5), (std::vector<int>{4, kNx, kNy, kNz, 2}));
  EXPECT_EQ(bytes.substr(352), std::string(static_cast<const char*>(samples.data_ptr()), samples.nbytes()));
}

TEST(WriteNifti, RefusesWhatItCannotWrite) {
  const TempFolder folder;
  const Image image = oblique_image(1);
  expect_error(ErrorKind::kCannotCreate, {"a.txt"}, [&] { write_nifti(folder / "a.txt", image); });
  expect_error(ErrorKind::kCannotCreate, {"nowhere"}, [&] { write_nifti(folder / "nowhere" / "a.nii", image); });
  expect_error(ErrorKind::kInternal, {"channels"}, [&] { write_nifti(folder / "a.nii", oblique_image(2)); });
  EXPECT_TRUE(folder.names().empty());
}

TEST(WritePng, RowZeroIsTheTopAndTheWindowIsLinear) {
  const TempFolder folder;
  const at::Tensor slice = at::arange(kNy * kNx, at::kFloat).reshape({1, kNy, kNx});
  write_png(folder / "a.png", slice, 2.0, 30.0);
  const at::Tensor expected = ((slice.to(at::kDouble) - 2.0) * (255.0 / 28.0)).clamp(0, 255).round().to(at::kFloat).unsqueeze(0);
  EXPECT_TRUE(read_scan(folder / "a.png").image.pixels.equal(expected));
  // 8-bit gray, 7 columns and 5 rows, as the file itself says.
  const std::string header = read_bytes(folder / "a.png").substr(16, 10);
  EXPECT_EQ(header, std::string("\0\0\0\7\0\0\0\5\x08\0", 10));
}

TEST(WritePng, Colour) {
  const TempFolder folder;
  const at::Tensor slice = at::arange(3 * kNy * kNx, at::kFloat).reshape({3, kNy, kNx});
  write_png(folder / "c.png", slice, 0.0, 255.0);
  EXPECT_TRUE(read_scan(folder / "c.png").image.pixels.equal(slice.unsqueeze(0)));
}

TEST(WritePng, RefusesAnEmptyWindowAndNaN) {
  const TempFolder folder;
  expect_error(ErrorKind::kUsage, {"1.0"}, [&] { write_png(folder / "a.png", at::zeros({1, 2, 2}), 1.0, 1.0); });
  expect_error(ErrorKind::kNumerical, {"a.png"}, [&] {
    write_png(folder / "a.png", at::full({1, 2, 2}, std::numeric_limits<float>::quiet_NaN()), 0.0, 1.0);
  });
  EXPECT_TRUE(folder.names().empty());
}

}  // namespace
}  // namespace postrec::test
