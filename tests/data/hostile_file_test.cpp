// Files that are damaged, lie, or are no files: each must be an Error and never an image.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <limits>

#include "image_bytes.hpp"
#include "postrec/data/scan.hpp"
#include "postrec/data/write_image.hpp"

namespace postrec::test {
namespace {

void replace_text(const fs::path& path, const std::string& from, const std::string& to) {
  std::string bytes = read_bytes(path);
  const auto at = bytes.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  write_bytes_to(path, bytes.replace(at, from.size(), to));
}

TEST(HostileFile, TruncationAtEveryOffsetIsAnError) {
  const TempFolder folder;
  auto samples = write_samples(folder, oblique());
  write_png(folder / "p.png", at::arange(35, at::kFloat).reshape({1, 5, 7}), 0, 35);
  samples.push_back({"png", folder / "p.png", folder / "p.png"});
  write_nifti(folder / "w.nii.gz", {at::rand({3, 3, 5, 7}), oblique(), IntensityUnit::kArbitrary});
  samples.push_back({"written", folder / "w.nii.gz", folder / "w.nii.gz"});
  for (const auto& sample : samples) {
    const std::string whole = read_bytes(sample.data);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      write_bytes_to(sample.data, whole.substr(0, length));
      try {
        read_scan(sample.main);
        ADD_FAILURE() << sample.name << " was read with " << length << " of " << whole.size() << " bytes";
      } catch (const Error& error) {
        // kNoInput: the name of a data file was cut.
        ASSERT_TRUE(error.kind() == ErrorKind::kBadData || error.kind() == ErrorKind::kNoInput)
            << sample.name << " " << length << ": " << error.what();
      }
    }
    write_bytes_to(sample.data, whole);
    EXPECT_NO_THROW(read_scan(sample.main)) << sample.name;
    write_bytes_to(sample.data, whole + "more");
    if (sample.name == "png") continue;
    EXPECT_THROW(read_scan(sample.main), Error) << sample.name << " with bytes behind its end";
  }
}

TEST(HostileFile, AFlippedBitInCompressedDataIsAnErrorOrPadding) {
  const TempFolder folder;
  for (const auto& sample : write_samples(folder, oblique())) {
    if (sample.name != "niigz" && sample.name != "nrrdgz" && sample.name != "mhaz") continue;
    const std::string whole = read_bytes(sample.data);
    int n_padding = 0;
    for (std::size_t back = 1; back <= 60; ++back) {
      std::string damaged = whole;
      damaged[damaged.size() - back] ^= 0x10;
      write_bytes_to(sample.data, damaged);
      try {
        // The last byte of deflate data has bits that mean nothing.
        EXPECT_TRUE(read_scan(sample.main).image.pixels.flatten().equal(at::tensor(voxels())))
            << sample.name << " byte " << back << " from the end";
        ++n_padding;
      } catch (const Error&) {
      }
    }
    EXPECT_LE(n_padding, 1) << sample.name;
  }
}

TEST(HostileFile, NotAFile) {
  const TempFolder folder;
  expect_error(ErrorKind::kNoInput, {"missing.nii"}, [&] { read_scan(folder / "missing.nii"); });
  write_bytes_to(folder / "empty.nii", "");
  expect_error(ErrorKind::kBadData, {"empty.nii", "0 bytes"}, [&] { read_scan(folder / "empty.nii"); });
  fs::create_directory(folder / "folder.nii");
  expect_error(ErrorKind::kNoInput, {"folder.nii", "no DICOM"}, [&] { read_scan(folder / "folder.nii"); });
  ASSERT_EQ(::mkfifo((folder / "pipe.nii").c_str(), 0600), 0);
  expect_error(ErrorKind::kBadData, {"pipe.nii", "pipe"}, [&] { read_scan(folder / "pipe.nii"); });
  fs::create_symlink("/dev/zero", folder / "zero.nii");
  expect_error(ErrorKind::kBadData, {"zero.nii", "device"}, [&] { read_scan(folder / "zero.nii"); });
  write_bytes_to(folder / "text.xyz", "hello");
  expect_error(ErrorKind::kBadData, {"text.xyz", "NIfTI"}, [&] { read_scan(folder / "text.xyz"); });
  write_bytes_to(folder / "esc\x1b[31m.nii", "");
  const Error error = expect_error(ErrorKind::kBadData, {"esc?[31m"}, [&] { read_scan(folder / "esc\x1b[31m.nii"); });
  EXPECT_EQ(std::string(error.what()).find('\x1b'), std::string::npos);
}

TEST(HostileFile, NotFinitePixelsAreCountedAndPlaced) {
  const TempFolder folder;
  for (const auto& sample : write_samples(folder, oblique())) {
    if (sample.name == "niigz" || sample.name == "nrrdgz" || sample.name == "mhaz") continue;
    std::string bytes = read_bytes(sample.data);
    const std::size_t start = bytes.size() - 4 * kNx * kNy * kNz;
    put<float>(bytes, start + 4 * (4 + kNx * 2 + kNx * kNy), std::numeric_limits<float>::quiet_NaN());
    put<float>(bytes, start + 4 * (5 + kNx * 2 + kNx * kNy), -std::numeric_limits<float>::infinity());
    write_bytes_to(sample.data, bytes);
    expect_error(ErrorKind::kBadData, {"2 values", "[1, 0, 2, 4]"}, [&] { read_scan(sample.main); });
  }
}

TEST(HostileFile, NiftiHeadersThatLie) {
  const TempFolder folder;
  const fs::path path = folder / "a.nii";
  const std::string good = nifti_bytes(oblique());
  const auto refused = [&](const std::vector<std::string>& texts, auto change) {
    std::string bytes = good;
    change(bytes);
    write_bytes_to(path, bytes);
    expect_error(ErrorKind::kBadData, texts, [&] { read_scan(path); });
  };
  refused({"dimensions"}, [](auto& b) { put<std::int16_t>(b, 40, 0); });
  refused({"dimensions"}, [](auto& b) { put<std::int16_t>(b, 40, 8); });
  refused({"-5"}, [](auto& b) { put<std::int16_t>(b, 44, -5); });
  refused({"is 0"}, [](auto& b) { put<std::int16_t>(b, 42, 0); });
  refused({"truncated"}, [](auto& b) { put<std::int16_t>(b, 46, 4); });
  refused({"more than"}, [](auto& b) { put<std::int16_t>(b, 46, 2); });
  refused({"multiply"}, [](auto& b) {
    put<std::int16_t>(b, 40, 7);
    for (int d = 1; d <= 7; ++d) put<std::int16_t>(b, 40 + 2 * d, 32767);
  });
  refused({"spacing", "0.000"}, [](auto& b) { put<float>(b, 80, 0.0f); });
  refused({"spacing", "-1.0"}, [](auto& b) { put<float>(b, 84, -1.0f); });
  refused({"spacing", "nan"}, [](auto& b) { put<float>(b, 88, std::numeric_limits<float>::quiet_NaN()); });
  refused({"spacing", "inf"}, [](auto& b) { put<float>(b, 88, std::numeric_limits<float>::infinity()); });
  refused({"data type 16 with 64 bits"}, [](auto& b) { put<std::int16_t>(b, 72, 64); });
  refused({"data type 999"}, [](auto& b) { put<std::int16_t>(b, 70, 999); });
  refused({"scl_slope"}, [](auto& b) { put<float>(b, 112, std::numeric_limits<float>::quiet_NaN()); });
  refused({"vox_offset"}, [](auto& b) { put<float>(b, 108, 1e30f); });
  refused({"vox_offset"}, [](auto& b) { put<float>(b, 108, -352.0f); });
  refused({"NIfTI-1"}, [](auto& b) { b[344] = 'x'; });
  refused({"NIfTI-1"}, [](auto& b) { put<std::int32_t>(b, 0, 540); });
  // No rotation in the sform: ITK takes what it can get, which must then be a usable geometry or an error.
  std::string sheared = good;
  put<float>(sheared, 280, 5.0f);
  write_bytes_to(path, sheared);
  EXPECT_THROW(read_scan(path), Error);
}

TEST(HostileFile, NrrdHeadersThatLie) {
  const TempFolder folder;
  const auto refused = [&](const std::vector<std::string>& texts, const std::string& from, const std::string& to) {
    SCOPED_TRACE(to);
    const fs::path path = write_samples(folder, oblique())[2].main;
    replace_text(path, from, to);
    expect_error(ErrorKind::kBadData, texts, [&] { read_scan(path); });
  };
  refused({"sizes"}, "sizes: 7 5 3", "sizes: 7 x 3");
  refused({"-5"}, "sizes: 7 5 3", "sizes: 7 -5 3");
  refused({"is 0"}, "sizes: 7 5 3", "sizes: 7 0 3");
  refused({"multiply"}, "sizes: 7 5 3", "sizes: 4000000000000 4000000000000 4000000000000");
  refused({"sizes"}, "sizes: 7 5 3", "sizes: 1e400 5 3");
  refused({"truncated"}, "sizes: 7 5 3", "sizes: 7 5 4");
  refused({"dimension"}, "dimension: 3", "dimension: 4");
  refused({"type"}, "type: float", "type: block");
  refused({"encoding"}, "encoding: raw", "encoding: hex");
  refused({"spacing", "axis 1"}, "space directions: (", "space directions: (0,0,0) (");
  refused({"byteskip"}, "endian: little", "byte skip: 5\nendian: little");
  refused({"NRRD"}, "NRRD0004", "XRRD0004");
  refused({"left-anterior-superior", "right-anterior-superior"}, "space: left-posterior-superior", "space: left-anterior-superior");
  refused({"spaceunits", "mm"}, "endian: little", "space units: \"cm\" \"cm\" \"cm\"\nendian: little");
}

TEST(HostileFile, MetaImageHeadersThatLie) {
  const TempFolder folder;
  const auto refused = [&](const std::vector<std::string>& texts, const std::string& from, const std::string& to) {
    SCOPED_TRACE(to);
    const fs::path path = write_samples(folder, oblique())[5].main;
    replace_text(path, from, to);
    expect_error(ErrorKind::kBadData, texts, [&] { read_scan(path); });
  };
  refused({"dimsize"}, "DimSize = 7 5 3", "DimSize = seven");
  refused({"-7"}, "DimSize = 7 5 3", "DimSize = -7 5 3");
  refused({"multiply"}, "DimSize = 7 5 3", "DimSize = 4000000000 4000000000 4000000000");
  refused({"more than"}, "DimSize = 7 5 3", "DimSize = 7 5 2");
  refused({"ndims"}, "NDims = 3", "NDims = 2");
  refused({"spacing"}, "ElementSpacing = ", "ElementSpacing = 0 ");
  refused({"elementtype"}, "MET_FLOAT", "MET_OTHER");
  refused({"binarydata"}, "BinaryData = True", "BinaryData = False");
  refused({"distanceunits", "mm"}, "BinaryData = True", "DistanceUnits = cm\nBinaryData = True");
  refused({"headersize"}, "BinaryData = True", "HeaderSize = 10\nBinaryData = True");
  const fs::path packed = write_samples(folder, oblique())[6].main;
  replace_text(packed, "CompressedDataSize = ", "CompressedDataSize = -");
  expect_error(ErrorKind::kBadData, {"CompressedDataSize"}, [&] { read_scan(packed); });
}

TEST(HostileFile, DataFilesStayInTheirFolder) {
  const TempFolder folder;
  fs::create_directory(folder / "in");
  write_bytes_to(folder / "secret.raw", bytes_of(voxels()));
  const std::vector<std::string> names = {"../secret.raw", (folder / "secret.raw").string(), "link.raw", "in/../../secret.raw"};
  fs::create_symlink("../secret.raw", folder / "in" / "link.raw");
  for (const auto& name : names) {
    SCOPED_TRACE(name);
    write_bytes_to(folder / "in" / "a.nhdr", nrrd_header(oblique(), "raw") + "data file: " + name + "\n");
    expect_error(ErrorKind::kBadData, {"not inside its folder", "data file"}, [&] { read_scan(folder / "in" / "a.nhdr"); });
    write_bytes_to(folder / "in" / "a.mhd", meta_header(oblique(), "", name));
    expect_error(ErrorKind::kBadData, {"not inside its folder", "ElementDataFile"}, [&] { read_scan(folder / "in" / "a.mhd"); });
  }
  write_bytes_to(folder / "in" / "b.nhdr", nrrd_header(oblique(), "raw") + "data file: LIST\nx.raw\n");
  expect_error(ErrorKind::kBadData, {"datafile"}, [&] { read_scan(folder / "in" / "b.nhdr"); });
  write_bytes_to(folder / "in" / "b.mhd", meta_header(oblique(), "", "x%03d.raw 1 3 1"));
  expect_error(ErrorKind::kBadData, {"elementdatafile"}, [&] { read_scan(folder / "in" / "b.mhd"); });
}

TEST(HostileFile, AGzipBombIsStoppedAtThePromisedSize) {
  const TempFolder folder;
  // 64 MiB of zeros behind a header that promises 420 bytes of pixels.
  const std::string packed = deflated(nifti_bytes(oblique()) + std::string(1 << 26, '\0'), kGzip);
  write_bytes_to(folder / "bomb.nii.gz", packed);
  expect_error(ErrorKind::kBadData, {"more than"}, [&] { read_scan(folder / "bomb.nii.gz"); });
}

TEST(HostileFile, ThreeHundredDamagedHeadersGiveAnErrorOrAnImage) {
  const TempFolder folder;
  std::uint32_t state = 12345;  // a fixed sequence: the same damage every time
  const auto next = [&] { return state = state * 1664525u + 1013904223u, state >> 8; };
  int n_errors = 0;
  for (const auto& sample : write_samples(folder, oblique())) {
    const std::string whole = read_bytes(sample.main);
    for (int i = 0; i < 40; ++i) {
      std::string damaged = whole;
      for (int j = 0; j < 3; ++j) damaged[next() % std::min<std::size_t>(whole.size(), 500)] = static_cast<char>(next());
      write_bytes_to(sample.main, damaged);
      try {
        const Scan scan = read_scan(sample.main);
        EXPECT_EQ(scan.image.pixels.numel() % (kNx * kNy * kNz), 0) << sample.name;
      } catch (const Error&) {
        ++n_errors;
      }
    }
    write_bytes_to(sample.main, whole);
  }
  EXPECT_GT(n_errors, 100);
}

}  // namespace
}  // namespace postrec::test
